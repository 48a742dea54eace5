"""Answers over the other versions say where HTTP/3 is: `Alt-Svc` (RFC 7838)."""

import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from http2_support import Http2Client
from http3_support import Http3Client, write_certificate
from http_support import read_reply, request_head
from wire import Client

TLS = "--ssl-certfile=tls.pem"

HANDLERS = {
    "echo": "request.ws_stream.receive_message()",
    "refuses": """\
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    raise handshake.HandshakeException("no", status=403)
def web_socket_transfer_data(request):
    pass
""",
    "own": """\
def web_socket_do_extra_handshake(request):
    request.extra_headers.append(("alt-svc", "clear"))
def web_socket_transfer_data(request):
    pass
""",
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, write_handler: WriteHandler) -> None:
    for name, body in HANDLERS.items():
        write_handler(name, body)
    write_certificate(tmp_path / "tls.pem")
    (tmp_path / "page.html").write_text("hello")


def unchecked_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def connect(server: Server) -> Iterator[Client]:
    """Open a connection of HTTP/1.1 over TLS."""
    with server.connect() as plain:
        wrapped = unchecked_context().wrap_socket(plain.socket)
        with Client.over(wrapped, server.port) as client:
            yield client


def fetch(server: Server, path: str, method: str = "GET", lines: tuple[str, ...] = ()) -> dict:
    """Ask for something; return the answer's headers."""
    with connect(server) as client:
        client.send(request_head(path, method, lines))
        return {name.lower(): value for name, value in read_reply(client, method).headers}


@pytest.mark.parametrize("port", [None, "0"])
def test_the_port_is_that_of_http_3(start_server: StartServer, port: str | None):
    more = () if port is None else ("--http3-port", port)
    server = start_server("-w", "handlers", "--http3", TLS, *more)
    found = re.fullmatch(r'h3=":(\d+)"; ma=86400', fetch(server, "/page.html")["alt-svc"])
    assert found is not None
    named = int(found[1])
    assert (named == server.port) == (port is None)
    with Http3Client(server, port=named) as client:
        page = client.fetch("/page.html")
        assert (page.status, bytes(page.data)) == (200, b"hello")
        websocket = client.websocket("/echo")
        refused = client.wait_end(client.connect("/none"))
        for headers in (page.headers, websocket.state.headers, refused.headers):
            assert headers is not None
            assert "alt-svc" not in headers


def test_all_answers_have_it(start_server: StartServer):
    server = start_server(
        *("-w", "handlers", "--http2", "--http3", TLS, "--max-header-lines", "20")
    )
    too_many = [(f"x-{number}", "") for number in range(20)]
    wanted = f'h3=":{server.port}"; ma=86400'
    for path, method, lines in (
        ("/page.html", "GET", ()),
        ("/page.html", "HEAD", ()),
        ("/none", "GET", ()),
        ("/", "GET", ()),
        ("/page.html", "PUT", ()),
        ("/echo", "GET", ("Content-Length: 5",)),
        ("/echo", "GET", ()),
        ("/echo#fragment", "GET", ()),
        ("/page.html", "GET", tuple(f"{name}:" for name, _ in too_many)),
        ("/page.html", "GET", ("Host: other",)),
    ):
        assert fetch(server, path, method, lines)["alt-svc"] == wanted, (path, method, lines)
    for path, version in (("/echo", "13"), ("/refuses", "13"), ("/none", "13"), ("/echo", "8")):
        with connect(server) as client:
            client.send_request(path, [("Sec-WebSocket-Version", version)])
            assert client.read_response().header("Alt-Svc") == wanted, (path, version)
    with Http2Client(server, unchecked_context()) as client:
        streams = [client.request(path) for path in ("/page.html", "/none", "/echo")]
        streams += [client.connect(path) for path in ("/echo", "/refuses", "/none")]
        streams.append(client.connect("/echo", version="8"))
        streams.append(client.connect("/echo", protocol="other"))
        streams.append(client.request("/", headers=too_many))
        answers = [client.wait_headers(stream) for stream in streams]
        statuses = [200, 404, 400, 200, 403, 404, 400, 501, 431]
        assert [answer.status for answer in answers] == statuses
        for answer in answers:
            assert answer.headers is not None
            assert answer.headers["alt-svc"] == wanted


@ALL_WAYS
def test_a_handlers_own_stays(start_server: StartServer):
    server = start_server("-w", "handlers", "--http2", "--http3", TLS)
    with connect(server) as client:
        response = client.handshake("/own")
        own = [value for name, value in response.headers if name.lower() == "alt-svc"]
        assert own == ["clear"]
    with Http2Client(server, unchecked_context()) as client:
        own = [v for n, v in client.websocket("/own").state.all_headers if n == "alt-svc"]
        assert own == ["clear"]


def test_answers_without_the_option_or_without_tls_name_nothing(start_server: StartServer):
    server = start_server("-w", "handlers", TLS)
    names = fetch(server, "/")
    assert "server" in names
    assert "alt-svc" not in names
    with connect(server) as client:
        assert client.handshake("/echo").header("Alt-Svc") is None
