"""`handle_request`, by which a program accepts one connection at a time, and the overrides of a
program over all kinds of sockets.
"""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment
from echo_handlers import ASYNC_ECHO_MODULE, ECHO_MODULE
from embed_support import FAILING, Rooms, assert_echoes, folder, parse, serving
from fastwsh import options
from fastwsh.server import WebSocketServer
from fastwsh.testing import make_tls_files
from wire import DEADLINE_SECONDS, TEXT, Client

__all__ = ["folder"]


class TestHandleRequest:
    def test_serves_one_connection(self, folder: Path):
        server = WebSocketServer(parse(folder))
        ended = threading.Thread(target=server.handle_request)
        ended.start()
        assert_echoes(server.server_port)
        ended.join(DEADLINE_SECONDS)
        assert not ended.is_alive()
        with Client(server.server_port) as second:
            second.send_request("/echo")
            # it waits in the kernel until somebody accepts it
            server.handle_request()
            assert second.read_response().status == 101
            stopping = threading.Thread(target=server.stop, args=(DEADLINE_SECONDS,))
            stopping.start()
            assert second.read_frame().close_code == 1001
            second.send_close(1001)
            stopping.join(DEADLINE_SECONDS)
            assert not stopping.is_alive()
        server.server_close()

    @pytest.mark.parametrize("source", [ECHO_MODULE, ASYNC_ECHO_MODULE])
    def test_connections_are_served_side_by_side(self, folder: Path, source: str):
        (folder / "echo_wsh.py").write_text(source)
        (folder / "page.html").write_text("page")
        server = WebSocketServer(parse(folder))
        clients = [Client(server.server_port) for _ in range(3)]
        for client in clients:
            client.send_request("/echo")
            server.handle_request()
        for client in clients:
            assert client.read_response().status == 101
            client.send_frame(TEXT, b"hello")
            assert client.read_frame().payload == b"hello"
            client.close()
        assert server.stop(DEADLINE_SECONDS)
        server.server_close()

    def test_a_timeout_is_told(self, folder: Path):
        told = []

        class Server(WebSocketServer):
            timeout = 0.01

            def handle_timeout(self) -> None:
                told.append(self.timeout)

        server = Server(parse(folder))
        server.handle_request()
        assert told == [0.01]
        server.timeout = 0
        server.handle_request()
        assert told == [0.01, 0]
        with Client(server.server_port) as client:
            client.send_request("/echo")
            server.timeout = DEADLINE_SECONDS
            server.handle_request()
            assert client.read_response().status == 101
        assert told == [0.01, 0]
        server.stop(DEADLINE_SECONDS)
        server.server_close()

    def test_verify_request_is_asked(self, folder: Path):
        server = WebSocketServer(parse(folder))
        server.verify_request = lambda request, client_address: False
        with socket.create_connection(("127.0.0.1", server.server_port)) as client:
            client.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
            server.handle_request()
            client.settimeout(DEADLINE_SECONDS)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
        server.stop(DEADLINE_SECONDS)
        server.server_close()

    def test_a_peer_that_has_gone_is_passed_over(self, folder: Path):
        server = WebSocketServer(parse(folder))
        with Client(server.server_port) as gone:
            gone.reset()
        server.timeout = 0
        server.handle_request()
        server.timeout = None
        with Client(server.server_port) as client:
            client.send_request("/echo")
            server.handle_request()
            assert client.read_response().status == 101
        server.stop(DEADLINE_SECONDS)
        server.server_close()

    def test_a_server_that_has_stopped_says_so(self, folder: Path):
        server = WebSocketServer(parse(folder))
        server.shutdown()
        with pytest.raises(RuntimeError, match="the server has been stopped: make a new one"):
            server.handle_request()
        server.server_close()

    def test_a_program_ends_after_it(self, folder: Path, tmp_path: Path):
        program = tmp_path / "program.py"
        program.write_text(
            "import socket, sys\n"
            "from fastwsh import options\n"
            "from fastwsh.server import WebSocketServer\n"
            f"server = WebSocketServer(options.parse_args_and_config("
            f"['-p', '0', '-H', '127.0.0.1', '-w', {str(folder)!r}])[0])\n"
            "client = socket.create_connection(('127.0.0.1', server.server_port))\n"
            "client.sendall(b'GET /absent HTTP/1.0\\r\\n\\r\\n')\n"
            "server.handle_request()\n"
            "print(client.recv(12))\n"
            "server.server_close()\n"
        )
        ended = subprocess.run(
            [sys.executable, program],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert (ended.returncode, ended.stdout) == (0, b"b'HTTP/1.0 404'\n"), ended.stderr


@pytest.mark.parametrize("concurrency", ["threads", "hub", "loop"])
@pytest.mark.parametrize("listen", ["tls", "unix"])
def test_overrides_over_tls_and_unix_sockets(folder: Path, listen: str, concurrency: str):
    is_loop = concurrency == "loop"
    (folder / "echo_wsh.py").write_text(ASYNC_ECHO_MODULE if is_loop else ECHO_MODULE)
    (folder / "bad_wsh.py").write_text(
        FAILING.replace("\ndef ", "\nasync def " if is_loop else "\ndef ")
    )
    path = str(folder / "socket")
    arguments = ["-w", str(folder), "--concurrency", "threads" if is_loop else concurrency]
    context = None
    if listen == "unix":
        arguments += ["--uds", path]
    else:
        files = make_tls_files(folder)
        context = ssl.create_default_context(cafile=files.authority)
        arguments += ["-p", "0", "-H", "127.0.0.1", "--tls"]
        arguments += ["-k", str(files.private_key), "-c", str(files.certificate)]
    parsed, _ = options.parse_args_and_config(arguments)
    asked: list[Any] = []
    told = threading.Event()

    class Server(WebSocketServer):
        admits = True

        def verify_request(self, request: Any, client_address: Any) -> bool:
            asked.append((request.family, client_address))
            return self.admits

        def handle_error(self, request: Any, client_address: Any) -> None:
            told.set()

    server = Server(parsed)
    server.websocket_server_options.dispatcher = Rooms(str(folder))

    def connect() -> socket.socket:
        if listen == "unix":
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(DEADLINE_SECONDS)
            client.connect(path)
            return client
        address = ("127.0.0.1", server.server_port)
        return socket.create_connection(address, DEADLINE_SECONDS)

    def opened() -> Client:
        client = connect()
        return Client.over(
            client if context is None else context.wrap_socket(client, server_hostname="localhost")
        )

    with serving(server):
        with opened() as client:
            client.handshake("/room/1")
            client.send_frame(TEXT, b"hello")
            assert client.read_frame().payload == b"hello"
        with opened() as client:
            client.handshake("/bad")
            assert told.wait(DEADLINE_SECONDS)
        server.admits = False
        with connect() as client:
            with contextlib.suppress(OSError):
                client.sendall(b"GET /echo HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    family = socket.AF_UNIX if listen == "unix" else socket.AF_INET
    assert [kind for kind, _ in asked] == [family] * 3
    if listen == "tls":
        assert {address[0] for _, address in asked} == {"127.0.0.1"}
