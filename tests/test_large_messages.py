"""Messages of megabytes, which are received in steps: content, order, errors, and what follows."""

import hashlib
import random
import zlib

import pytest

from conftest import ALL_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO
from wire import BINARY, CLOSE, TEXT, Client

# answers with the kind, length and digest of each message
DIGESTS = """\
import hashlib
while (message := request.ws_stream.receive_message()) is not None:
    kind = type(message).__name__
    data = message.encode() if kind == "str" else message
    request.ws_stream.send_message(f"{kind} {len(message)} {hashlib.sha256(data).hexdigest()}")
"""
TELLS_WHY = """\
import logging
try:
    request.ws_stream.receive_message()
except Exception as error:
    logging.warning("%s: %s", type(error).__name__, error)
    raise
"""
MIB = 1 << 20
# characters of one to four bytes, so that every way of cutting one comes up
CHARACTERS = "aé字😀"


def digest(message: str | bytes) -> bytes:
    data = message.encode() if isinstance(message, str) else message
    text = f"{type(message).__name__} {len(message)} {hashlib.sha256(data).hexdigest()}"
    return text.encode()


class Deflater:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(1, zlib.DEFLATED, -15)

    def __call__(self, data: bytes) -> bytes:
        output = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return output.removesuffix(b"\x00\x00\xff\xff")


def send(client: Client, message: str | bytes, deflate: Deflater | None) -> None:
    data = message.encode() if isinstance(message, str) else message
    opcode = TEXT if isinstance(message, str) else BINARY
    if deflate is None:
        client.send_frame(opcode, data)
    else:
        client.send_frame(opcode, deflate(data), rsv=4)


@ALL_WAYS
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "deflate"])
def test_content_and_order(
    start_server: StartServer, write_handler: WriteHandler, compressed: bool
) -> None:
    write_handler("digests", DIGESTS)
    server = start_server("-w", "handlers")
    chance = random.Random(6455)
    messages: list[str | bytes] = [
        "a" * (3 * MIB),
        b"",
        *(shift + CHARACTERS * (MIB // 3) for shift in ("", "-", "--", "---")),
        bytes(5 * MIB),
        "short",
        chance.randbytes(2 * MIB + 1),
        "é" * MIB + "字" * MIB + "😀",
        "a\r\nb\rc\n" * MIB,
    ]
    extension = [("Sec-WebSocket-Extensions", "permessage-deflate")] if compressed else []
    with server.connect() as client:
        client.handshake("/digests", extension)
        deflate = Deflater() if compressed else None
        for message in messages:
            send(client, message, deflate)
            # what follows at once must neither overtake nor be waited for
            send(client, "next", deflate)
        inflate = zlib.decompressobj(-15)
        for message in messages:
            for expected in (digest(message), digest("next")):
                frame = client.read_frame()
                answer = frame.payload
                if frame.rsv:
                    answer = inflate.decompress(answer + b"\x00\x00\xff\xff")
                assert answer == expected


@ALL_WAYS
def test_large_answers_are_compressed_whole(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers")
    chance = random.Random(7692)
    with server.connect() as client:
        client.handshake("/echo", [("Sec-WebSocket-Extensions", "permessage-deflate")])
        deflate, inflate = Deflater(), zlib.decompressobj(-15)
        for message in (bytes(9 * MIB), "字" * MIB, chance.randbytes(MIB), b"x", "é" * 100):
            send(client, message, deflate)
            frame = client.read_frame()
            assert (frame.fin, frame.rsv) == (True, 4)
            data = message.encode() if isinstance(message, str) else message
            assert inflate.decompress(frame.payload + b"\x00\x00\xff\xff") == data


@ALL_WAYS
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "deflate"])
@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (b"\xff", "byte 0xff in position 3145728: invalid start byte"),
        (b"\xe5\xad", "bytes in position 3145728-3145729: unexpected end of data"),
        (b"\xe5\xad(", "bytes in position 3145728-3145729: invalid continuation byte"),
    ],
    ids=["no character", "cut character", "bad continuation"],
)
def test_bad_text_far_behind_the_beginning(
    start_server: StartServer,
    write_handler: WriteHandler,
    compressed: bool,
    bad: bytes,
    where: str,
) -> None:
    write_handler("tells", TELLS_WHY)
    server = start_server("-w", "handlers")
    data = b"a" * (3 * MIB) + bad
    extension = [("Sec-WebSocket-Extensions", "permessage-deflate")] if compressed else []
    with server.connect() as client:
        client.handshake("/tells", extension)
        if compressed:
            client.send_frame(TEXT, Deflater()(data), rsv=4)
        else:
            client.send_frame(TEXT, data)
        frame = client.read_frame()
        assert (frame.opcode, frame.close_code) == (CLOSE, 1007)
    server.log.wait_for(f"InvalidUTF8Exception: 'utf-8' codec can't decode {where}")


@ALL_WAYS
def test_a_bomb_ends_at_its_limit(start_server: StartServer, write_handler: WriteHandler) -> None:
    write_handler("digests", DIGESTS)
    server = start_server("-w", "handlers", "--max-inflated-bytes", str(4 * MIB))
    with server.connect() as client:
        client.handshake("/digests", [("Sec-WebSocket-Extensions", "permessage-deflate")])
        deflate, inflate = Deflater(), zlib.decompressobj(-15)
        send(client, bytes(4 * MIB), deflate)
        answer = client.read_frame().payload + b"\x00\x00\xff\xff"
        assert inflate.decompress(answer) == digest(bytes(4 * MIB))
        send(client, bytes(4 * MIB + 1), deflate)
        frame = client.read_frame()
        assert (frame.opcode, frame.close_code) == (CLOSE, 1009)
