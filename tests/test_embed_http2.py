"""WebSockets over HTTP/2 (RFC 8441) in wptserve: pywebsocket's parts over requests of its own."""

import os
import queue
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from conftest import WriteHandler
from fastwsh.pywebsocket import common, dispatch
from fastwsh.pywebsocket.handshake import AbortedByUserException, HandshakeException
from fastwsh.pywebsocket.handshake.base import (
    HandshakerBase,
    get_mandatory_header,
    validate_mandatory_header,
)
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame

HEADERS = {
    "method": "CONNECT",
    ":protocol": "websocket",
    "authority": "localhost:9000",
    "path": "/echo",
    "sec-websocket-version": "13",
}


class WsH2Handshaker(HandshakerBase):
    """What differs from HTTP/1.1: the checks, the names of headers, and where the answer goes."""

    def _transform_header(self, header: str) -> str:
        return header.lower()

    def _protocol_rfc(self) -> str:
        return "RFC 8441"

    def _validate_request(self) -> None:
        if self._request.method != "CONNECT":
            raise HandshakeException(f"Method is not CONNECT: {self._request.method!r}")
        validate_mandatory_header(self._request, ":protocol", "websocket")
        get_mandatory_header(self._request, "authority")

    def _set_accept(self) -> None:
        pass

    def _send_handshake(self) -> None:
        request = self._request
        request.status = 200
        request.headers_out["upgrade"] = common.WEBSOCKET_UPGRADE_TYPE
        if request.ws_protocol is not None:
            request.headers_out["sec-websocket-protocol"] = request.ws_protocol
        if request.ws_extensions:
            value = common.format_extensions(request.ws_extensions)
            request.headers_out["sec-websocket-extensions"] = value
        for name, value in request.extra_headers:
            request.headers_out[name] = value


class StreamClosedError(Exception):
    """What the HTTP/2 library raises once the client has reset its stream."""


class Connection:
    """Reads DATA frames from a pipe and hands out what is written, one item per DATA frame."""

    remote_addr = ("192.0.2.1", 4711)

    def __init__(self, rfile: Any) -> None:
        self._rfile = rfile
        self.sent: queue.Queue[bytes] = queue.Queue()
        self.reset = False

    def read(self, length: int) -> bytes:
        data: bytes = self._rfile.read(length)
        return data

    def write(self, data: bytes) -> None:
        if self.reset:
            raise StreamClosedError
        self.sent.put(bytes(data))


class Request:
    protocol = "HTTP/2"
    status: int | None = None

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self.connection = connection
        self.headers_in = headers
        self.headers_out: dict[str, str] = {}
        self.uri = self.unparsed_uri = headers["path"]
        self.method = headers["method"]


class H2Stream:
    """One stream of wptserve: its own dispatcher, and two threads as there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        read_end, write_end = os.pipe()
        self._rfile = os.fdopen(read_end, "rb")
        self._wfile = os.fdopen(write_end, "wb", 0)
        self.connection = Connection(self._rfile)
        self.request: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._transfer, daemon=True)

    def open(self, **headers: str) -> dict[str, str]:
        """Do the handshake; return the headers of the answer."""
        fields = {**HEADERS, **{name.replace("_", "-"): v for name, v in headers.items()}}
        request = self.request = Request(self.connection, fields)
        dispatcher = dispatch.Dispatcher(str(self._root), None, False)
        assert dispatcher.get_handler_suite(request.uri)
        WsH2Handshaker(request, dispatcher).do_handshake()
        assert request.status == 200
        request._dispatcher = dispatcher
        self._thread.start()
        return request.headers_out

    def _transfer(self) -> None:
        try:
            self.request._dispatcher.transfer_data(self.request)
        except Exception as error:  # noqa: BLE001 (the tests look at it)
            self.error = error

    def send(self, data: bytes) -> None:
        """Give a DATA frame of the client to the stream."""
        self._wfile.write(data)

    def receive(self) -> bytes:
        """The next DATA frame to the client."""
        return self.connection.sent.get(timeout=DEADLINE_SECONDS)

    def join(self) -> None:
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self._wfile.close()
        if self._thread.ident is not None:
            self.join()
        self._rfile.close()


@pytest.fixture
def stream(handler_root: Path, write_handler: WriteHandler) -> Iterator[H2Stream]:
    """A stream whose server has an echo handler."""
    write_handler(
        "echo",
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    binary = isinstance(message, bytes)\n"
        "    request.ws_stream.send_message(message, binary=binary)",
    )
    stream = H2Stream(handler_root)
    yield stream
    stream.close()


def server_frame(opcode: int, payload: bytes = b"", *, rsv: int = 0) -> bytes:
    return encode_frame(opcode, payload, rsv=rsv, mask=None)


def test_answer_has_what_the_handshaker_put_there(stream: H2Stream):
    assert stream.open() == {"upgrade": "websocket"}
    assert stream.request.ws_version == 13
    assert stream.request.ws_resource == "/echo"


def test_messages_go_both_ways(stream: H2Stream):
    stream.open()
    stream.send(encode_frame(TEXT, "h\xe9llo".encode()))
    assert stream.receive() == server_frame(TEXT, "h\xe9llo".encode())
    stream.send(encode_frame(BINARY, bytes(70_000)))
    assert stream.receive() == server_frame(BINARY, bytes(70_000))


def test_pings_are_answered(stream: H2Stream):
    stream.open()
    stream.send(encode_frame(PING, b"beat"))
    assert stream.receive() == server_frame(PONG, b"beat")


def test_frame_comes_in_pieces(stream: H2Stream):
    stream.open()
    for octet in encode_frame(TEXT, b"bit by bit"):
        stream.send(bytes([octet]))
    assert stream.receive() == server_frame(TEXT, b"bit by bit")


def test_client_closes(stream: H2Stream):
    stream.open()
    stream.send(encode_frame(CLOSE, (1001).to_bytes(2) + b"away"))
    assert stream.receive() == server_frame(CLOSE, (1000).to_bytes(2))
    stream.join()
    assert stream.error is None
    assert (stream.request.ws_close_code, stream.request.ws_close_reason) == (1001, "away")


def test_end_of_the_stream_is_the_end(stream: H2Stream):
    stream.open()
    stream.send(encode_frame(TEXT, b"cut off")[:5])
    stream._wfile.close()
    stream.join()
    assert stream.error is None


def test_error_of_the_library_reaches_the_caller(stream: H2Stream):
    stream.open()
    stream.connection.reset = True
    stream.send(encode_frame(TEXT, b"to nobody"))
    stream.join()
    assert isinstance(stream.error, StreamClosedError)


def test_permessage_deflate(stream: H2Stream):
    answer = stream.open(sec_websocket_extensions="permessage-deflate; client_max_window_bits")
    assert answer["sec-websocket-extensions"] == "permessage-deflate"
    text = b"over and over " * 20
    deflater = zlib.compressobj(wbits=-15)
    inflater = zlib.decompressobj(wbits=-15)
    for _ in range(2):  # the second one uses the window of the first
        data = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
        stream.send(encode_frame(TEXT, data.removesuffix(b"\x00\x00\xff\xff"), rsv=4))
        frame = stream.receive()
        assert frame[0] == 0xC1
        assert inflater.decompress(frame[2:] + b"\x00\x00\xff\xff") == text


def test_subprotocol_and_headers_of_the_handler(stream: H2Stream, write_handler: WriteHandler):
    write_handler(
        "chat",
        "def web_socket_do_extra_handshake(request):\n"
        "    assert request.connection.remote_addr == ('192.0.2.1', 4711)\n"
        "    request.ws_protocol = request.ws_requested_protocols[-1]\n"
        "    request.extra_headers.append(('x-origin', str(request.ws_origin)))\n"
        "def web_socket_transfer_data(request):\n"
        "    request.ws_stream.send_message(request.protocol)\n",
    )
    answer = stream.open(path="/chat", origin="https://localhost", sec_websocket_protocol="a, b")
    assert answer["sec-websocket-protocol"] == "b"
    assert answer["x-origin"] == "https://localhost"
    assert stream.receive() == server_frame(TEXT, b"HTTP/2")
    assert stream.receive() == server_frame(CLOSE, (1000).to_bytes(2))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"method": "GET"}, None),
        ({":protocol": "connect-udp"}, None),
        ({"sec_websocket_version": "8, 13"}, 400),
        ({"sec_websocket_protocol": "a"}, 400),
    ],
)
def test_refusals_have_a_status(stream: H2Stream, headers: dict[str, str], status: int | None):
    with pytest.raises(HandshakeException) as caught:
        stream.open(**headers)
    assert caught.value.status == status


def test_handler_aborts(stream: H2Stream, write_handler: WriteHandler):
    write_handler(
        "abort",
        "from pywebsocket3 import handshake\n"
        "def web_socket_do_extra_handshake(request):\n"
        "    raise handshake.AbortedByUserException('no')\n"
        "def web_socket_transfer_data(request): pass\n",
    )
    with pytest.raises(AbortedByUserException, match="no"):
        stream.open(path="/abort")


def test_connections_share_no_globals(handler_root: Path, write_handler: WriteHandler):
    write_handler(
        "count",
        "visits = 0\n"
        "def web_socket_do_extra_handshake(request):\n"
        "    global visits\n"
        "    visits += 1\n"
        "    request.extra_headers.append(('x-visits', str(visits)))\n"
        "def web_socket_transfer_data(request): pass\n",
    )
    for _ in range(2):
        stream = H2Stream(handler_root)
        assert stream.open(path="/count")["x-visits"] == "1"
        with suppress(BrokenPipeError):
            stream.send(encode_frame(CLOSE))
        stream.close()
