"""Clients on pywebsocket's `Stream`, as kiwiclient and supersdr vendor it, against our server."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Server, StartServer, WriteHandler
from fastwsh.pywebsocket import common, extensions, util
from fastwsh.pywebsocket._stream_base import ConnectionTerminatedException
from fastwsh.pywebsocket.stream import Stream, StreamOptions
from wire import ACCEPT, DEADLINE_SECONDS, KEY

HANDLERS = {
    "echo": """
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message, binary=isinstance(message, bytes))
""",
    "ping": """
from fastwsh.pywebsocket import msgutil
pongs = []
request.on_pong_handler = lambda request, body: pongs.append(body)
msgutil.send_ping(request, b"still there?")
request.ws_stream.send_message("pinged")
request.ws_stream.receive_message()
request.ws_stream.send_message(repr(pongs))
request.ws_stream.receive_message()
""",
    "bye": 'request.ws_stream.close_connection(4000, "enough")',
    "drop": "assert request.ws_stream.receive_message() == 'never'",
    "big": 'request.ws_stream.send_message(b"sample " * 10_000, binary=True)',
}


class ClientConnection:
    """A socket with `read` and `write`; reads may return less than was asked for."""

    def __init__(self, connection: socket.socket, most: int | None) -> None:
        self._socket = connection
        self._most = most
        self.remote_addr = connection.getpeername()

    def read(self, length: int) -> bytes:
        return self._socket.recv(length if self._most is None else min(length, self._most))

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)


class ClientRequest:
    """Only what a stream asks of a request."""

    def __init__(self, connection: ClientConnection) -> None:
        self._logger = util.get_class_logger(self)
        self.connection = connection
        self.ws_version = common.VERSION_HYBI13


class Handshake:
    """The opening handshake, by hand, over the bare socket."""

    def __init__(self, connection: socket.socket, resource: str, *fields: str) -> None:
        lines = [
            f"GET {resource} HTTP/1.1",
            common.UPGRADE_HEADER + ": " + common.WEBSOCKET_UPGRADE_TYPE,
            common.CONNECTION_HEADER + ": " + common.UPGRADE_CONNECTION_TYPE,
            f"{common.HOST_HEADER}: 127.0.0.1:{connection.getpeername()[1]}",
            f"{common.SEC_WEBSOCKET_KEY_HEADER}: {KEY}",
            f"{common.SEC_WEBSOCKET_VERSION_HEADER}: {common.VERSION_HYBI_LATEST}",
            *fields,
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        # One byte at a time, so that nothing of the stream is taken.
        while not answer.endswith(b"\r\n\r\n"):
            octet = connection.recv(1)
            assert octet, util.hexify(answer)
            answer += octet
        self.status_line, *rest = answer.decode().split("\r\n")
        self.headers = dict(line.split(": ", 1) for line in rest if line)
        assert self.headers[common.SEC_WEBSOCKET_ACCEPT_HEADER] == ACCEPT


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler, handler_root: Path) -> Server:
    for name, body in HANDLERS.items():
        write_handler(name, body)
    return start_server("-w", handler_root)


Connect = Callable[..., Stream]


@pytest.fixture(params=[None, 1], ids=["whole reads", "one byte at a time"])
def connect(server: Server, request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Open a client's stream to a resource."""
    sockets: list[socket.socket] = []

    def connect(resource: str, framer: Any = None, *fields: str) -> Stream:
        connection = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
        sockets.append(connection)
        handshake = Handshake(connection, resource, *fields)
        client_request = ClientRequest(ClientConnection(connection, request.param))
        options = StreamOptions()
        options.mask_send = True
        options.unmask_receive = False
        if framer is not None:
            answer = handshake.headers[common.SEC_WEBSOCKET_EXTENSIONS_HEADER]
            (accepted,) = common.parse_extensions(answer)
            bits = accepted.get_parameter_value("server_max_window_bits")
            assert bits is None or extensions._parse_window_bits(bits) == 10
            framer.setup_stream_options(options)
        return Stream(client_request, options)

    yield connect
    for connection in sockets:
        connection.close()


def close(stream: Stream) -> None:
    stream.close_connection(common.STATUS_NORMAL_CLOSURE, "done")
    assert stream._request.client_terminated


def test_text_and_binary(connect: Connect):
    stream = connect("/echo")
    stream.send_message("SET mod=am low_cut=-4900 h\xf6chste=4900")
    assert stream.receive_message() == "SET mod=am low_cut=-4900 h\xf6chste=4900"
    stream.send_message(b"SND\x00\xff", binary=True)
    assert stream.receive_message() == b"SND\x00\xff"
    close(stream)


def test_fragments(connect: Connect):
    stream = connect("/echo")
    stream.send_message("one ", end=False)
    stream.send_message("message")
    assert stream.receive_message() == "one message"
    close(stream)


def test_answers_pings(connect: Connect):
    stream = connect("/ping")
    assert stream.receive_message() == "pinged"
    stream.send_message("and?")
    assert stream.receive_message() == "[b'still there?']"
    close(stream)


def test_large_message(connect: Connect):
    stream = connect("/big")
    assert stream.receive_message() == b"sample " * 10_000


def test_server_closes(connect: Connect):
    stream = connect("/bye")
    assert stream.receive_message() is None
    request = stream._request
    assert (request.ws_close_code, request.ws_close_reason) == (4000, "enough")
    assert request.server_terminated


def test_server_vanishes(connect: Connect):
    stream = connect("/drop")
    stream.send_message("anything")
    with pytest.raises(ConnectionTerminatedException):
        stream.receive_message()


def test_timeout_of_the_socket_counts_as_the_end(connect: Connect):
    stream = connect("/echo")
    stream._request.connection._socket.settimeout(0.01)
    with pytest.raises(ConnectionTerminatedException):
        stream.receive_message()


@pytest.mark.parametrize(
    ("offer", "bits", "no_context"),
    [
        ("permessage-deflate", None, False),
        ("permessage-deflate; server_max_window_bits=10", 10, False),
        ("permessage-deflate; server_no_context_takeover", None, True),
    ],
)
def test_permessage_deflate(connect: Connect, offer: str, bits: int | None, no_context: bool):
    framer = extensions._PerMessageDeflateFramer(bits, no_context)
    framer.set_compress_outgoing_enabled(True)
    field = f"{common.SEC_WEBSOCKET_EXTENSIONS_HEADER}: {offer}"
    stream = connect("/echo", framer, field)
    for text in ("waterfall " * 50, "", "waterfall " * 50):
        stream.send_message(text)
        assert stream.receive_message() == text
    close(stream)
