"""Connections that stay open: which requests they may carry, and when they end."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler
from fastwsh.options import parse_args_and_config
from fastwsh.server import WebSocketServer
from http_support import fetch, read_reply, request_head
from wire import TEXT, Client

ECHO = "request.ws_stream.send_message(request.ws_stream.receive_message())"
GOOD = "Authorization: Basic dGVzdDp0ZXN0"
LARGE = 8 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").write_bytes(b"a")
    (root / "b.txt").write_bytes(b"bb")
    return root


@pytest.fixture
def server(
    start_server: StartServer, root: Path, handler_root: Path, write_handler: WriteHandler
) -> Server:
    write_handler("echo", ECHO)
    return start_server("-d", root, "-w", handler_root)


def get(client: Client, target: str, *headers: str) -> tuple[int, bytes]:
    client.send(request_head(target, headers=headers))
    reply = read_reply(client)
    return reply.status, reply.body


def assert_closed(client: Client) -> None:
    assert client.read_to_end() == b""


def assert_echoes(client: Client) -> None:
    client.handshake()
    client.send_frame(TEXT, b"hello")
    assert client.read_frame().payload == b"hello"


def test_one_connection_carries_many_requests(server: Server):
    with server.connect() as client:
        for _ in range(3):
            assert get(client, "/a.txt") == (200, b"a")
            assert get(client, "/nope")[0] == 404
            client.send(request_head("/b.txt", "HEAD"))
            assert read_reply(client, "HEAD").header("Content-Length") == "2"


def test_pipelined_requests_are_answered_in_order(server: Server):
    with server.connect() as client:
        client.send(b"".join(request_head(f"/{name}.txt") for name in "abab"))
        assert [read_reply(client).body for _ in range(4)] == [b"a", b"bb", b"a", b"bb"]


def test_requests_may_come_in_any_pieces(server: Server):
    # some clients send a line too many
    requests = request_head("/a.txt") + b"\r\n" + request_head("/b.txt")
    with server.connect() as client:
        for at in range(len(requests)):
            client.send(requests[at : at + 1])
        assert [read_reply(client).body for _ in range(2)] == [b"a", b"bb"]


def test_body_that_nobody_reads_is_not_taken_for_a_request(server: Server):
    hidden = request_head("/b.txt")
    with server.connect() as client:
        client.send(request_head("/a.txt", headers=(f"Content-Length: {len(hidden)}",)) + hidden)
        reply = read_reply(client)
        assert (reply.body, reply.header("Connection")) == (b"a", "close")
        assert_closed(client)


@pytest.mark.parametrize(
    ("version", "headers", "stays"),
    [
        ("HTTP/1.1", (), True),
        ("HTTP/1.1", ("Connection: close",), False),
        ("HTTP/1.1", ("Connection: foo, Close",), False),
        ("HTTP/1.0", (), False),
        ("HTTP/1.0", ("Connection: keep-alive",), True),
        ("HTTP/1.2", (), True),
    ],
)
def test_client_says_whether_the_connection_stays(
    server: Server, version: str, headers: tuple[str, ...], stays: bool
):
    with server.connect() as client:
        client.send(request_head("/a.txt", headers=headers, version=version))
        assert read_reply(client).body == b"a"
        if stays:
            assert get(client, "/b.txt") == (200, b"bb")
        else:
            assert_closed(client)


def test_websocket_opens_on_a_connection_that_was_used(server: Server):
    with server.connect() as client:
        assert get(client, "/a.txt") == (200, b"a")
        assert_echoes(client)


def test_frames_pipelined_behind_requests_arrive(server: Server):
    with server.connect() as client:
        client.send(request_head("/nope"))
        client.send_request()
        client.send_frame(TEXT, b"early")
        assert read_reply(client).status == 404
        assert client.read_response().status == 101
        assert client.read_frame().payload == b"early"


@pytest.mark.parametrize("target", ["/echo", "/echo?a=b"])
def test_plain_request_for_a_handler_is_refused_on_used_connections_too(
    server: Server, target: str
):
    with server.connect() as client:
        assert get(client, "/a.txt") == (200, b"a")
        assert get(client, target)[0] == 400
        assert_closed(client)


def test_bad_head_on_a_used_connection_is_refused(server: Server):
    for head, status in [(b"GET\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505)]:
        with server.connect() as client:
            assert get(client, "/a.txt") == (200, b"a")
            client.send(head)
            assert read_reply(client).status == status
            assert_closed(client)


def test_credentials_are_asked_for_with_each_request(
    start_server: StartServer, root: Path, handler_root: Path, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server("-d", root, "-w", handler_root, "--basic-auth")
    with server.connect() as client:
        assert get(client, "/a.txt", GOOD) == (200, b"a")
        client.send(request_head("/b.txt"))
        reply = read_reply(client)
        assert (reply.status, reply.body) == (401, b"")
        assert reply.header("WWW-Authenticate") == 'Basic realm="Pywebsocket"'
        assert_closed(client)
    with server.connect() as client:
        assert get(client, "/a.txt", GOOD) == (200, b"a")
        client.send_request()
        assert client.read_response().status == 401


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 1", "Content-Length: 2"),
        ("Content-Length: -1",),
        ("Content-Length: 1x",),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip",),
    ],
)
def test_body_of_unclear_length_ends_the_connection(server: Server, headers: tuple[str, ...]):
    with server.connect() as client:
        client.send(request_head("/a.txt", headers=headers) + request_head("/b.txt"))
        reply = read_reply(client)
        assert (reply.status, reply.header("Connection")) == (400, "close")
        assert_closed(client)


def test_chunked_body_is_not_taken_for_a_request(server: Server):
    smuggled = request_head("/b.txt")
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    with server.connect() as client:
        client.send(request_head("/a.txt", headers=("Transfer-Encoding: chunked",)) + chunk)
        assert read_reply(client).body == b"a"
        assert_closed(client)


def test_refused_body_does_not_reset_the_answer(server: Server):
    """The answer must arrive although most of the request was never read."""
    with server.connect() as client:
        client.send(request_head("/a.txt", "POST", (f"Content-Length: {LARGE}",)))
        sender = threading.Thread(target=_send_all, args=(client.socket, b"x" * LARGE))
        sender.start()
        assert read_reply(client).status == 501
        sender.join()


def _send_all(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError:
        return


def test_half_closed_client_is_answered(server: Server):
    with server.connect() as client:
        client.send(request_head("/a.txt"))
        client.socket.shutdown(socket.SHUT_WR)
        assert read_reply(client).body == b"a"
        assert_closed(client)


def test_idle_connection_does_not_delay_the_end(server: Server):
    with server.connect() as client:
        assert get(client, "/a.txt") == (200, b"a")
        server.send_signal(signal.SIGTERM)
        assert_closed(client)
        assert server.wait() == 0


def test_answer_under_way_is_finished_before_the_end(server: Server, root: Path):
    (root / "large").write_bytes(b"x" * LARGE)
    with server.connect() as client:
        client.send(request_head("/large"))
        head = client.read_response()
        server.send_signal(signal.SIGTERM)
        assert head.header("Content-Length") == str(LARGE)
        assert client.read(LARGE) == b"x" * LARGE
        assert_closed(client)
    assert server.wait() == 0


@pytest.fixture
def impatient(
    root: Path, handler_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[WebSocketServer]:
    """A server in this process that waits a tenth of a second for a request head."""
    monkeypatch.chdir(root)
    arguments = ["-H", "127.0.0.1", "-p", "0", "-w", str(handler_root)]
    options, _ = parse_args_and_config(arguments)
    options.scan_dir = options.websock_handlers
    options.head_timeout = 0.1
    server = WebSocketServer(options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("sent", [b"", b"GET /a.txt HTTP/1.1\r\nHost:"])
def test_used_connection_is_not_kept_for_ever(impatient: WebSocketServer, sent: bytes):
    with Client(impatient.server_port) as client:
        assert get(client, "/a.txt") == (200, b"a")
        client.send(sent)
        assert_closed(client)


def test_answer_of_one_connection_does_not_wait_for_another(server: Server):
    with server.connect() as slow:
        slow.send(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n")
        assert fetch(server, "/b.txt").body == b"bb"
        slow.send(b"\r\n")
        assert read_reply(slow).body == b"a"
