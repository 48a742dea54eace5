"""The recording proxy: how connections end is passed on, and is in the file."""

import socket
import threading

import pytest

from fastwsh.record.frame_finder import FrameFinder
from fastwsh.testing import har
from record_support import file, recording, shown
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, TEXT, Frame, encode_frame

__all__ = ["file"]  # the fixture


@pytest.mark.parametrize(
    "body", [b"", b"\x03\xe8", b"\x0f\xa1so long", b"\x03\xed", b"\x00", b"\x03\xe8\xff"]
)
def test_close_frames_pass_both_ways(file, body):
    came = []

    def script(peer):
        peer.answer()
        peer.send(encode_frame(CLOSE, body, mask=None))
        came.append(peer.read_frame().payload)

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_frame() == Frame(CLOSE, body)
        recorded.client.send_frame(CLOSE, b"\x0f\xa2mine")
        assert recorded.client.read_to_end() == b""
    assert came == [b"\x0f\xa2mine"]
    assert shown(recorded.conversation) == [("s", CLOSE, body), ("c", CLOSE, b"\x0f\xa2mine")]
    assert recorded.conversation.end is None


def test_a_client_that_goes_is_seen_to_go_by_the_server(file):
    def script(peer):
        peer.answer()
        assert peer.read_frame().payload == b"last"
        assert peer.read_to_end() == b""

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"last")
        recorded.client.close()
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (True, False)


def test_half_a_connection_goes_on(file):
    """A client that has ended its direction still gets what the server says."""

    def script(peer):
        peer.answer()
        assert peer.read_to_end() == b""
        peer.send(encode_frame(TEXT, b"still here", mask=None))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.socket.shutdown(socket.SHUT_WR)
        assert recorded.client.read_frame().payload == b"still here"
        assert recorded.client.read_to_end() == b""
    assert recorded.conversation.end.by_client is True


def test_a_server_that_goes_is_seen_to_go_by_the_client(file):
    with recording(file, lambda peer: peer.answer()) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.socket.recv(1) == b""
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (False, False)


def test_the_reset_of_a_server_is_one_for_the_client(file):
    def script(peer):
        peer.answer()
        peer.read_frame()
        peer.reset()

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        with pytest.raises(ConnectionResetError):
            recorded.client.socket.recv(1)
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (False, True)


def test_a_reset_within_a_refusal_is_one_for_the_client_and_the_refusal_is_recorded(file):
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nshort")
        # until the proxy has passed it on
        assert has_it.wait(DEADLINE_SECONDS)
        peer.reset()

    has_it = threading.Event()
    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_response().status == 403
        assert recorded.client.read(5) == b"short"
        has_it.set()
        with pytest.raises(ConnectionResetError):
            recorded.client.read(1)
    assert (recorded.conversation.status, recorded.conversation.body) == (403, b"")


def test_the_reset_of_a_client_is_one_for_the_server(file):
    def script(peer):
        peer.answer()
        peer.read_frame()
        with pytest.raises(ConnectionResetError):
            peer.socket.recv(1)

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        recorded.client.reset()
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (True, True)


def test_bytes_pass_as_they_come(file):
    """Part of a frame is not held back until the rest has come."""
    whole = encode_frame(TEXT, b"slow", mask=None)
    begun = threading.Event()

    def script(peer):
        peer.answer()
        peer.send(whole[:3])
        assert begun.wait(DEADLINE_SECONDS)
        peer.send(whole[3:])

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read(3) == whole[:3]
        begun.set()
        assert recorded.client.read_to_end() == whole[3:]
    assert shown(recorded.conversation) == [("s", TEXT, "slow")]


def test_frames_are_found_however_the_bytes_are_cut(file):
    frames = [
        encode_frame(TEXT, b"a"),
        encode_frame(PING),
        encode_frame(BINARY, b"b" * 300, mask=None),
        encode_frame(BINARY, b"c" * 70_000),
        encode_frame(CLOSE, b"", mask=None),
    ]
    data = b"".join(frames)
    for size in (1, 2, 3, 7, 1000, len(data)):
        finder = FrameFinder(is_masked=True)
        found = [
            frame
            for start in range(0, len(data), size)
            for frame in finder.feed(data[start : start + size])
        ]
        assert [(one.opcode, len(one.payload)) for one in found] == [
            (TEXT, 1), (PING, 0), (BINARY, 300), (BINARY, 70_000), (CLOSE, 0),
        ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_part_of_a_frame_passes_before_the_end(file, count):
    part = encode_frame(TEXT, b"never whole", mask=None)[:count]
    with recording(file, lambda peer: (peer.answer(), peer.send(part))) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == part
    assert recorded.conversation.messages == []
    assert recorded.conversation.end.by_client is False


def test_the_end_of_the_recording_cuts_what_is_open(file):
    with recording(file, lambda peer: (peer.answer(), peer.read_to_end())) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        recorded.client.send_frame(PING, b"")
    assert [one.data for one in har.read(file)[0].messages][:1] in ([], ["x"])
