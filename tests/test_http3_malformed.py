"""A malformed request over HTTP/3 is an error of its stream alone (RFC 9114 4.1.2)."""

from collections.abc import Iterator

import pytest
from aioquic.h3.connection import ErrorCode, FrameType, encode_frame

from conftest import starting_servers
from echo_handlers import ECHO
from http3_support import Http3Client, Http3Stream, write_certificate
from wire import TEXT, Frame
from wire import encode_frame as encode_message

Fields = list[tuple[bytes, bytes]]

MESSAGE = encode_message(TEXT, b"hi")

# What replaces a pseudo-header, or comes in addition; None leaves the pseudo-header out.
WRONG: dict[bytes, tuple[bytes | None, ...]] = {
    b":method": (None, b"", b"CON NECT", b"\xe9"),
    b":protocol": (None, b"web\x01socket", b"\xff"),
    b":scheme": (None, b"ht tp", b"\xe9"),
    b":authority": (None, b"", b"a b", b"\xe9", b"h\x7f"),
    b":path": (None, b"", b"echo", b"*", b"?x", b"/a b", b"/\xe9", b"/\x00", b"/\x1f"),
    b":status": (b"200",),
    b":unknown": (b"x",),
    b":": (b"x",),
    b"Upper": (b"x",),
    b"a b": (b"x",),
    b"a(b": (b"x",),
    b"\xe9": (b"x",),
    b"x-y": (b"a\x01b", b"a\x7f", b"a\r\nb: c", b" a", b"a\x00"),
    b"connection": (b"upgrade",),
    b"transfer-encoding": (b"chunked",),
    b"te": (b"gzip",),
    b"content-length": (b"x", b"-1"),
}

CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http3Client]:
    """One connection for all cases, which none of them may end."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "handlers").mkdir()
    lines = "".join(f"    {line}\n" for line in ECHO.splitlines())
    (folder / "handlers" / "echo_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request):\n    pass\n"
        f"def web_socket_transfer_data(request):\n{lines}"
    )
    write_certificate(folder / "tls.pem")
    with starting_servers(folder, "hub") as start:
        server = start("-w", "handlers", "--http3", "--ssl-certfile=tls.pem")
        with Http3Client(server) as client:
            yield client


def request(client: Http3Client, wrong: bytes, value: bytes | None) -> Fields:
    fields: Fields = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", client.authority.encode()),
        (b":path", b"/echo"),
        (b"sec-websocket-version", b"13"),
    ]
    new = [] if value is None else [(wrong, value)]
    if not wrong.startswith(b":"):
        return fields + new
    return [*(field for field in fields[:-1] if field[0] != wrong), *new, fields[-1]]


def send(client: Http3Client, fields: Fields, *more: bytes) -> int:
    """Send a head and what follows it in one packet; return the stream."""
    stream: int = client.quic.get_next_available_stream_id()
    client.streams[stream] = Http3Stream()
    # the encoder may refuse what a server must refuse as well, so literals are written here
    block = b"\x00\x00" + b"".join(literal(*field) for field in fields)
    data = encode_frame(FrameType.HEADERS, block) + b"".join(more)
    client.quic.send_stream_data(stream, data)
    client.flush()
    return stream


def literal(name: bytes, value: bytes) -> bytes:
    """Encode a field without tables and without Huffman's code (RFC 9204 4.5.6)."""
    return integer(0x20, 3, len(name)) + name + integer(0, 7, len(value)) + value


def integer(first: int, bits: int, number: int) -> bytes:
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([first | number])
    rest = number - limit
    assert rest < 128
    return bytes([first | limit, rest])


@pytest.mark.parametrize("follows", [False, True], ids=["alone", "with data"])
@pytest.mark.parametrize(("wrong", "value"), CASES)
def test_is_an_error_of_its_stream(
    client: Http3Client, wrong: bytes, value: bytes | None, follows: bool
):
    other = client.websocket("/echo")
    data = encode_frame(FrameType.DATA, MESSAGE)
    stream = send(client, request(client, wrong, value), *([data, data] if follows else []))
    assert client.wait_end(stream).reset_code == ErrorCode.H3_MESSAGE_ERROR
    other.send(MESSAGE)
    assert other.read_frame() == Frame(TEXT, b"hi")
    other.reset()


def test_what_is_right_is_served(client: Http3Client):
    stream = send(
        client, request(client, b"x-y", b"a\tb\xe9"), encode_frame(FrameType.DATA, MESSAGE)
    )
    client.wait(lambda: bytes(client.streams[stream].data) == b"\x81\x02hi")
    client.reset(stream)
