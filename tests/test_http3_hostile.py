"""What strangers send over HTTP/3: each input has one answer, and the server is as before."""

from collections.abc import Callable, Iterator

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import FrameType, encode_frame

from conftest import Server, starting_servers
from echo_handlers import ECHO_MODULE
from http3_support import Http3Client, Http3Stream, write_certificate
from wire import TEXT, Frame
from wire import encode_frame as encode_message

# The streams that a client opens at once (RFC 9114 6.2, RFC 9204 4.2), and its next one.
CONTROL, ENCODER, DECODER, NEXT = 2, 6, 10, 14

# Errors of RFC 9114 8.1 and RFC 9204 6.
STREAM_CREATION, CLOSED_CRITICAL, FRAME_UNEXPECTED, FRAME_ERROR = 0x103, 0x104, 0x105, 0x106
MESSAGE = 0x10E
DECOMPRESSION, ENCODER_STREAM, DECODER_STREAM = 0x200, 0x201, 0x202


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all inputs."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "echo_wsh.py").write_text(ECHO_MODULE)
    certificate = tmp_path_factory.mktemp("tls") / "tls.pem"
    write_certificate(certificate)
    with starting_servers(folder, "hub") as start:
        yield start("-w", ".", "--http3", "--ssl-certfile", certificate)


def frame(kind: int, payload: bytes = b"") -> bytes:
    data: bytes = encode_frame(kind, payload)
    return data


def on_request(data: bytes, *, end: bool = False) -> Callable[[Http3Client], int]:
    """Send bytes on a new stream."""

    def send(client: Http3Client) -> int:
        stream: int = client.quic.get_next_available_stream_id()
        client.streams[stream] = Http3Stream()
        client.quic.send_stream_data(stream, data, end_stream=end)
        client.flush()
        return stream

    return send


def on_stream(stream: int, data: bytes, *, end: bool = False) -> Callable[[Http3Client], int]:
    """Send bytes on a stream in one direction."""

    def send(client: Http3Client) -> int:
        client.quic.send_stream_data(stream, data, end_stream=end)
        client.flush()
        return -1

    return send


def assert_echoes(client: Http3Client) -> None:
    websocket = client.websocket("/echo")
    websocket.send(encode_message(TEXT, b"hi"))
    assert websocket.read_frame() == Frame(TEXT, b"hi")


ENDS_THE_CONNECTION = {
    "second control stream": (on_stream(NEXT, b"\x00"), STREAM_CREATION),
    "second encoder stream": (on_stream(NEXT, b"\x02"), STREAM_CREATION),
    "push stream": (on_stream(NEXT, b"\x01\x00"), STREAM_CREATION),
    "end of the control stream": (on_stream(CONTROL, b"", end=True), CLOSED_CRITICAL),
    "SETTINGS twice": (on_stream(CONTROL, frame(FrameType.SETTINGS)), FRAME_UNEXPECTED),
    "DATA on the control stream": (on_stream(CONTROL, frame(FrameType.DATA)), FRAME_UNEXPECTED),
    "HEADERS on the control stream": (
        on_stream(CONTROL, frame(FrameType.HEADERS)),
        FRAME_UNEXPECTED,
    ),
    "what is no instruction to the decoder": (on_stream(ENCODER, b"\xff" * 20), ENCODER_STREAM),
    "acknowledgement of nothing": (on_stream(DECODER, b"\x81"), DECODER_STREAM),
    "request that ends in a frame": (on_request(b"\x01\x40", end=True), FRAME_ERROR),
    "fields that are none": (on_request(frame(FrameType.HEADERS, b"\xff" * 5)), DECOMPRESSION),
    "DATA before HEADERS": (on_request(frame(FrameType.DATA, b"x")), FRAME_UNEXPECTED),
    "SETTINGS on a request": (on_request(frame(FrameType.SETTINGS)), FRAME_UNEXPECTED),
    "GOAWAY on a request": (on_request(frame(FrameType.GOAWAY, b"\0")), FRAME_UNEXPECTED),
    "PUSH_PROMISE": (on_request(frame(FrameType.PUSH_PROMISE, b"\0")), FRAME_UNEXPECTED),
    "MAX_PUSH_ID on a request": (on_request(frame(FrameType.MAX_PUSH_ID, b"\0")), FRAME_UNEXPECTED),
}


@pytest.mark.parametrize("case", ENDS_THE_CONNECTION)
def test_errors_of_the_connection(server: Server, case: str):
    send, code = ENDS_THE_CONNECTION[case]
    with Http3Client(server) as client:
        assert_echoes(client)
        send(client)
        assert client.wait_closed() == code
    with Http3Client(server) as other:
        assert_echoes(other)


IS_IGNORED = {
    "stream of an unknown type": on_stream(NEXT, encode_uint_var(0x21) + b"x", end=True),
    "frame of an unknown type": on_stream(CONTROL, frame(0x21 + 0x1F, b"x")),
    "MAX_PUSH_ID": on_stream(CONTROL, frame(FrameType.MAX_PUSH_ID, b"\x3f")),
    "GOAWAY": on_stream(CONTROL, frame(FrameType.GOAWAY, b"\0")),
    "frame of an unknown type on a request": on_request(frame(0x21, b"x")),
    "request that ends at once": on_request(b"", end=True),
}


@pytest.mark.parametrize("case", IS_IGNORED)
def test_what_nobody_needs_to_know_is_ignored(server: Server, case: str):
    with Http3Client(server) as client:
        IS_IGNORED[case](client)
        assert_echoes(client)
        assert_echoes(client)


CONNECT = {
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "https",
    ":authority": "h",
    ":path": "/echo",
    "sec-websocket-version": "13",
}

# Fields that are other than those of a good request, without those that are None; the answer is a
# status, or the code of a reset.
HEADS: dict[str, tuple[dict[str, str | None], int]] = {
    "te: trailers": ({"te": "trailers"}, 200),
    ":protocol in upper case": ({":protocol": "WEBSOCKET"}, 200),
    "empty :protocol": ({":protocol": ""}, 501),
    ":protocol with a space": ({":protocol": " websocket"}, MESSAGE),
    "list of protocols": ({":protocol": "websocket, x"}, 501),
    "other host": ({"host": "g"}, 400),
    "content-length": ({"content-length": "5"}, 400),
    ":path * without OPTIONS": ({":path": "*"}, MESSAGE),
    "no :authority": ({":authority": None}, MESSAGE),
    "no :path": ({":path": None}, MESSAGE),
    ":protocol without CONNECT": ({":method": "POST"}, MESSAGE),
    ":path with a space": ({":path": "/echo x"}, MESSAGE),
    "te": ({"te": "gzip"}, MESSAGE),
    "connection": ({"connection": "upgrade"}, MESSAGE),
    "upgrade": ({"upgrade": "websocket"}, MESSAGE),
    "transfer-encoding": ({"transfer-encoding": "chunked"}, MESSAGE),
    "field with an end of line": ({"a": "b\r\nc: d"}, MESSAGE),
    "unknown pseudo-header": ({":other": "x"}, MESSAGE),
}


@pytest.mark.parametrize("case", HEADS)
def test_heads(server: Server, case: str):
    changes, wanted = HEADS[case]
    # pseudo-headers come first
    fields = {**{n: v for n, v in changes.items() if n.startswith(":")}, **CONNECT, **changes}
    with Http3Client(server) as client:
        assert_echoes(client)
        stream = client.open_stream([(n, v) for n, v in fields.items() if v is not None])
        answer = client.wait_headers(stream)
        assert (answer.reset_code or answer.status) == wanted
        assert_echoes(client)


def test_none_of_that_is_an_error_of_the_server(server: Server):
    log = "\n".join(server.log.lines)
    assert "Traceback" not in log
    assert "panicked" not in log
    assert "HTTP/3: " not in log
