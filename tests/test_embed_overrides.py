"""Methods, dispatchers and handlers that a program puts in place of the server's own."""

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embed_support import assert_echoes
from fastwsh import options
from fastwsh.config import ConfigError
from fastwsh.pywebsocket import dispatch
from fastwsh.server import WebSocketServer
from wire import DEADLINE_SECONDS, Client

ECHO = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message)
"""
FAILING = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    raise LookupError
"""
ASYNC_ECHO = """
async def web_socket_do_extra_handshake(request):
    pass

async def web_socket_transfer_data(request):
    async for message in request.ws_stream:
        await request.ws_stream.send_message(message)
"""


class Rooms(dispatch.Dispatcher):
    """Any path below /room/ is the echo handler's."""

    def get_handler_suite(self, resource: str) -> Any:
        if resource.startswith("/room/"):
            resource = "/echo"
        return super().get_handler_suite(resource)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "echo_wsh.py").write_text(ECHO)
    return tmp_path


def parse(folder: Path) -> Any:
    parsed, _ = options.parse_args_and_config(["-p", "0", "-H", "127.0.0.1", "-w", str(folder)])
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


def status_of(port: int, resource: str) -> int:
    with Client(port) as client:
        client.send_request(resource)
        return client.read_response().status


def is_dropped(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
        client.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True


def test_verify_request_of_a_class_refuses(folder: Path):
    seen = []

    class Server(WebSocketServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            seen.append((request.getpeername(), client_address))
            return False

    with serving(Server(parse(folder))) as port:
        assert is_dropped(port)
    assert seen
    assert all(peer == address and address[0] == "127.0.0.1" for peer, address in seen)


def test_verify_request_admits_by_truth(folder: Path):
    class Server(WebSocketServer):
        def verify_request(self, request: Any, client_address: Any) -> Any:
            return [client_address]

    with serving(Server(parse(folder))) as port:
        assert_echoes(port)


@pytest.mark.parametrize("is_late", [False, True])
def test_verify_request_of_an_instance_refuses(folder: Path, is_late: bool):
    server = WebSocketServer(parse(folder))

    def verify_request(request: Any, client_address: Any) -> None:
        pass

    if not is_late:
        server.verify_request = verify_request
    with serving(server) as port:
        if is_late:
            assert_echoes(port)
            server.verify_request = verify_request
        assert is_dropped(port)


def test_verify_request_that_raises_refuses_and_is_told(folder: Path):
    told = []

    class Server(WebSocketServer):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            raise LookupError

        def handle_error(self, request: Any, client_address: Any) -> None:
            told.append(client_address[0])

    with serving(Server(parse(folder))) as port:
        assert is_dropped(port)
    assert told == ["127.0.0.1"]


def test_handle_error_gets_what_a_handler_raises(folder: Path):
    (folder / "bad_wsh.py").write_text(FAILING)
    told = threading.Event()

    class Server(WebSocketServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            told.set()

    with serving(Server(parse(folder))) as port, Client(port) as client:
        client.handshake("/bad")
        assert told.wait(DEADLINE_SECONDS)


def replace(server: WebSocketServer, folder: Path) -> None:
    server.websocket_server_options.dispatcher = Rooms(str(folder))


def add_entry(server: WebSocketServer, folder: Path) -> None:
    suites = server.websocket_server_options.dispatcher._handler_suite_map
    suites["/room/1"] = suites["/echo"]


def replace_with_a_plain_one(server: WebSocketServer, folder: Path) -> None:
    (folder / "room").mkdir()
    (folder / "room" / "1_wsh.py").write_text(ECHO)
    server.websocket_server_options.dispatcher = dispatch.Dispatcher(str(folder))


def replace_with_coroutines(server: WebSocketServer, folder: Path) -> None:
    (folder / "echo_wsh.py").write_text(ASYNC_ECHO)
    replace(server, folder)


def replace_the_method(server: WebSocketServer, folder: Path) -> None:
    dispatcher = server.websocket_server_options.dispatcher
    find = dispatcher.get_handler_suite
    dispatcher.get_handler_suite = lambda resource: find(resource.replace("/room/1", "/echo"))


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        replace,
        add_entry,
        replace_with_a_plain_one,
        replace_with_coroutines,
        replace_the_method,
    ],
)
def test_dispatcher_of_a_program_is_asked(
    folder: Path, change: Callable[[WebSocketServer, Path], None], is_late: bool
):
    server = WebSocketServer(parse(folder))
    if not is_late:
        change(server, folder)
    with serving(server) as port:
        if is_late:
            assert status_of(port, "/room/1") == 404
            change(server, folder)
        assert_echoes(port, "/room/1")
        assert_echoes(port, "/echo")
        assert status_of(port, "/other") == 404


def test_calls_go_through_the_methods_of_a_dispatcher(folder: Path):
    calls = []

    class Counting(dispatch.Dispatcher):
        def do_extra_handshake(self, request: Any) -> None:
            calls.append("open")
            super().do_extra_handshake(request)

        def transfer_data(self, request: Any) -> None:
            calls.append("transfer")
            super().transfer_data(request)

        def passive_closing_handshake(self, request: Any) -> Any:
            calls.append("close")
            return super().passive_closing_handshake(request)

    server = WebSocketServer(parse(folder))
    server.websocket_server_options.dispatcher = Counting(str(folder))
    with serving(server) as port:
        assert_echoes(port)
    assert calls == ["open", "transfer", "close"]


@pytest.mark.parametrize(
    "name",
    ["get_request", "process_request", "finish_request", "close_request", "service_actions"],
)
def test_method_that_is_never_called_ends_the_start(folder: Path, name: str):
    kind = type("Own", (WebSocketServer,), {name: lambda *_: None})
    with pytest.raises(ConfigError, match=f"Own overrides {name}, "):
        kind(parse(folder))
    server = WebSocketServer(parse(folder))
    setattr(server, name, lambda *_: None)
    with pytest.raises(ConfigError, match=f"overrides {name}, "):
        server.serve_forever()
    server.server_close()


def test_mixin_that_forks_ends_the_start(folder: Path):
    class Forking(socketserver.ForkingMixIn, WebSocketServer):
        pass

    with pytest.raises(ConfigError, match="Forking overrides "):
        Forking(parse(folder))


def test_request_handler_class_ends_the_start(folder: Path):
    server = WebSocketServer(parse(folder))
    server.RequestHandlerClass = socketserver.BaseRequestHandler
    with pytest.raises(ConfigError, match="RequestHandlerClass is BaseRequestHandler"):
        server.serve_forever()
    server.server_close()
