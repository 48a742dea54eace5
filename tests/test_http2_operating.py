"""What operators and authors of tests see of HTTP/2: logs, metrics, every way to ask for it."""

import json
import signal
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler
from fastwsh.testing import running_server
from http2_support import Http2Client
from metrics_support import Metrics
from wire import DEADLINE_SECONDS, TEXT, Frame

ECHO = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message)
"""


def echo_and_close(client: Http2Client) -> None:
    websocket = client.websocket("/echo")
    websocket.send_frame(TEXT, b"hello")
    assert websocket.read_frame() == Frame(TEXT, b"hello")
    websocket.send_close()
    assert websocket.read_frame().close_code == 1000
    websocket.send(b"", end=True)
    websocket.wait_end()


def stop(server: Server) -> None:
    server.send_signal(signal.SIGTERM)
    server.wait()


def test_access_log(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2", "--access-log=a.log", "--log-format=json")
    with Http2Client(server) as client:
        echo_and_close(client)
        assert client.wait_end(client.connect("/none")).status == 404
        assert client.wait_end(client.connect("/echo", version="8")).status == 400
    with server.connect() as old:
        old.handshake("/echo")
        old.send_close()
        old.read_to_end()
    stop(server)
    entries = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    told = {(e["resource"], e["status"], e["http_version"], e["close_received"]) for e in entries}
    assert told == {
        ("/echo", 200, "2", 1000),
        ("/none", 404, "2", None),
        ("/echo", 400, "2", None),
        ("/echo", 101, "1.1", 1000),
    }
    (opened,) = [entry for entry in entries if entry["status"] == 200]
    # the masked message and the masked close frame
    assert (opened["messages_received"], opened["bytes_received"]) == (1, 2 + 4 + 5 + 2 + 4 + 2)
    assert opened["opened"] is not None


def test_metrics(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2", "--metrics-port", "0")
    metrics = Metrics(server)
    with Http2Client(server) as client:
        websocket = client.websocket("/echo")
        metrics.wait_for("http_connections", 1, version="2")
        assert metrics.value("http_connections", version="1.1") == 0
        websocket.send_close()
        websocket.read_frame()
        websocket.send(b"", end=True)
        assert client.wait_end(client.connect("/none")).status == 404
        metrics.wait_for("handshakes_total", 1, result="accepted", status="200")
        metrics.wait_for("handshakes_total", 1, result="no_handler", status="")
        metrics.wait_for("closes_total", 1, code="1000", initiator="client")
    metrics.wait_for("http_connections", 0, version="2")


@pytest.mark.parametrize(
    ("args", "env"),
    [
        (("--http2",), {}),
        ((), {"FASTWSH_HTTP2": "1"}),
        (("--config", "server.ini"), {}),
    ],
)
def test_every_way_to_ask_for_it(
    start_server: StartServer,
    write_handler: WriteHandler,
    tmp_path: Path,
    args: tuple[str, ...],
    env: dict[str, str],
):
    write_handler("echo", ECHO)
    (tmp_path / "server.ini").write_text("[pywebsocket]\nhttp2 = 1\nmax-http2-streams = 7\n")
    server = start_server("-w", "handlers", *args, env=env)
    with Http2Client(server) as client:
        echo_and_close(client)
        wanted = 7 if "--config" in args else 256
        assert client.h2.remote_settings.max_concurrent_streams == wanted


def test_server_for_tests():
    with running_server(http2=True, max_http2_streams=9) as server:

        @server.handler("/told")
        def told(connection):
            connection.send(connection.request.protocol)

        with Http2Client(server) as client:
            assert client.websocket("/told").read_frame() == Frame(TEXT, b"HTTP/2")
            assert client.h2.remote_settings.max_concurrent_streams == 9


def test_fixtures_for_tests(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import socket, ssl
        import pytest

        @pytest.mark.wsserver(http2=True)
        def test_tls(wss_server):
            context = wss_server.client_ssl_context()
            context.set_alpn_protocols(["h2"])
            with socket.create_connection((wss_server.host, wss_server.port)) as plain:
                with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
                    assert wrapped.selected_alpn_protocol() == "h2"

        @pytest.mark.wsserver(http2=True)
        def test_plain(wsserver):
            with socket.create_connection((wsserver.host, wsserver.port)) as plain:
                plain.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
                plain.sendall(bytes(3) + b"\\x04" + bytes(5))
                # the header of a frame SETTINGS
                assert plain.recv(9)[3] == 4
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=DEADLINE_SECONDS * 3)
    result.assert_outcomes(passed=2)


def test_without_the_option_there_is_only_http_1_1(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read_response().status == 505


def test_both_versions_on_one_port(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as client, server.connect() as old:
        client.websocket("/echo")
        old.handshake("/echo")
        old.send_frame(TEXT, b"x")
        assert old.read_frame() == Frame(TEXT, b"x")
    # a beginning that HTTP/2 may have as well
    with server.connect() as old:
        old.send(b"P")
        old.send(b"OST / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert old.read_response().status == 501
