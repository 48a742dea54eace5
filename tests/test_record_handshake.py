"""The recording proxy: requests and answers pass as they are, and what they mean is in the file."""

import socket

import pytest

import fastwsh
from fastwsh.testing import har, running_server
from record_support import file, recording, shown
from wire import KEY, TEXT, Client, encode_frame

__all__ = ["file"]  # the fixture


def test_the_request_reaches_the_server_as_it_is_but_for_the_host(file):
    seen = []

    def script(peer):
        peer.answer()
        seen.append(peer.request)

    head = (
        "GET / HTTP/1.1\r\nhOST: 127.0.0.1:1\r\nX-Odd:   two  spaces \r\nUpgrade: WebSocket\r\n"
        f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13"
        "\r\nOrigin: http://a.example\r\nSec-WebSocket-Protocol: b,  a\r\nX-Odd: again\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10, x-own; q=1\r\n"
        "\r\n"
    )
    with recording(file, script) as recorded:
        recorded.client.send(head.encode())
        assert recorded.client.read_response().status == 101
        assert recorded.client.read_to_end() == b""
    port = recorded.url.rsplit(":", 1)[1].rstrip("/")
    names = [name for name, _ in seen[0].headers]
    assert seen[0].status_line == "GET / HTTP/1.1"
    assert names == [line.partition(":")[0] for line in head.split("\r\n")[1:-2]]
    assert seen[0].header("Host") == f"127.0.0.1:{port}"
    assert seen[0].header("Sec-WebSocket-Key") == KEY
    assert seen[0].header("Sec-WebSocket-Extensions").endswith("x-own; q=1")
    assert [value for name, value in recorded.conversation.request_headers if name == "X-Odd"] == [
        "two  spaces",
        "again",
    ]


def test_the_answer_reaches_the_client_byte_by_byte(file):
    answer = (
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nServer: old/1.0\r\nuPgrade:WebSocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\nSec-WebSocket-Protocol: never-offered\r\n\r\n"
    )

    def script(peer):
        peer.read_request()
        peer.send(answer + encode_frame(TEXT, b"at once", mask=None))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == answer + b"\x81\x07at once"
    assert recorded.conversation.status_text == "Web Socket Protocol Handshake"
    assert recorded.conversation.subprotocol == "never-offered"
    assert shown(recorded.conversation) == [("s", TEXT, "at once")]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX-Why: a\r\n\r\nno, n",
        b"HTTP/1.1 503 N\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /there\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.0 404 Not Found\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno",
        (
            b"HTTP/1.1 400 No\r\nVia: HTTP/1.1 a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nno\r\n0\r\n\r\n"
        ),
    ],
)
def test_a_refusal_passes_as_it_is(file, answer):
    def script(peer):
        peer.read_request()
        peer.send(answer)

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == answer
    status = int(answer[answer.rfind(b"\nHTTP/") + 1 :].split()[1])
    assert recorded.conversation.status == status
    assert recorded.conversation.messages == []
    bodies = {403: b"no, n", 503: b"abcde", 302: b"until the end", 404: b"<html>"}
    bodies |= {400: b"no", 426: b"no"}
    assert recorded.conversation.body == bodies.get(status, recorded.conversation.body)


def test_informational_answers_pass_before_the_101(file):
    def script(peer):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        peer.answer()

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        statuses = [recorded.client.read_response().status for _ in range(3)]
    assert statuses == [100, 103, 101]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"HTTP/1.1 101 Swi",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x15\x03",
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 Swi",
    ],
)
def test_what_is_no_answer_passes_as_well(file, garbage):
    def script(peer):
        peer.read_request()
        peer.send(garbage)

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == garbage
    assert recorded.conversation.status == 0


def test_a_server_that_is_not_there_is_a_bad_gateway(file):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_server() as server:
        server.record(f"ws://127.0.0.1:{port}/", file)
        with pytest.raises(fastwsh.ConnectRefusedError) as raised:
            fastwsh.connect(server.url)
        (error,) = server.take_errors()
    assert f"ws://127.0.0.1:{port}/ cannot be recorded: 127.0.0.1:{port} refused" in str(error)
    assert raised.value.status == 502
    assert b"refused the connection; is the server running" in raised.value.body
    assert har.read(file)[0].status == 0


def test_only_websocket_connections_are_passed_on(file):
    with running_server() as server, Client(server.port) as client:
        server.record("ws://127.0.0.1:1/", file)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 426
    assert har.read(file) == []


@pytest.mark.parametrize(
    ("asked", "url", "path"),
    [
        ("/", "/feed?a=1", "/feed?a=1"),
        ("/?b=2", "/feed?a=1", "/feed?b=2"),
        ("/other", "/feed?a=1", "/other"),
        ("/feed/deep?x=%20", "", "/feed/deep?x=%20"),
        ("/", "", "/"),
    ],
)
def test_a_path_leads_to_the_same_path_and_the_root_to_that_of_the_url(file, asked, url, path):
    with running_server() as real, running_server() as server:
        for served in ("/", "/feed", "/other", "/feed/deep"):
            real.handler(served)(lambda connection: connection.send(connection.resource))
        server.record(f"ws://127.0.0.1:{real.port}{url}", file)
        with fastwsh.connect(f"ws://127.0.0.1:{server.port}{asked}") as connection:
            assert connection.recv(20) == path
    assert har.read(file)[0].resource == path
