"""Plain HTTP on the port of the test server."""

import http.client
import json
import urllib.error
import urllib.request

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import fastwsh
from fastwsh.testing import make_tls_files, running_server
from wire import DEADLINE_SECONDS, Client


def echo(connection):
    for message in connection:
        connection.send(message)


def url(server, path):
    return f"http://{server.host}:{server.port}{path}"


def ask(server, path, **options):
    """Make a request, and return status, headers and body."""
    request = urllib.request.Request(url(server, path), **options)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.mark.parametrize("http_version", [1, 2])
def test_a_path_with_answers_opens_connections(http_version):
    with running_server(http2=True) as server:
        server.http("/chat").respond(body="page")
        server.script("/chat").reply("hello")
        with fastwsh.connect(server.url_for("/chat"), http_version=http_version) as client:
            assert client.recv(DEADLINE_SECONDS) == "hello"
        assert ask(server, "/chat")[2] == b"page"


def test_the_step_before_the_connection_is_answered():
    with running_server() as server:
        negotiated = {"connectionId": "7", "availableTransports": ["WebSockets"]}
        negotiate = server.http("/chat/negotiate", method="post").respond(json=negotiated)
        server.script("/chat").expect("hello").reply("world")
        status, headers, body = ask(server, "/chat/negotiate?v=1", data=b"", method="POST")
        assert (status, json.loads(body)) == (200, negotiated)
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        with connect(server.url_for("/chat?id=7")) as client:
            client.send("hello")
            assert client.recv(DEADLINE_SECONDS) == "world"
        (request,) = negotiate.requests
        assert (request.method, request.resource) == ("POST", "/chat/negotiate?v=1")
        assert request.path == "/chat/negotiate"
        assert ask(server, "/chat/negotiate")[0] == 405
        assert ask(server, "/chat/negotiate")[1]["Allow"] == "POST"


def test_bodies_arrive():
    with running_server() as server:
        login = server.http("/login").respond(204)
        assert ask(server, "/login", data=b'{"a": [1]}', method="PUT")[0] == 204
        client = http.client.HTTPConnection(server.host, server.port, timeout=DEADLINE_SECONDS)
        client.request("POST", "/login", body=iter([b"one", b"two" * 10000]))
        assert client.getresponse().status == 204
        client.close()
        assert [request.method for request in login.requests] == ["PUT", "POST"]
        assert login.requests[0].json() == {"a": [1]}
        assert login.requests[0].headers["content-type"]
        assert login.requests[1].body == b"one" + b"two" * 10000


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_body_is_not_copied_for_each_piece_that_comes(is_chunked):
    # 64 MiB took minutes, which is longer than `ask` waits for the answer
    pieces = [b"x" * (1 << 20)] * 64
    with running_server() as server:
        upload = server.http("/upload").respond(204)
        status, _, _ = ask(server, "/upload", data=iter(pieces) if is_chunked else b"".join(pieces))
        assert status == 204
        assert len(upload.requests[0].body) == 64 << 20


def test_a_client_may_wait_before_it_sends_its_body():
    with running_server() as server, Client(server.port) as client:
        path = server.http("/a").respond(body="done")
        client.send(
            b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert client.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"abc")
        assert client.read_to_end().startswith(b"HTTP/1.1 200 OK\r\n")
        assert path.requests[0].body == b"abc"


def test_answers_have_their_turn_and_the_last_one_stays():
    with running_server() as server:
        server.http("/a").respond(503, headers={"Retry-After": "1"}).respond(body="x")
        answers = [ask(server, "/a") for _ in range(3)]
        assert [status for status, _, _ in answers] == [503, 200, 200]
        assert answers[0][1]["Retry-After"] == "1"
        assert answers[2][2] == b"x"
        server.http("/b")
        assert ask(server, "/b")[::2] == (200, b"")


def test_a_head_has_no_body():
    with running_server() as server:
        server.http("/a", method="GET").respond(body="four")
        status, headers, body = ask(server, "/a", method="HEAD")
        assert (status, headers["Content-Length"], body) == (200, "4", b"")


def test_a_path_may_have_a_handler_as_well():
    with running_server() as server:
        polling = server.http("/socket.io/").respond(body='0{"sid":"x"}')
        server.handler("/socket.io/")(echo)
        assert ask(server, "/socket.io/?EIO=4&transport=polling")[2] == b'0{"sid":"x"}'
        with connect(server.url_for("/socket.io/?EIO=4&transport=websocket")) as client:
            client.send("2probe")
            assert client.recv(DEADLINE_SECONDS) == "2probe"
        assert len(polling.requests) == 1
        server.clear()
        assert ask(server, "/socket.io/")[0] == 404


def test_a_path_without_a_handler_opens_no_connection():
    with running_server() as server:
        server.http("/a").respond(418)
        with pytest.raises(InvalidStatus, match="418"):
            connect(server.url_for("/a"))
        assert server.attempts == 0


def test_a_coroutine_function_has_its_path_for_itself():
    async def handler(connection):
        pass

    with running_server() as server:
        server.handler("/a")(handler)
        with pytest.raises(ValueError, match="/a cannot have answers to plain HTTP and a corou"):
            server.http("/a")
        server.http("/b")
        with pytest.raises(ValueError, match="/b cannot have"):
            server.handler("/b")(handler)


def test_handlers_get_no_request_with_a_body_still():
    with running_server() as server:
        server.http("/a")
        server.handler("/b")(echo)
        assert ask(server, "/b", data=b"x", method="POST")[0] == 400


def test_handlers_of_files_stay_when_the_server_is_made_new(tmp_path):
    (tmp_path / "hi_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request):\n    pass\n\n"
        "def web_socket_transfer_data(request):\n    request.ws_stream.send_message('hi')\n"
    )
    with running_server(tmp_path) as server:
        for _ in range(2):
            server.http("/hi").respond(json=1)
            assert ask(server, "/hi")[2] == b"1"
            with connect(server.url_for("/hi")) as client:
                assert client.recv(DEADLINE_SECONDS) == "hi"
            server.clear()
            assert ask(server, "/hi")[0] != 200


def test_https_is_spoken_as_well(tmp_path):
    with running_server(tls=make_tls_files(tmp_path)) as server:
        server.http("/a").respond(body="x")
        with urllib.request.urlopen(
            f"https://127.0.0.1:{server.port}/a", context=server.client_ssl_context()
        ) as answer:
            assert answer.read() == b"x"


def test_it_is_answered_after_a_restart():
    with running_server() as server:
        path = server.http("/a").respond(body="x")
        server.restart()
        assert ask(server, "/a", data=b"body", method="POST")[2] == b"x"
        assert path.requests[0].body == b"body"
