"""What the tests of embedding programs share: the drop-in folder, ports, and programs to run."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastwsh
from conftest import Server, clean_environment
from echo_handlers import ECHO_MODULE
from fastwsh import options
from fastwsh.pywebsocket import dispatch
from fastwsh.server import WebSocketServer
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

DROPIN = Path(fastwsh.__file__).resolve().parent / "dropin"
NAMES = ("mod_pywebsocket", "pywebsocket3")

# As old as the runners: the handlers of browser vendors import one of the two names.
ECHO_HANDLER = """
from mod_pywebsocket import msgutil

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = msgutil.receive_message(request)
        if message is None:
            return
        msgutil.send_message(request, message)
"""


@contextmanager
def free_port() -> Iterator[int]:
    """A port of 127.0.0.1 that only a server which is told to can take.

    For programs that choose the port before they start the server. Two sockets may be bound to a
    port as long as none of them listens and both have SO_REUSEADDR.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@contextmanager
def running(*command: str | os.PathLike[str], cwd: Path, **env: str) -> Iterator[Server]:
    """Run a program by this Python; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, *map(os.fspath, command)],
        cwd=cwd,
        env=clean_environment(**env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    server = Server(process)
    try:
        yield server
    finally:
        server.kill()


def wait_until_accepting(server: Server, port: int) -> None:
    """Try to connect until it works, as the runners of browser vendors do."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    server.port = port
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS).close()
        except ConnectionRefusedError:
            if server.process.poll() is not None:
                pytest.fail(f"the program ended:\n{server.log.text()}")
            if time.monotonic() > deadline:
                pytest.fail(f"nothing listens on port {port}")
            threading.Event().wait(0.01)
        else:
            return


def assert_echoes(port: int, resource: str = "/echo") -> None:
    """A message comes back, and the close frame is answered."""
    with Client(port) as client:
        client.handshake(resource)
        client.send_frame(TEXT, b"hello")
        assert client.read_frame() == Frame(TEXT, b"hello")
        client.send_close(1000)
        assert client.read_frame().close_code == 1000


def http_get(port: int, target: str) -> tuple[int, bytes]:
    """Status and body of a plain request."""
    with Client(port) as client:
        client.send(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return client.read_response().status, client.read_to_end()


FAILING = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    raise LookupError
"""


class Rooms(dispatch.Dispatcher):
    """Any path below /room/ is the echo handler's."""

    def get_handler_suite(self, resource: str) -> Any:
        if resource.startswith("/room/"):
            resource = "/echo"
        return super().get_handler_suite(resource)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "echo_wsh.py").write_text(ECHO_MODULE)
    return tmp_path


def parse(folder: Path, *more: str) -> Any:
    places = ["-p", "0", "-H", "127.0.0.1", "-w", str(folder)]
    parsed, _ = options.parse_args_and_config([*places, *more])
    return parsed


@contextmanager
def serving(server: WebSocketServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.stop(DEADLINE_SECONDS)
        server.server_close()
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()
