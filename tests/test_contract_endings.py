"""How handlers end connections without a close frame, and what they learn when clients do."""

import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trustme

from conftest import CONTRACT_WAYS, Server, StartServer, WriteHandler
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client, Frame

pytestmark = CONTRACT_WAYS

HOST = "127.0.0.1"
MISTAKES = re.compile(r"ERROR|Traceback|WARNING")


class Served:
    """A server of handlers, and how to reach it."""

    def __init__(self, server: Server, connect: Callable[[], socket.socket]) -> None:
        self.server = server
        self.connect = connect
        self._ended = 0

    @contextmanager
    def opened(self, path: str = "/h0") -> Iterator[Client]:
        """Open a connection whose handler goes on; it has ended when this has."""
        with Client.over(self.connect()) as client:
            client.handshake(path)
            client.send_frame(TEXT, b"go")
            yield client
        self._ended += 1
        self.server.out.wait_for(f"ended {path} {self._ended}$")

    def assert_no_mistake(self) -> None:
        """The log has neither an error nor a warning, whatever the handlers have done."""
        self.server.process.terminate()
        self.server.wait()
        assert not [line for line in self.server.log.text().splitlines() if MISTAKES.search(line)]


EVERY_TRANSPORT = pytest.mark.parametrize("transport", ["plain", "tls", "unix"])


@pytest.fixture
def transport() -> str:
    """How the client is connected; `EVERY_TRANSPORT` overrides it."""
    return "plain"


@pytest.fixture
def serve(
    transport: str,
    start_server: StartServer,
    write_handler: WriteHandler,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Served]:
    """Serve handlers at /h0 and so on, which do these lines when their client has spoken."""

    def start(*handlers: str, extra: str = "pass") -> Served:
        for number, lines in enumerate(handlers):
            indented = "".join(f"        {line}\n" for line in lines.splitlines())
            write_handler(
                f"h{number}",
                "import asyncio, threading, time\n"
                "from pywebsocket3 import common, msgutil, stream\n"
                "ended = common.__dict__.setdefault('ended', [])\n"
                "def web_socket_do_extra_handshake(request):\n"
                f"    {extra}\n\n"
                "def web_socket_transfer_data(request):\n"
                "    request.ws_stream.receive_message()\n"
                "    try:\n"
                f"{indented}"
                "    finally:\n"
                "        ended.append(1)\n"
                "        print(f'ended {request.ws_resource} {len(ended)}', flush=True)\n",
            )
        if transport == "plain":
            server = start_server("-w", "handlers")
            return Served(server, lambda: tcp(server.port))
        if transport == "unix":
            path = tmp_path / "s.sock"
            server = start_server("-w", "handlers", listen=[f"--uds={path}"])
            return Served(server, lambda: unix(path))
        keys = tmp_path_factory.mktemp("keys")
        authority = trustme.CA()
        leaf = authority.issue_cert(HOST)
        leaf.private_key_and_cert_chain_pem.write_to_path(str(keys / "both.pem"))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        options = "-k", keys / "both.pem", "-c", keys / "both.pem"
        server = start_server("-w", "handlers", "-t", *options)
        return Served(
            server,
            lambda: context.wrap_socket(
                tcp(server.port), server_hostname=HOST, suppress_ragged_eofs=False
            ),
        )

    return start


def tcp(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), DEADLINE_SECONDS)


def unix(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_SECONDS)
    client.connect(os.fspath(path))
    return client


def assert_reset(client: Client) -> None:
    """The connection ends as abruptly as it can, with nothing before."""
    if client.socket.family == socket.AF_UNIX:
        # a reset is what it says if something is unread
        with suppress(ConnectionResetError):
            assert client.socket.recv(100) == b""
        return
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        assert client.socket.recv(100) == b""


@EVERY_TRANSPORT
@pytest.mark.http1("the bridge shows a reset as an end, see test_stream_closing")
def test_reset_ends_at_once_and_is_no_error(serve):
    served = serve(
        "request.connection.reset()",
        "request.connection.reset()\nrequest.connection.reset()",
        "request.ws_stream.receive_message()\nrequest.connection.reset()",
        "request.connection.reset()\nrequest.ws_stream.receive_message()",
        "request.connection.reset()\nrequest.ws_stream.send_message('x')",
        "request.connection.reset()\nrequest.ws_stream.close_connection(4000)",
        "request.connection.reset()\nrequest.connection.write(b'x')",
        "request.connection.reset()\nrequest.connection.half_close()",
    )
    for number in range(8):
        with served.opened(f"/h{number}") as client:
            if number == 2:
                client.send_frame(TEXT, b"more")
            assert_reset(client)
    served.assert_no_mistake()


@pytest.mark.http1("the bridge shows a reset as an end, see test_stream_closing")
def test_reset_does_not_wait_for_the_handler(serve, concurrency: str):
    waits = "await asyncio.sleep(3600)" if concurrency == "loop" else "time.sleep(3600)"
    served = serve(f"request.connection.reset()\n{waits}")
    with Client.over(served.connect()) as client:
        client.handshake("/h0")
        client.send_frame(TEXT, b"go")
        assert_reset(client)


@EVERY_TRANSPORT
def test_half_close_ends_one_direction_and_is_no_error(serve):
    served = serve(
        "request.connection.half_close()",
        "request.connection.half_close()\nrequest.connection.half_close()",
        "request.connection.half_close()\nrequest.ws_stream.send_message('x')",
        "request.connection.half_close()\nrequest.ws_stream.close_connection(4000)",
        "request.connection.half_close()\nrequest.connection.write(b'x')",
        "request.connection.half_close()\nrequest.ws_stream.receive_message()",
        "request.connection.half_close()\nprint('got', request.ws_stream.receive_message())",
        "request.ws_stream.send_message('before')\nrequest.connection.half_close()",
        "request.connection.write(b'x' * 8_000_000)\n"
        "request.connection.half_close()\n"
        "request.ws_stream.receive_message()",
    )
    for number in range(9):
        with served.opened(f"/h{number}") as client:
            if number == 7:
                assert client.read_frame() == Frame(TEXT, b"before")
            if number == 8:
                assert client.read(8_000_000) == b"x" * 8_000_000
            assert client.socket.recv(100) == b""
            if number == 6:
                client.send_frame(TEXT, b"more")
                served.server.out.wait_for("got more")
    served.assert_no_mistake()


def test_push_to_a_client_that_has_left_is_no_error(serve):
    served = serve("while True:\n    request.ws_stream.send_message('x' * 1000)")
    for leaves in (Client.close, Client.reset):
        with served.opened() as client:
            client.read_frame()
            leaves(client)
    served.assert_no_mistake()


CAUGHT = [
    "msgutil.ConnectionTerminatedException",
    "stream.ConnectionTerminatedException",
    "BrokenPipeError",
    "ConnectionResetError",
    "ConnectionError",
    "OSError",
]


@EVERY_TRANSPORT
def test_either_exception_is_caught_and_the_close_is_no_error(serve):
    calls = [
        *["request.ws_stream.send_message('x' * 1000)"] * len(CAUGHT),
        "request.ws_stream.send_message('x', end=False)",
        "request.ws_stream.send_ping(b'x')",
        "request.connection.write(b'x' * 1000)",
    ]
    kinds = [*CAUGHT, "BrokenPipeError", "BrokenPipeError", "ConnectionResetError"]
    served = serve(
        *(
            f"try:\n    while True:\n        {call}\n"
            f"except {kind} as error:\n"
            "    is_both = isinstance(error, msgutil.ConnectionTerminatedException)\n"
            "    print('caught', error.errno, is_both, flush=True)"
            for call, kind in zip(calls, kinds, strict=True)
        )
    )
    for number in range(len(calls)):
        with served.opened(f"/h{number}") as client:
            client.read(1)
            client.reset()
    served.assert_no_mistake()
    lines = [line for line in served.server.out.text().splitlines() if "caught" in line]
    assert len(lines) == len(calls)
    assert {*lines} <= {"caught 32 True", "caught 104 True"}


def test_broken_pipe_of_something_else_is_an_error(serve):
    served = serve("raise BrokenPipeError(32, 'Broken pipe')")
    with served.opened() as client, suppress(ssl.SSLEOFError):
        client.read_to_end()
    served.server.log.wait_for("BrokenPipeError")


def test_client_that_breaks_a_rule_and_leaves_is_no_error(serve):
    served = serve("request.ws_stream.receive_message()")
    with served.opened() as client:
        client.send_frame(TEXT, b"\xff")
        assert client.read_frame().opcode == CLOSE
        client.reset()
    served.assert_no_mistake()


@pytest.mark.http1("the bridge shows a reset as an end, see test_stream_closing")
def test_reset_in_the_extra_handshake_is_no_error(serve):
    served = serve(
        "pass", extra="request.connection.reset() if '?x' in request.ws_resource else None"
    )
    with Client.over(served.connect()) as client:
        client.send_request("/h0?x")
        assert_reset(client)
    with served.opened():
        pass
    served.assert_no_mistake()
