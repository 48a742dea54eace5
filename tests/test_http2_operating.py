"""What operators and authors of tests see of HTTP/2: logs, metrics, every way to ask for it."""

from conftest import StartServer, WriteHandler
from echo_handlers import ECHO
from fastwsh.testing import running_server
from http2_support import Http2Client
from pytest_plugin_support import run
from wire import TEXT, Frame

__all__ = ["run"]


def test_server_for_tests():
    with running_server(http2=True, max_http2_streams=9) as server:

        @server.handler("/told")
        def told(connection):
            connection.send(connection.request.protocol)

        with Http2Client(server) as client:
            assert client.websocket("/told").read_frame() == Frame(TEXT, b"HTTP/2")
            assert client.h2.remote_settings.max_concurrent_streams == 9


def test_fixtures_for_tests(run):
    result = run("""
import socket, ssl

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
""")
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
