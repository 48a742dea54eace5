"""HTTP/2 and HTTP/3 for tests of what is the same over both: a fixture of a test's version."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from fastwsh.testing import WsServer
from http2_support import Http2Client
from http3_support import Http3Client, write_certificate
from wire import TEXT, Client, Frame

__all__ = [
    "OVER_BOTH",
    "Over",
    "StreamClient",
    "client",
    "echo_and_close",
    "end_of",
    "over",
    "server",
]

StreamClient = Http2Client | Http3Client


@dataclass(frozen=True)
class Over:
    """One of the versions.

    Attributes:
        version: As a request tells it.
        options: What a server of it needs.
        scheme: That of its URLs.
        connect: Opens a connection to a server.
        connect_unchecked: The same for a client that sends whatever it is told to.
        cancelled: The code of a stream that a handler breaks off.
        malformed: The code of a stream with a malformed request.
        no_error: The code of a connection that ends in order.
        short_time: A limit, in seconds, that a connection's beginning does not reach.
    """

    version: str
    options: tuple[str, ...]
    scheme: str
    connect: Callable[[Server | WsServer], StreamClient]
    connect_unchecked: Callable[[Server | WsServer], StreamClient]
    cancelled: int
    malformed: int
    no_error: int
    short_time: str

    @contextmanager
    def connect_old(self, server: Server) -> Iterator[Client]:
        """Open a connection of HTTP/1.1 to the same server."""
        with server.connect() as plain:
            if self.scheme == "http":
                yield plain
                return
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            with Client.over(context.wrap_socket(plain.socket), server.port) as client:
                yield client


def echo_and_close(client: StreamClient) -> None:
    """Open a WebSocket to `/echo`, use it and close it."""
    websocket = client.websocket("/echo")
    websocket.send_frame(TEXT, b"hello")
    assert websocket.read_frame() == Frame(TEXT, b"hello")
    websocket.send_close()
    assert websocket.read_frame().close_code == 1000
    websocket.send(b"", end=True)
    websocket.wait_end()


def end_of(client: StreamClient) -> int | None:
    """Wait for the end of a connection; return its code."""
    if isinstance(client, Http3Client):
        return client.wait_closed()
    client.wait_closed()
    return client.goaway


OVER_BOTH = pytest.mark.parametrize("over", ["2", "3"], indirect=True)
"""For tests that run over each version; they ask for the fixture `over`."""


def over_version(number: str, folder: Path) -> Over:
    """Return a version; files for its servers go to a folder."""
    if number == "2":
        unchecked = partial(Http2Client, checks=False)
        return Over("HTTP/2", ("--http2",), "http", Http2Client, unchecked, 8, 1, 0, "0.2")
    write_certificate(folder / "tls.pem")
    options = ("--http3", "--ssl-certfile", str(folder / "tls.pem"))
    return Over("HTTP/3", options, "https", Http3Client, Http3Client, 0x10C, 0x10E, 0x100, "1")


@pytest.fixture
def over(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Over:
    """The version of a test that is marked with `OVER_BOTH`."""
    return over_version(request.param, tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler, over: Over) -> Server:
    """A server of the test's version with an echo at /echo."""
    write_handler("echo", ECHO)
    return start_server("-w", "handlers", *over.options, log_level="debug")


@pytest.fixture
def client(server: Server, over: Over) -> Iterator[StreamClient]:
    """A connection to that server."""
    with over.connect(server) as client:
        yield client
