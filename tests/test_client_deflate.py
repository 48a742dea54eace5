"""permessage-deflate of the client (RFC 7692): what is agreed to, and both directions."""

import random
import zlib

import pytest

import fastwsh
from client_support import Peer, serving
from wire import CLOSE, DEADLINE_SECONDS, TEXT, encode_frame

# Compresses badly by itself, and to almost nothing behind itself.
TEXT_ONCE = "".join(random.Random(7692).choices("abcdefghijklmnopqrstuvwxyz", k=400))
TAIL = b"\x00\x00\xff\xff"


def extensions(value: str) -> list[tuple[str, str]]:
    return [("Sec-WebSocket-Extensions", value)]


def sends_twice(agreed: str) -> tuple[bytes, bytes]:
    """The payloads of two equal messages that a client sends behind this answer."""
    payloads: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.answer(extensions(agreed))
        for _ in range(2):
            frame = peer.read_frame()
            assert (frame.opcode, frame.rsv) == (TEXT, 4)
            payloads.append(frame.payload)
        assert peer.read_frame().opcode == CLOSE

    with serving(script) as url, fastwsh.connect(url, close_timeout=1) as client:
        assert client.is_compressed
        client.send(TEXT_ONCE)
        client.send(TEXT_ONCE)
    return payloads[0], payloads[1]


def test_offers_its_window_to_be_chosen():
    def script(peer: Peer) -> None:
        peer.answer()
        offered = peer.request.header("Sec-WebSocket-Extensions")
        assert offered == "permessage-deflate; client_max_window_bits"

    with serving(script) as url:
        client = fastwsh.connect(url)
        assert not client.is_compressed
        client.close()


def test_messages_refer_to_earlier_ones():
    first, second = sends_twice("permessage-deflate")
    assert len(second) < len(first) / 5
    inflater = zlib.decompressobj(-15)
    for payload in (first, second):
        assert inflater.decompress(payload + TAIL).decode() == TEXT_ONCE


def test_messages_stand_alone_without_context_takeover():
    first, second = sends_twice("permessage-deflate; client_no_context_takeover")
    assert first == second
    assert zlib.decompressobj(-15).decompress(second + TAIL).decode() == TEXT_ONCE


@pytest.mark.parametrize("bits", [9, 15])
def test_window_is_the_one_that_the_server_chose(bits: int):
    first, second = sends_twice(f"permessage-deflate; client_max_window_bits={bits}")
    inflater = zlib.decompressobj(-bits)
    for payload in (first, second):
        assert inflater.decompress(payload + TAIL).decode() == TEXT_ONCE


@pytest.mark.parametrize(
    ("agreed", "takeover"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; server_no_context_takeover", False),
        ("permessage-deflate; server_max_window_bits=10", True),
    ],
)
def test_inflates_with_and_without_context_takeover(agreed: str, *, takeover: bool):
    def script(peer: Peer) -> None:
        peer.answer(extensions(agreed))
        deflater = zlib.compressobj(wbits=-10)
        for _ in range(2):
            if not takeover:
                deflater = zlib.compressobj(wbits=-10)
            data = deflater.compress(TEXT_ONCE.encode()) + deflater.flush(zlib.Z_SYNC_FLUSH)
            payload = data.removesuffix(TAIL)
            peer.send(encode_frame(TEXT, payload[:9], fin=False, rsv=4, mask=None))
            peer.send(encode_frame(0, payload[9:], mask=None))
        peer.send_frame(TEXT, b"plain", mask=None)
        peer.read_frame()

    with serving(script) as url, fastwsh.connect(url, close_timeout=1) as client:
        received = [client.recv(DEADLINE_SECONDS) for _ in range(3)]
    assert received == [TEXT_ONCE, TEXT_ONCE, "plain"]


def test_message_that_inflates_beyond_the_limit_fails_the_connection():
    def script(peer: Peer) -> None:
        peer.answer(extensions("permessage-deflate"))
        deflater = zlib.compressobj(wbits=-15)
        data = deflater.compress(bytes(10_000)) + deflater.flush(zlib.Z_SYNC_FLUSH)
        peer.send_frame(TEXT, data.removesuffix(TAIL), rsv=4, mask=None)
        assert peer.read_frame().close_code == 1009

    with (
        serving(script) as url,
        fastwsh.connect(url, max_message_bytes=1000) as client,
        pytest.raises(fastwsh.ConnectionClosed, match="1000 bytes when inflated"),
    ):
        client.recv(DEADLINE_SECONDS)


@pytest.mark.parametrize(
    ("agreed", "says"),
    [
        ("x-mux", "the extension x-mux was not offered"),
        ("permessage-deflate, permessage-deflate", "named twice"),
        ("permessage-deflate; client_max_window_bits", "Value is required"),
        ("permessage-deflate; server_max_window_bits=7", "'7'"),
        ("permessage-deflate; unknown", "Unknown parameter"),
        ("permessage-deflate; server_no_context_takeover=1", "must not have a value"),
        (
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "repeated",
        ),
        ("permessage-deflate;", "Failed to parse parameter"),
    ],
)
def test_answer_that_agrees_to_something_else_fails(agreed: str, says: str):
    def script(peer: Peer) -> None:
        peer.answer(extensions(agreed))

    with serving(script) as url, pytest.raises(fastwsh.ConnectError, match=says):
        fastwsh.connect(url)


def test_extension_without_an_offer_fails():
    def script(peer: Peer) -> None:
        peer.answer(extensions("permessage-deflate"))

    with serving(script) as url, pytest.raises(fastwsh.ConnectError, match="was not offered"):
        fastwsh.connect(url, compression=False)
