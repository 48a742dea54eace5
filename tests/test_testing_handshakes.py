"""Opening handshakes of the test server: what is kept of them, refusals, headers, negotiation."""

import json

import pytest
import websocket
from websockets.exceptions import InvalidStatus, NegotiationError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

import fastwsh
from async_support import ECHO_ASYNC
from fastwsh.testing import CheckError, WsServer, running_server
from wire import DEADLINE_SECONDS, Client


def echo(connection):
    for message in connection:
        connection.send(message)


async def echo_async(connection):
    async for message in connection:
        await connection.send(message)


BOTH = pytest.mark.parametrize("handler", [echo, echo_async])


def refusal(server, path="/", **options):
    """Connect, and return the answer that refuses."""
    with pytest.raises(InvalidStatus) as caught:
        connect(server.url_for(path), **options)
    return caught.value.response


@BOTH
def test_refused_attempts_keep_their_headers(handler):
    with running_server() as server:
        server.handler("/", subprotocols=["v1"])(handler)
        server.reject(401, times=1)
        refusal(server, "/?token=a", additional_headers={"Authorization": "Bearer a"})
        refusal(server, subprotocols=["v2", "v3"])
        with connect(server.url, subprotocols=["v1"], additional_headers={"X-Try": "3"}):
            pass
        first, second, third = server.handshakes
        assert server.attempts == 3
    assert (first.status, second.status, third.status) == (401, 400, 101)
    assert first.headers["authorization"] == "Bearer a"
    assert (first.path, first.resource) == ("/", "/?token=a")
    assert second.subprotocols == ("v2", "v3")
    assert third.headers["X-Try"] == "3"
    assert repr(first) == "<Handshake /?token=a 401>"


@BOTH
def test_a_refusal_has_headers_and_body(handler):
    with running_server() as server:
        server.handler("/")(handler)
        server.reject(429, headers={"Retry-After": "7"}, json={"error": "ü"}, times=1)
        server.reject(503, body="down for repair", times=1)
        server.reject(400, body=b"\x00\xff", times=1)
        limited, down, broken = (refusal(server) for _ in range(3))
        with connect(server.url) as client:
            client.send("x")
            assert client.recv(DEADLINE_SECONDS) == "x"
        assert [handshake.status for handshake in server.handshakes] == [429, 503, 400, 101]
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert json.loads(limited.body) == {"error": "ü"}
    assert limited.headers["Content-Type"] == "application/json; charset=utf-8"
    assert down.body == b"down for repair"
    assert broken.body == b"\x00\xff"


@BOTH
def test_a_client_is_sent_elsewhere(handler):
    with running_server() as server:
        server.handler("/moved")(handler)
        server.reject(302, headers={"Location": "/moved"}, path="/")
        with connect(server.url) as client:
            client.send("x")
            assert client.recv(DEADLINE_SECONDS) == "x"
        assert [one.path for one in server.handshakes] == ["/", "/moved"]


def test_repeated_headers_of_a_refusal_are_sent():
    with running_server() as server, Client(server.port) as client:
        server.reject(302, headers=[("Location", "/x"), ("Set-Cookie", "a"), ("Set-Cookie", "b")])
        client.send_request("/")
        answer = client.read_to_end().decode()
    assert answer.startswith("HTTP/1.1 302 Found\r\nLocation: /x\r\n")
    assert answer.count("Set-Cookie") == 2


@BOTH
def test_a_function_says_who_is_refused(handler):
    with running_server() as server:
        server.handler("/")(handler)
        server.reject(401, when=lambda handshake: "Authorization" not in handshake.headers)
        server.reject(403, when=lambda one: one.headers["Authorization"] == "bad", times=1)
        assert refusal(server).status_code == 401
        for headers in ({"Authorization": "good"}, {}):
            if headers:
                with connect(server.url, additional_headers=headers):
                    pass
        bad = {"additional_headers": {"Authorization": "bad"}}
        assert refusal(server, **bad).status_code == 403
        # it is used up by those that it is for
        with connect(server.url, **bad):
            pass


@BOTH
def test_a_function_that_fails_fails_the_test(handler):
    server = WsServer()
    with server:
        server.handler("/")(handler)
        server.reject(401, when=lambda handshake: handshake.headers["X-No"].lower())
        refusal(server)
    with pytest.raises(CheckError, match="the handler of / raised AttributeError"):
        server.check()


@BOTH
@pytest.mark.parametrize(
    "headers",
    [
        {"Set-Cookie": "a=b", "X-Session": "7"},
        [("Set-Cookie", "a=b"), ("X-Session", "7")],
        lambda handshake: {"Set-Cookie": "a=b", "X-Session": handshake.headers["X-Id"]},
    ],
)
def test_a_handler_has_headers_for_its_answer(handler, headers):
    with running_server() as server:
        server.handler("/", headers=headers)(handler)
        server.add_headers({"X-All": "1"}, times=1)
        with connect(server.url, additional_headers={"X-Id": "7"}) as client:
            got = client.response.headers
        assert (got["Set-Cookie"], got["X-Session"], got["X-All"]) == ("a=b", "7", "1")
        with connect(server.url, additional_headers={"X-Id": "7"}) as client:
            assert "X-All" not in client.response.headers


def test_scripts_and_files_have_headers_as_well(tmp_path):
    (tmp_path / "echo_wsh.py").write_text(ECHO_ASYNC)
    with running_server(tmp_path) as server:
        server.add_headers({"X-All": "1"})
        server.reply("hello")
        for path in ("/", "/echo"):
            with connect(server.url_for(path)) as client:
                assert client.response.headers["X-All"] == "1"


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda server: server.reject("503"), TypeError),
        (lambda server: server.reject(True), TypeError),
        (lambda server: server.reject(101), ValueError),
        (lambda server: server.reject(600, body="x"), ValueError),
        (lambda server: server.reject(503, headers={"A": 1}), TypeError),
        (lambda server: server.reject(503, headers=[("A",)]), TypeError),
        (lambda server: server.reject(503, headers={"A": "b\r\nC: d"}), ValueError),
        (lambda server: server.reject(503, headers={"A\n": "b"}), ValueError),
        (lambda server: server.reject(503, body=3), TypeError),
        (lambda server: server.reject(503, body="x", json=1), TypeError),
        (lambda server: server.reject(503, json=object()), TypeError),
        (lambda server: server.reject(503, when=True), TypeError),
        (lambda server: server.reject(503, times=1.5), TypeError),
        (lambda server: server.handler("/", headers={"A": None}), TypeError),
        (lambda server: server.add_headers({"": "x"}), ValueError),
        (lambda server: server.deflate(server_max_window_bits=16), ValueError),
        (lambda server: server.deflate(client_max_window_bits="9"), TypeError),
        (lambda server: server.http("/a", method=1), TypeError),
        (lambda server: server.http(3), TypeError),
        (lambda server: server.http("/a").respond("200"), TypeError),
        (lambda server: server.http("/a").respond(json={1, 2}), TypeError),
        (lambda server: server.http("/a").respond(body=[1]), TypeError),
    ],
)
def test_a_mistake_is_raised_by_the_call_that_has_it(ask, error):
    with running_server() as server, pytest.raises(error):
        ask(server)


@BOTH
def test_offered_subprotocols_can_be_ignored(handler):
    with running_server() as server:
        server.handler("/", subprotocols=["v1"])(handler)
        server.ignore_subprotocols(times=1)
        with connect(server.url, subprotocols=["v2"]) as client:
            assert client.subprotocol is None
        with connect(server.url, subprotocols=["v1"]) as client:
            assert client.subprotocol == "v1"
        assert server.handshakes[0].subprotocols == ("v2",)


def test_scripts_ignore_subprotocols_as_well():
    with running_server() as server:
        server.ignore_subprotocols()
        server.reply("hello")
        with connect(server.url, subprotocols=["a", "b"]) as client:
            assert client.recv(DEADLINE_SECONDS) == "hello"
        # this client insists on one of them, and leaves; no script waits for it
        server.handler("/other")(echo)
        with pytest.raises(websocket.WebSocketException, match="Invalid WebSocket Header"):
            websocket.create_connection(f"{server.url}other", subprotocols=["a", "b"])


def extensions(server, **offer):
    """Connect, echo something, and return what the server has agreed to."""
    options = {"extensions": [ClientPerMessageDeflateFactory(**offer)], "compression": None}
    with connect(server.url, **options) as client:
        for message in ("x" * 1000, "y" * 1000):
            client.send(message)
            assert client.recv(DEADLINE_SECONDS) == message
        return client.response.headers.get("Sec-WebSocket-Extensions")


@BOTH
def test_compression_can_be_declined(handler):
    with running_server() as server:
        server.handler("/")(handler)
        server.decline_deflate(times=1)
        assert extensions(server) is None
        assert extensions(server) == "permessage-deflate"


@BOTH
@pytest.mark.parametrize(
    ("chosen", "offer", "agreed"),
    [
        ({"server_no_context_takeover": True}, {}, "server_no_context_takeover"),
        ({"client_no_context_takeover": True}, {}, "client_no_context_takeover"),
        ({"server_max_window_bits": 9}, {}, "server_max_window_bits=9"),
        (
            {"server_max_window_bits": 12},
            {"server_max_window_bits": 10},
            "server_max_window_bits=10",
        ),
        (
            {"server_max_window_bits": 10, "server_no_context_takeover": True},
            {"server_max_window_bits": 12, "server_no_context_takeover": True},
            "server_max_window_bits=10; server_no_context_takeover",
        ),
        (
            {"client_max_window_bits": 9},
            {"client_max_window_bits": True},
            "client_max_window_bits=9",
        ),
    ],
)
def test_the_parameters_of_compression_can_be_chosen(handler, chosen, offer, agreed):
    with running_server() as server:
        server.handler("/")(handler)
        server.deflate(**chosen)
        assert extensions(server, **offer) == f"permessage-deflate; {agreed}"


def test_an_offer_that_forbids_the_parameter_is_declined():
    with running_server() as server:
        server.handler("/")(echo)
        server.deflate(client_max_window_bits=9)
        assert extensions(server, client_max_window_bits=None) is None


def test_a_subprotocol_that_was_not_offered_can_be_answered():
    with running_server() as server:
        server.handler("/")(echo)
        server.ignore_subprotocols()
        server.add_headers({"Sec-WebSocket-Protocol": "v9"})
        with pytest.raises(NegotiationError):
            connect(server.url, subprotocols=["v1"])
        with pytest.raises(fastwsh.ConnectError):
            fastwsh.connect(server.url)
