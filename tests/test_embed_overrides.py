"""Methods, dispatchers and handlers that a program puts in place of the server's own."""

import gc
import socket
import socketserver
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from echo_handlers import ASYNC_ECHO_MODULE, ECHO_MODULE
from embed_support import FAILING, Rooms, assert_echoes, folder, parse, serving
from fastwsh.config_error import ConfigError
from fastwsh.pywebsocket import dispatch
from fastwsh.pywebsocket.request_handler import WebSocketRequestHandler
from fastwsh.server import WebSocketServer
from waiting import wait_until
from wire import DEADLINE_SECONDS, Client

__all__ = ["folder"]


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


@pytest.mark.parametrize("concurrency", ["hub", "threads"])
def test_server_that_has_ended_is_freed(folder: Path, concurrency: str):
    server = WebSocketServer(parse(folder, "--concurrency", concurrency))
    with serving(server) as port:
        assert_echoes(port)
    kept = weakref.ref(server)
    del server
    gc.collect()
    assert kept() is None


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
    (folder / "room" / "1_wsh.py").write_text(ECHO_MODULE)
    server.websocket_server_options.dispatcher = dispatch.Dispatcher(str(folder))


def replace_with_coroutines(server: WebSocketServer, folder: Path) -> None:
    (folder / "echo_wsh.py").write_text(ASYNC_ECHO_MODULE)
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


class Counting(dispatch.Dispatcher):
    """Counts the calls of handlers."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.calls: list[str] = []

    def do_extra_handshake(self, request: Any) -> None:
        self.calls.append("open")
        super().do_extra_handshake(request)

    def transfer_data(self, request: Any) -> None:
        self.calls.append("transfer")
        try:
            super().transfer_data(request)
        finally:
            self.calls.append("end")


@pytest.mark.parametrize("source", [ECHO_MODULE, ASYNC_ECHO_MODULE])
@pytest.mark.parametrize("change", ["subclass", "instance", "class"])
def test_overridden_calls_are_made_for_every_kind_of_handler(
    folder: Path, source: str, change: str, monkeypatch: pytest.MonkeyPatch
):
    (folder / "echo_wsh.py").write_text(source)
    server = WebSocketServer(parse(folder))
    calls: list[str] = []
    if change == "subclass":
        counting = Counting(str(folder))
        server.websocket_server_options.dispatcher = counting
        calls = counting.calls
    else:
        dispatcher = server.websocket_server_options.dispatcher
        target = dispatcher if change == "instance" else dispatch.Dispatcher
        for name, call in (("do_extra_handshake", "open"), ("transfer_data", "transfer")):
            former = getattr(target, name)

            def count(*args: Any, former: Any = former, call: str = call) -> None:
                calls.append(call)
                former(*args)
                if call == "transfer":
                    calls.append("end")

            monkeypatch.setattr(target, name, count)
    with serving(server) as port:
        assert_echoes(port)
    assert calls == ["open", "transfer", "end"]


def test_coroutine_behind_an_overridden_call_ends_with_its_client(folder: Path):
    (folder / "echo_wsh.py").write_text(
        "import asyncio\n"
        "async def web_socket_do_extra_handshake(request):\n    pass\n"
        "async def web_socket_transfer_data(request):\n"
        "    await request.ws_stream.send_message('ready')\n"
        "    await asyncio.sleep(3600)\n"
    )
    ended = threading.Event()

    class Own(dispatch.Dispatcher):
        def transfer_data(self, request: Any) -> None:
            super().transfer_data(request)
            ended.set()

    server = WebSocketServer(parse(folder))
    server.websocket_server_options.dispatcher = Own(str(folder))
    with serving(server) as port:
        with Client(port) as client:
            client.handshake("/echo")
            assert client.read_frame().payload == b"ready"
            client.reset()
        assert ended.wait(DEADLINE_SECONDS)


def test_coroutine_behind_an_overridden_call_ends_with_the_server(folder: Path):
    (folder / "echo_wsh.py").write_text(ASYNC_ECHO_MODULE)
    server = WebSocketServer(parse(folder))
    server.websocket_server_options.dispatcher = Counting(str(folder))
    with serving(server) as port, Client(port) as client:
        client.handshake("/echo")
        stopping = threading.Thread(target=server.stop, args=(DEADLINE_SECONDS,))
        stopping.start()
        assert client.read_frame().close_code == 1001
        client.send_close(1001)
        assert client.read_to_end() == b""
        stopping.join(DEADLINE_SECONDS)
        assert not stopping.is_alive()


def test_method_that_is_replaced_on_the_class_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with serving(WebSocketServer(parse(folder))) as port:
        assert_echoes(port)
        monkeypatch.setattr(WebSocketServer, "verify_request", lambda *_: False)
        wait_until(lambda: is_dropped(port), "the server still serves")
        monkeypatch.undo()
        wait_until(lambda: not is_dropped(port), "the server does not serve again")
        monkeypatch.setattr(WebSocketServer, "process_request", lambda *_: None)
        warning = "overrides process_request, which the server"
        wait_until(lambda: warning in caplog.text, "nothing is logged")
        monkeypatch.undo()


def test_finding_handlers_that_is_replaced_on_the_class_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with serving(WebSocketServer(parse(folder))) as port:
        assert status_of(port, "/echo") == 101
        monkeypatch.setattr(dispatch.Dispatcher, "get_handler_suite", lambda *_: None)
        wait_until(lambda: status_of(port, "/echo") == 404, "/echo is still served")


def test_dispatcher_that_is_put_in_place_is_reloaded(folder: Path):
    options = parse(folder)
    options.reload = True
    other = folder.parent / "other"
    other.mkdir()
    (other / "echo_wsh.py").write_text(ECHO_MODULE)
    server = WebSocketServer(options)
    with serving(server) as port:
        assert_echoes(port)
        server.websocket_server_options.dispatcher = dispatch.Dispatcher(str(other))
        assert status_of(port, "/late") == 404
        (other / "late_wsh.py").write_text(ECHO_MODULE)
        wait_until(lambda: status_of(port, "/late") == 101, "/late is not served")


@pytest.mark.parametrize(
    "name", ["do_GET", "do_POST", "parse_request", "log_message", "translate_path", "timeout"]
)
def test_request_handler_that_is_changed_ends_the_start(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def change() -> None:
        monkeypatch.setattr(WebSocketRequestHandler, name, lambda *_: None, raising=False)

    with serving(WebSocketServer(parse(folder))) as port:
        assert_echoes(port)
        change()
        expected = f"{name} of WebSocketRequestHandler has been replaced"
        wait_until(lambda: expected in caplog.text, "nothing is logged")
    with pytest.raises(ConfigError, match=f"{name} of WebSocketRequestHandler has been replaced"):
        WebSocketServer(parse(folder))


def test_credential_that_is_set_while_serving_counts(folder: Path):
    server = WebSocketServer(parse(folder))
    given = server.websocket_server_options
    with serving(server) as port:
        assert status_of(port, "/echo") == 101
        given.use_basic_auth = True
        given.basic_auth_credential = "Basic dGVzdDp0ZXN0"
        wait_until(lambda: status_of(port, "/echo") == 401, "/echo is not refused")
        with Client(port) as client:
            client.handshake("/echo", [("Authorization", "Basic dGVzdDp0ZXN0")])
        given.use_basic_auth = False
        wait_until(lambda: status_of(port, "/echo") == 101, "/echo is still refused")
