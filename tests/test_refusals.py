"""Whoever refuses a handshake, the operator reads why: a warning is shown by default."""

import re
import signal

import pytest

from conftest import ALL_WAYS, StartServer, WriteHandler

HANDLERS = ("-w", "handlers")


def ask(server, path="/no", headers=(), *, body=0):
    """The answer to a handshake, and so many bytes behind its head."""
    with server.connect() as client:
        client.send_request(path, headers)
        return client.read_response(), client.read(body)


def refuse(server, path="/no", headers=()):
    """The status of the answer to a handshake."""
    return ask(server, path, headers)[0].status


@pytest.fixture
def no(write_handler: WriteHandler):
    """Make the handler `/no`, whose extra handshake is this."""

    def write(body: str) -> None:
        write_handler(
            "no",
            "from pywebsocket3 import handshake\n"
            f"def web_socket_do_extra_handshake(request):\n    {body}\n"
            "def web_socket_transfer_data(request):\n    pass\n",
        )

    return write


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (
            "mesage += 1",
            403,
            r"Forbidden: .*exception for /no: .*mesage.* \(UnboundLocalError, .*no_wsh\.py:3\)",
        ),
        ("import json; json.loads('{')", 403, r".*\(JSONDecodeError, .*no_wsh\.py:3\)"),
        ("raise KeyError('a\\nb')", 403, r".*\(KeyError, .*no_wsh\.py:3\)"),
        ("raise ValueError('\\udcff')", 403, r".*\(ValueError, .*no_wsh\.py:3\)"),
        ("raise handshake.HandshakeException('go away', status=429)", 429, "Too Many.*: .*go away"),
        ("request.ws_protocol = 'x'", 400, "Bad Request: .*requested none"),
    ],
)
def test_of_a_handler(start_server: StartServer, no, body: str, status: int, why: str):
    no(body)
    server = start_server(*HANDLERS)
    assert refuse(server) == status
    server.log.wait_for(rf"\[WARNING\] .*127\.0\.0\.1 - code {status}, message {why}")


@pytest.mark.parametrize(
    ("path", "headers", "status", "why"),
    [
        ("/none", [], 404, "Not Found: no handler for /none"),
        ("/echo#x", [], 400, "Bad Request: /echo#x"),
        ("/echo", [("Sec-WebSocket-Version", "8")], 400, "Bad Request: Unsupported version '8'"),
        ("/echo", [("Connection", "close")], 400, "Bad Request: Connection header"),
        ("/echo", [("X", "y" * 70_000)], 431, "Request Header Fields Too Large: Line too long"),
    ],
)
def test_of_the_server(
    start_server: StartServer, write_handler: WriteHandler, path, headers, status, why
):
    write_handler("echo", "pass")
    server = start_server(*HANDLERS)
    assert refuse(server, path, headers) == status
    server.log.wait_for(rf"\[WARNING\] .*127\.0\.0\.1 - code {status}, message {why}")


def test_client_of_the_draft_of_2010_is_named(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", "pass")
    server = start_server(*HANDLERS)
    with server.connect() as client:
        client.send(
            b"GET /echo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nUpgrade: WebSocket\r\n"
            b"Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n"
            b"^n:ds[4U"
        )
        assert client.read_response().status == 400
    server.log.wait_for(r"\[WARNING\] .*code 400, .*draft 76")


def test_repeated_ones_are_counted(start_server: StartServer, write_handler: WriteHandler, no):
    no("raise ValueError('mine')")
    write_handler("other", "pass")
    server = start_server(*HANDLERS)
    for _ in range(5):
        assert refuse(server) == 403
        assert refuse(server, "/none") == 404
    # another handler's is another kind
    assert refuse(server, "/other", [("Sec-WebSocket-Version", "8")]) == 400
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    server.log.wait_for("code 400")
    log = server.log.text()
    assert len(re.findall("code 403", log)) == 1
    assert len(re.findall("code 404", log)) == 1


def test_headers_that_cannot_be_sent_are_left_out(start_server: StartServer, no):
    no(
        "import fastwsh; raise fastwsh.Refusal(409, 'no', body=b'', headers=["
        "('A B', 'c'), ('X', 'a\\r\\nEvil: 1'), ('Y', '\\udcff'), ('Z', 'z'),"
        "('Content-Length', '5'), ('Transfer-Encoding', 'chunked')])"
    )
    server = start_server(*HANDLERS)
    answer, _ = ask(server)
    assert answer.status == 409
    assert answer.header("Z") == "z"
    assert answer.header("Content-Length") == "0"
    for name in ("A B", "X", "Y", "Evil", "Transfer-Encoding", "Content-Type"):
        assert answer.header(name) is None
    server.log.wait_for("'A B'")


class TestEverywhere:
    pytestmark = ALL_WAYS

    def test_answer_with_headers_and_a_body(self, start_server: StartServer, no):
        no(
            "import fastwsh; raise fastwsh.Refusal(401, 'no', body=b'sign in',"
            " headers=[('WWW-Authenticate', 'Basic realm=x'), ('Server', 'mine'), ('A', '1'),"
            " ('A', '2')])"
        )
        answer, body = ask(start_server(*HANDLERS), body=7)
        assert answer.status == 401
        assert answer.header("WWW-Authenticate") == "Basic realm=x"
        assert answer.header("Server") == "mine"
        assert answer.headers.count(("A", "1")) == answer.headers.count(("A", "2")) == 1
        assert body == b"sign in"

    def test_bug_in_an_extra_handshake(self, start_server: StartServer, no):
        no("return 1 / 0")
        server = start_server(*HANDLERS)
        assert refuse(server) == 403
        server.log.wait_for(r"code 403, .*division by zero \(ZeroDivisionError, .*no_wsh\.py:3\)")
