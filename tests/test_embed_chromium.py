"""Chromium's `net/tools/testserver`: a WebSocketServer inside another server's program."""

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Server, WriteHandler
from embed_support import DROPIN, ECHO_HANDLER, assert_echoes, http_get, running
from wire import ACCEPT, CLOSE, TEXT, Client, Frame, encode_frame

# The options object lacks what the server has learnt since, and one of them is set late. The server
# is told to stop by an attribute, as those of Chromium's own class are.
PROGRAM = """
import base64, json, os, ssl, sys

import mod_pywebsocket.standalone
from mod_pywebsocket.standalone import WebSocketServer
mod_pywebsocket.standalone.ssl = ssl


class WebSocketOptions:
    def __init__(self, host, port, data_dir):
        self.request_queue_size = 128
        self.server_host = host
        self.port = port
        self.websock_handlers = data_dir
        self.scan_dir = None
        self.allow_handlers_outside_root_dir = False
        self.websock_handlers_map_file = None
        self.cgi_directories = []
        self.is_executable_method = None
        self.use_tls = False
        self.private_key = None
        self.certificate = None
        self.tls_client_auth = False
        self.tls_client_ca = None
        self.use_basic_auth = False
        self.basic_auth_credential = "Basic " + base64.b64encode(b"test:test").decode()


os.chdir(sys.argv[1])
options = WebSocketOptions("127.0.0.1", 0, ".")
server = WebSocketServer(options)
options.use_basic_auth = sys.argv[2] == "--ws-basic-auth"
print(json.dumps({"port": server.server_port}), flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    server.stop = True
    print("shutting down", flush=True)
server.shutdown()
server.server_close()
"""


GOING_AWAY = encode_frame(CLOSE, (1001).to_bytes(2), mask=None)


@pytest.fixture
def data_dir(handler_root: Path, write_handler: WriteHandler) -> Path:
    """The handlers, and a file beside them."""
    write_handler("echo", ECHO_HANDLER)
    (handler_root / "connect_check.html").write_text("<p>check</p>", encoding="utf-8")
    return handler_root


@contextmanager
def chromium_server(data_dir: Path, *args: str) -> Iterator[Server]:
    command = ["-c", PROGRAM, data_dir, *args]
    with running(*command, cwd=data_dir.parent, PYTHONPATH=str(DROPIN)) as server:
        server.port = json.loads(server.out.wait_for(r"\{.*\}")[0])["port"]
        yield server


def test_serves(data_dir: Path):
    with chromium_server(data_dir, "--no-auth") as server:
        assert_echoes(server.port)
        assert http_get(server.port, "/connect_check.html") == (200, b"<p>check</p>")


def test_is_stopped_by_an_interrupt(data_dir: Path):
    with chromium_server(data_dir, "--no-auth") as server, Client(server.port) as client:
        client.handshake()
        server.send_signal(signal.SIGINT)
        assert server.out.wait_for("shutting down")
        assert client.read_to_end() in (GOING_AWAY, b"")
        assert server.wait() == 0
        assert server.log.text() == ""


class TestBasicAuth:
    """`use_basic_auth` is set after the server was constructed."""

    def test_is_required(self, data_dir: Path):
        with chromium_server(data_dir, "--ws-basic-auth") as server, Client(server.port) as client:
            client.send_request("/echo")
            response = client.read_response()
            assert response.status == 401
            assert response.header("WWW-Authenticate") == 'Basic realm="Pywebsocket"'

    def test_is_accepted(self, data_dir: Path):
        credential = "Basic " + base64.b64encode(b"test:test").decode()
        with chromium_server(data_dir, "--ws-basic-auth") as server, Client(server.port) as client:
            response = client.handshake("/echo", [("Authorization", credential)])
            assert response.header("Sec-WebSocket-Accept") == ACCEPT
            client.send_frame(TEXT, b"in")
            assert client.read_frame() == Frame(TEXT, b"in")
