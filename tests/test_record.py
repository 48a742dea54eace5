"""The recording proxy: bytes pass as they are, both ways, and what they mean is in the file."""

import socket
import zlib

import pytest

import fastwsh
from fastwsh.testing import har, running_server
from record_support import MASK, entries_of, file, recording, shown
from wire import ACCEPT, BINARY, CONTINUATION, PING, PONG, TEXT, Client, Frame, encode_frame

__all__ = ["file"]  # the fixture


def test_frames_pass_as_they_are(file):
    """Fragments, control frames among them, reserved bits, long lengths, keys of masks."""
    from_client = [
        encode_frame(TEXT, b"one", fin=False, mask=MASK),
        encode_frame(PING, b"between", mask=b"\0\0\0\0"),
        encode_frame(CONTINUATION, b"", fin=False),
        encode_frame(CONTINUATION, b" two"),
        encode_frame(BINARY, b"\xff\0", mask=MASK),
        encode_frame(TEXT, b"x", length_octets=8),
        encode_frame(0x3, b"reserved opcode"),
        encode_frame(TEXT, b"bits", rsv=7),
        encode_frame(BINARY, bytes(range(256)) * 1000),
    ]
    from_server = [
        encode_frame(BINARY, b"a", fin=False, mask=None),
        encode_frame(CONTINUATION, b"b", mask=None),
        encode_frame(PONG, b"nobody asked", mask=None),
        encode_frame(TEXT, b"y" * 126, length_octets=8, mask=None),
        encode_frame(TEXT, b"", mask=None),
        encode_frame(BINARY, b"z" * 300_000, mask=None),
    ]
    client_bytes, server_bytes = b"".join(from_client), b"".join(from_server)
    came = []

    def script(peer):
        peer.answer()
        peer.send(server_bytes)
        came.append(peer.read(len(client_bytes)))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(client_bytes)
        assert recorded.client.read(len(server_bytes)) == server_bytes
        assert recorded.client.read_to_end() == b""
    assert came == [client_bytes]
    messages = recorded.conversation.messages
    assert [message.data for message in messages if message.from_client] == [
        b"between",
        "one two",
        b"\xff\0",
        "x",
        b"reserved opcode",
        "bits",
        bytes(range(256)) * 1000,
    ]
    assert [message.data for message in messages if not message.from_client] == [
        b"ab",
        b"nobody asked",
        "y" * 126,
        "",
        b"z" * 300_000,
    ]
    fragments = [message.fragments for message in messages if message.fragments]
    assert sorted(fragments) == [(1, 1), (3, 0, 4)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 65537, 131072, 1_000_000])
def test_frames_of_every_length_pass(file, size):
    frame = encode_frame(BINARY, b"\xa5" * size)
    came = []

    def script(peer):
        peer.answer()
        came.append(peer.read(len(frame)))
        peer.send(encode_frame(BINARY, b"\x5a" * size, mask=None))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(frame)
        assert recorded.client.read_frame() == Frame(BINARY, b"\x5a" * size)
    assert came == [frame]
    assert [len(one.data) for one in recorded.conversation.messages] == [size, size]


def test_the_wrong_masking_passes_and_is_understood(file):
    came = []

    def script(peer):
        peer.answer()
        came.append(peer.read_frame())
        peer.send(encode_frame(TEXT, b"masked", mask=MASK))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(encode_frame(TEXT, b"bare", mask=None))
        assert recorded.client.read_frame() == Frame(TEXT, b"masked", mask=MASK)
    assert came == [Frame(TEXT, b"bare")]
    assert shown(recorded.conversation) == [("c", TEXT, "bare"), ("s", TEXT, "masked")]


def test_what_is_no_frame_passes_all_the_same(file):
    # a length of 2**63 and more
    nonsense = b"\x82\x7f" + b"\xff" * 8 + b"whatever"
    with recording(file, lambda peer: (peer.answer(), peer.send(nonsense))) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == nonsense


def test_compressed_messages_pass_as_they_are_and_are_recorded_inflated(file):
    deflate = zlib.compressobj(wbits=-15)
    texts = [b"again and again", b"again and again", b""]
    packed = [
        (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0" for text in texts
    ]
    frames = [
        encode_frame(TEXT, packed[0][:3], rsv=4, fin=False, mask=None),
        encode_frame(CONTINUATION, packed[0][3:], mask=None),
        encode_frame(TEXT, packed[1], rsv=4, mask=None),
        encode_frame(TEXT, b"plain", mask=None),
    ]

    def script(peer):
        peer.answer([("Sec-WebSocket-Extensions", "permessage-deflate")])
        peer.send(b"".join(frames))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        recorded.client.read_response()
        assert recorded.client.read_to_end() == b"".join(frames)
    said = [message.data for message in recorded.conversation.messages]
    assert said == ["again and again", "again and again", "plain"]


def test_what_cannot_be_inflated_is_recorded_as_it_came(file):
    def script(peer):
        peer.answer([("Sec-WebSocket-Extensions", "permessage-deflate")])
        peer.send(encode_frame(BINARY, b"\xff\xff\xff", rsv=4, mask=None))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        recorded.client.read_response()
        recorded.client.read_to_end()
    assert shown(recorded.conversation) == [("s", BINARY, b"\xff\xff\xff")]


def test_a_text_that_is_not_utf8_is_kept(file):
    with recording(
        file, lambda peer: (peer.answer(), peer.send(encode_frame(TEXT, b"\xff", mask=None)))
    ) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == b"\x81\x01\xff"
    assert shown(recorded.conversation) == [("s", TEXT, b"\xff")]


def test_several_connections_of_one_file_are_kept_apart(file):
    with running_server() as real, running_server() as server:
        real.handler("/a")(lambda one: [one.send(f"a{message}") for message in one])
        real.handler("/b")(lambda one: [one.send(f"b{message}") for message in one])
        server.record(real.url, file)
        with (
            fastwsh.connect(server.url_for("/a")) as first,
            fastwsh.connect(server.url_for("/b")) as second,
        ):
            for number in range(20):
                for connection in (first, second):
                    connection.send(str(number))
                    connection.recv(20)
        # before the end, a connection is in several entries
        assert len(entries_of(file)) > 2
        assert [len(one.messages) for one in har.read(file)] == [42, 42]
    assert [entry["request"]["url"] for entry in entries_of(file)] == [
        real.url_for("/a"),
        real.url_for("/b"),
    ]
    for conversation, letter in zip(har.read(file), "ab", strict=True):
        replies = [one.data for one in conversation.messages if one.opcode == TEXT][1::2]
        assert replies == [f"{letter}{number}" for number in range(20)]


def test_times_are_those_at_which_messages_passed(file):
    with running_server() as real, running_server() as server:
        real.handler("/")(lambda one: [one.send(message) for message in one])
        server.record(real.url, file)
        with fastwsh.connect(server.url) as connection:
            for _ in range(3):
                connection.send("x")
                connection.recv(20)
    conversation = har.read(file)[0]
    times = [conversation.started, *(message.time for message in conversation.messages)]
    assert times == sorted(times)


def test_paths_with_a_handler_are_not_passed_on(file):
    with running_server() as server:
        server.handler("/own")(lambda connection: connection.send("own"))
        server.record("ws://127.0.0.1:1/", file)
        with fastwsh.connect(server.url_for("/own")) as connection:
            assert connection.recv(20) == "own"
    assert har.read(file) == []


def test_the_answer_belongs_to_the_key_of_the_client(file):
    with recording(file, lambda peer: peer.answer()) as recorded:
        assert recorded.client.handshake("/").header("Sec-WebSocket-Accept") == ACCEPT


def test_unix_sockets_are_recorded(file, tmp_path):
    place = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    with running_server() as server, listener:
        server.record(f"ws+unix://{place}:/there", file)
        with Client(server.port) as client:
            client.send_request("/")
            connected, _ = listener.accept()
            with connected:
                assert connected.recv(4096).startswith(b"GET /there HTTP/1.1\r\nHost: localhost")


def test_servers_with_tls_are_recorded_and_credentials_of_the_url_are_sent(file, tmp_path):
    trustme = pytest.importorskip("trustme")
    assert trustme
    from fastwsh.testing import make_tls_files

    with running_server(tls=make_tls_files(tmp_path, "127.0.0.1")) as real:
        real.handler("/")(lambda one: one.send(one.headers["Authorization"]))
        url = real.url.replace("://", "://me:a%20b@")
        with running_server() as server:
            server.record(url, file, ca_file=real.ca_file)
            with fastwsh.connect(server.url) as connection:
                assert connection.recv(20) == "Basic bWU6YSBi"
    text = file.read_text()
    assert "bWU6YSBi" not in text.replace('"data":"Basic bWU6YSBi"', "")
    assert "me:a" not in text


@pytest.mark.parametrize(
    "url", ["http://a.example/", "example.org", "wss:///path", "", "ws+unix:", "ftp://x"]
)
def test_a_url_that_cannot_be_recorded_is_refused_at_once(file, url):
    with running_server() as server, pytest.raises(fastwsh.ConnectArgumentError):
        server.record(url, file)
