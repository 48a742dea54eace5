"""Programs that make a `WebSocketServer` of their own or call `_main`, as users and wpt do."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conftest import WriteHandler
from embed_support import (
    DROPIN,
    ECHO_HANDLER,
    assert_echoes,
    free_port,
    http_get,
    running,
    wait_until_accepting,
)
from fastwsh.pywebsocket import dispatch, standalone
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client, Frame, encode_frame

ECHO = """
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message)
"""


class WptServe:
    """`tools/serve/serve.py` of web-platform-tests: the same calls in the same order."""

    def __init__(self, host: str | None, port: str, doc_root: Path, handlers_root: Path) -> None:
        command = ["-p", port, "-d", str(doc_root), "-w", str(handlers_root)]
        if host is not None:
            command = ["-H", host, *command]
        opts, args = standalone._parse_args_and_config(command)
        assert args == []
        opts.cgi_directories = []
        opts.is_executable_method = None
        self.server = standalone.WebSocketServer(opts)
        ports = [item[0].getsockname()[1] for item in self.server._sockets]
        if not ports:
            raise OSError("no socket")
        assert all(port == ports[0] for port in ports)
        self.port = ports[0]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.daemon = True

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(DEADLINE_SECONDS)
        assert not self.thread.is_alive()


class TestWptServe:
    @pytest.fixture
    def start(self, tmp_path: Path, write_handler: WriteHandler) -> Iterator[Callable[..., Any]]:
        write_handler("echo", ECHO)
        daemons: list[WptServe] = []

        def start(host: str | None = "127.0.0.1", port: str = "0") -> WptServe:
            daemon = WptServe(host, port, tmp_path, tmp_path / "handlers")
            daemon.start()
            daemons.append(daemon)
            return daemon

        yield start
        for daemon in daemons:
            daemon.stop()

    @pytest.mark.parametrize("host", ["127.0.0.1", None])
    def test_serves(self, start: Callable[..., WptServe], host: str | None):
        assert_echoes(start(host).port)

    def test_takes_the_port_it_is_told(self, start: Callable[..., WptServe]):
        with free_port() as port:
            assert start(port=str(port)).port == port
            assert_echoes(port)

    def test_document_root_is_not_entered(
        self, start: Callable[..., WptServe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "file.txt").write_text("here", encoding="utf-8")
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert http_get(start().port, "/file.txt") == (200, b"here")
        assert Path.cwd() == tmp_path / "elsewhere"

    def test_taken_port_is_an_empty_list_of_sockets(self, start: Callable[..., WptServe]):
        port = start().port
        with pytest.raises(OSError, match="no socket"):
            start(port=str(port))

    def test_stops_with_connections_open(self, start: Callable[..., WptServe]):
        daemon = start()
        with Client(daemon.port) as client:
            client.handshake()
            daemon.stop()
            # whether the good-bye still gets out depends on what the handler is doing
            assert client.read_to_end() in (encode_frame(CLOSE, (1001).to_bytes(2), mask=None), b"")

    def test_port_is_free_after_the_stop(self, start: Callable[..., WptServe]):
        first = start()
        first.stop()
        assert start(port=str(first.port)).port == first.port


def make_options(handlers: Path, **more: Any) -> SimpleNamespace:
    """An options object as embedding programs write it: only what pywebsocket insists on."""
    options = {
        "server_host": "127.0.0.1",
        "port": 0,
        "websock_handlers": str(handlers),
        "scan_dir": None,
        "allow_handlers_outside_root_dir": False,
        "websock_handlers_map_file": None,
        "cgi_directories": [],
        "is_executable_method": None,
        "request_queue_size": 128,
        "use_tls": False,
        "use_basic_auth": False,
    }
    return SimpleNamespace(**{**options, **more})


@pytest.fixture
def server(handler_root: Path, write_handler: WriteHandler) -> Iterator[standalone.WebSocketServer]:
    """A server that does not serve yet."""
    write_handler("echo", ECHO)
    server = standalone.WebSocketServer(make_options(handler_root))
    yield server
    server.shutdown()
    server.server_close()


def serve(server: standalone.WebSocketServer) -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    return thread


class TestShutdown:
    def test_returns_when_serve_forever_has_ended(self, server: standalone.WebSocketServer):
        ended: list[str] = []

        def run() -> None:
            server.serve_forever()
            ended.append("serve_forever")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert_echoes(server.server_port)
        server.shutdown()
        thread.join(DEADLINE_SECONDS)
        assert ended == ["serve_forever"]

    def test_twice(self, server: standalone.WebSocketServer):
        thread = serve(server)
        assert_echoes(server.server_port)
        server.shutdown()
        server.shutdown()
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()

    def test_serves_again(self, server: standalone.WebSocketServer):
        for _ in range(3):
            thread = serve(server)
            assert_echoes(server.server_port)
            server.shutdown()
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()

    def test_before_serve_forever(self, server: standalone.WebSocketServer):
        server.shutdown()
        server.serve_forever()

    def test_by_a_handler(
        self, server: standalone.WebSocketServer, write_handler: WriteHandler, handler_root: Path
    ):
        write_handler("stop", "request._request_handler.server.shutdown()")
        server.websocket_server_options.dispatcher = dispatch.Dispatcher(str(handler_root))
        thread = serve(server)
        with Client(server.server_port) as client:
            client.handshake("/stop")
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()


class TestDispatcher:
    def test_alias_of_the_time_between(self, server: standalone.WebSocketServer):
        dispatcher = server.websocket_server_options.dispatcher
        dispatcher.add_resource_path_alias("/early", "/echo")
        serve(server)
        assert_echoes(server.server_port, "/early")

    def test_alias_while_serving(self, server: standalone.WebSocketServer):
        serve(server)
        assert_echoes(server.server_port)
        dispatcher = server.websocket_server_options.dispatcher
        dispatcher.add_resource_path_alias("/late", "/echo")
        assert_echoes(server.server_port, "/late")

    def test_own_one(self, server: standalone.WebSocketServer, tmp_path: Path):
        class Listing(dispatch.Dispatcher):
            def transfer_data(self, request: Any) -> None:
                request.ws_stream.send_message("mine")
                super().transfer_data(request)

        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "mine_wsh.py").write_text(ECHO_HANDLER, encoding="utf-8")
        server.websocket_server_options.dispatcher = Listing(str(tmp_path / "own"))
        serve(server)
        with Client(server.server_port) as client:
            client.handshake("/mine")
            assert client.read_frame() == Frame(TEXT, b"mine")


MAIN = """
import sys
from mod_pywebsocket import standalone
standalone._main(sys.argv[1:])
print("returned")
"""

MAIN_OF_THE_PROCESS = """
from pywebsocket3 import standalone
standalone._main()
"""

# Some programs run the server beside something else.
MAIN_IN_A_THREAD = """
import sys, threading
from pywebsocket3 import standalone
threading.Thread(target=standalone._main, args=(sys.argv[1:],), daemon=True).start()
sys.stdin.read()
threading.Event().wait()
"""


@pytest.mark.parametrize("program", [MAIN, MAIN_OF_THE_PROCESS, MAIN_IN_A_THREAD])
def test_main_serves(tmp_path: Path, write_handler: WriteHandler, program: str):
    write_handler("echo", ECHO_HANDLER)
    with free_port() as port:
        command = ["-c", program, "-H", "127.0.0.1", "-p", str(port), "-d", "handlers"]
        with running(*command, cwd=tmp_path, PYTHONPATH=str(DROPIN)) as process:
            wait_until_accepting(process, port)
            assert_echoes(port)


@pytest.mark.parametrize("program", [MAIN, MAIN_OF_THE_PROCESS])
def test_failure_of_main_is_an_exit_status(tmp_path: Path, program: str):
    command = ["-c", program, "-p", "0", "-d", "missing"]
    with running(*command, cwd=tmp_path, PYTHONPATH=str(DROPIN)) as process:
        assert process.wait() == 1
        assert process.log.text().startswith("fastwsh: ")
        assert process.out.text() == ""
