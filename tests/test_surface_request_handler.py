"""WebSocketRequestHandler serves WebSockets in a server of the standard library."""

import http.server
import logging
import logging.handlers
import queue
import socket
import subprocess
import sys
import threading
import types
import warnings

import pytest

from fastwsh.output import logs
from fastwsh.pywebsocket import dispatch, request_handler, server_util
from surface_support import ACCEPT, GOOD_HEADERS, client_frame

HANDLER = """
from mod_pywebsocket import handshake

def web_socket_do_extra_handshake(request):
    if "refuse" in request.uri:
        raise handshake.HandshakeException("no", 404)
    if "abort" in request.uri:
        raise handshake.AbortedByUserException("enough")

def web_socket_transfer_data(request):
    if "fail" in request.uri:
        raise handshake.HandshakeException("too late", 404)
    connection = request.connection
    lines = connection.get_memorized_lines()
    told = [request.method, request.protocol, request.unparsed_uri, str(request.is_https())]
    told += [connection.remote_addr[0], connection.local_addr[0], lines[0].decode().strip()]
    request.ws_stream.send_message("|".join(told))
"""


class Server(http.server.HTTPServer):
    def __init__(self, options):
        self.websocket_server_options = options
        super().__init__(("127.0.0.1", 0), request_handler.WebSocketRequestHandler)

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Return a function that sends one request to a server, and returns all of the answer."""
    (tmp_path / "echo_wsh.py").write_text(HANDLER)
    (tmp_path / "file.txt").write_text("a file\n")
    monkeypatch.chdir(tmp_path)
    options = types.SimpleNamespace(
        cgi_directories=[],
        dispatcher=dispatch.Dispatcher(str(tmp_path)),
        is_executable_method=None,
        use_basic_auth=False,
        use_tls=False,
        validation_host=None,
        validation_port=None,
    )
    server = Server(options)

    def exchange(target, changes=None, frames=b""):
        vars(options).update(changes or {})
        headers = "".join(f"{name}: {value}\r\n" for name, value in GOOD_HEADERS.items())
        request = f"GET {target} HTTP/1.1\r\n{headers}\r\n".encode()
        with warnings.catch_warnings():
            # Python 3.13 announces the end of its CGI server.
            warnings.simplefilter("ignore", DeprecationWarning)
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            with socket.create_connection(server.server_address, 10) as client:
                client.sendall(request + frames)
                with client.makefile("rb") as file:
                    answer = file.read()
            thread.join()
        return answer

    yield exchange
    server.server_close()


def test_websocket_is_served(serve):
    head, _, frames = serve("/echo?q", frames=client_frame(0x88)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert ACCEPT.encode() in head
    text, close = frames[2 : 2 + frames[1]].decode(), frames[2 + frames[1] :]
    told = text.split("|")
    assert told[:5] == ["GET", "HTTP/1.1", "/echo?q", "False", "127.0.0.1"]
    assert told[6] == "GET /echo?q HTTP/1.1"
    assert close == bytes.fromhex("8802 03e8")


def test_absolute_uri_is_reduced_to_its_resource(serve):
    answer = serve("ws://localhost:1/echo", frames=client_frame(0x88))
    assert answer.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("expected", [{"validation_host": "other"}, {"validation_port": 2}])
def test_absolute_uri_of_another_server_is_no_websocket(serve, expected):
    assert serve("ws://localhost:1/echo", expected).startswith(b"HTTP/1.0 404")


def test_other_paths_are_files(serve):
    answer = serve("/file.txt")
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"a file\n")


def test_fragment_is_a_400(serve):
    assert serve("/echo#x").startswith(b"HTTP/1.0 400")


def test_refused_handshake_has_its_status(serve):
    assert serve("/echo?refuse").startswith(b"HTTP/1.0 404")


def test_aborted_handshake_has_no_answer(serve, caplog):
    with caplog.at_level(logging.INFO):
        assert serve("/echo?abort") == b""
    assert "Aborted: enough" in caplog.messages


def test_failure_in_the_data_phase_sends_no_http(serve):
    head, _, rest = serve("/echo?fail").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert rest == b""


def test_other_version_is_told_ours(serve, monkeypatch):
    monkeypatch.setitem(GOOD_HEADERS, "Sec-WebSocket-Version", "8")
    answer = serve("/echo")
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"Sec-WebSocket-Version: 13\r\n" in answer


def test_basic_authentication_is_asked_for(serve, monkeypatch):
    credential = {"use_basic_auth": True, "basic_auth_credential": "Basic dGVzdDp0ZXN0"}
    answer = serve("/echo", credential)
    assert answer.startswith(b"HTTP/1.0 401")
    assert b'WWW-Authenticate: Basic realm="Pywebsocket"' in answer
    monkeypatch.setitem(GOOD_HEADERS, "Authorization", "Basic dGVzdDp0ZXN0")
    assert serve("/echo", frames=client_frame(0x88)).startswith(b"HTTP/1.1 101")


def test_logging_is_configured_as_on_the_command_line(tmp_path):
    log_file = tmp_path / "log"
    code = (
        "import logging, sys, types; from fastwsh.pywebsocket import server_util, util; "
        "server_util.configure_logging(types.SimpleNamespace(log_level='info', log_max=0, "
        "log_count=1, log_file=sys.argv[1], deflate_log_level='error')); "
        "logging.info('hello'); logging.debug('hidden'); util._Deflater(15)._logger.warning('no')"
    )
    subprocess.run([sys.executable, "-c", code, str(log_file)], check=True)
    [line] = log_file.read_text().splitlines()
    assert line.endswith("[INFO] root: hello")


def test_thread_monitor_names_the_threads(monkeypatch):
    logged = queue.SimpleQueue()
    sleeps = threading.Event()

    def sleep(seconds):
        # for longer than this no thread can sleep
        assert seconds == threading.TIMEOUT_MAX / 2
        sleeps.set()
        threading.Event().wait()

    monkeypatch.setattr(logs, "time", types.SimpleNamespace(sleep=sleep))
    handler = logging.handlers.QueueHandler(logged)
    logger = logging.getLogger("pywebsocket3.server_util.ThreadMonitor")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        # The second line would come after more than a century.
        monitor = server_util.ThreadMonitor(10**30)
        monitor.start()
        assert monitor.daemon
        assert "MainThread" in logged.get(timeout=10).getMessage()
        # else its line could be one of the next test's
        assert sleeps.wait(10)
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(handler)
