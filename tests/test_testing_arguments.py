"""Arguments of the test server are refused in the line that has them."""

import json
import re
from array import array
from pathlib import Path
from unittest import mock

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastwsh.testing import CheckError, Expectation, WsServer, running_server
from wire import DEADLINE_SECONDS


@pytest.fixture
def server():
    server = WsServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "message", [[1, 2, 3], {"a": 1}, (b"x",), 3, 2.5, True, {1}, range(3), array("b", b"x"), None]
)
def test_what_is_no_message_is_refused_where_it_is_written(server, message):
    with pytest.raises(TypeError, match="is no message; give str for a text, bytes"):
        server.reply(message)
    with pytest.raises(TypeError, match="is no message"):
        server.script("/chat").reply(message)
    server.check()


def test_a_buffer_is_sent_as_it_was_when_it_was_written(server):
    buffer = bytearray(b"before")
    server.reply(buffer).reply(memoryview(b"view"))
    buffer[:] = b"behind"
    with connect(server.url) as client:
        assert client.recv(DEADLINE_SECONDS) == b"before"
        assert client.recv(DEADLINE_SECONDS) == b"view"


def test_a_function_that_makes_no_message_is_named(server):
    def make_nothing(_connection):
        return [1]

    server.reply(make_nothing)
    with connect(server.url) as client, pytest.raises(ConnectionClosed):
        client.recv(DEADLINE_SECONDS)
    server.stop()
    with pytest.raises(CheckError, match=r"make_nothing returned \[1\] for a reply"):
        server.check()


@pytest.mark.parametrize("value", [{"a": [1, None]}, [1], "text", 3, None, True, "ü"])
def test_json_is_sent_as_text(server, value):
    server.reply(json=value)
    with connect(server.url) as client:
        message = client.recv(DEADLINE_SECONDS)
    assert isinstance(message, str)
    assert json.loads(message) == value


def test_json_that_there_is_not_is_refused(server):
    with pytest.raises(TypeError, match="not JSON serializable"):
        server.reply(json={"a": object()})
    with pytest.raises(TypeError, match="not both"):
        server.reply("a", json=1)
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="Circular"):
        server.reply(json=endless)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda server: server.script().then(None), TypeError),
        (lambda server: server.script().then("close"), TypeError),
        (lambda server: server.script().close(999), ValueError),
        (lambda server: server.script().close(1005), ValueError),
        (lambda server: server.script().close(1006), ValueError),
        (lambda server: server.script().close(1000, "x" * 124), ValueError),
        (lambda server: server.script().close("1000"), TypeError),
        (lambda server: server.script().close(1000, b"x"), TypeError),
        (lambda server: server.expect_close(5000), ValueError),
        (lambda server: server.expect_close("going away"), TypeError),
        (lambda server: server.expect("a", timeout="1"), TypeError),
        (lambda server: server.expect("a", timeout=-1), ValueError),
        (lambda server: server.expect("a", timeout=float("nan")), ValueError),
        (lambda server: server.expect("a", timeout=float("inf")), ValueError),
        (lambda server: server.wait_for_connection(timeout=1e12), ValueError),
        (lambda server: server.restart(after=float("inf")), ValueError),
        (lambda server: server.delay("1"), TypeError),
        (lambda server: server.delay(-1), ValueError),
        (lambda server: server.expect("a", ignore=["id"]), ValueError),
        (lambda server: server.expect(json={}, ignore="id"), TypeError),
        (lambda server: server.expect(json={}, ignore=[1]), TypeError),
        (lambda server: server.expect_any_order(), TypeError),
        (lambda server: server.expect_any_order("a", 3), TypeError),
        (lambda server: server.connection(0), ValueError),
        (lambda server: server.connection("2"), TypeError),
        (lambda server: server.connection(True), TypeError),
        (lambda server: server.script(3), TypeError),
        (lambda server: server.script("/a?b=1"), ValueError),
        (lambda server: server.script("ws://127.0.0.1/a"), ValueError),
        (lambda server: server.script("/", subprotocol=["a"]), TypeError),
        (lambda server: server.handler("/")(None), TypeError),
        (lambda server: server.handler("/", subprotocols="chat"), TypeError),
        (lambda server: server.handler("/", subprotocols=[1]), TypeError),
        (lambda server: server.wait_for_messages(0), ValueError),
        (lambda server: server.wait_for_message(3), TypeError),
        (lambda server: server.wait_for_connection("1"), TypeError),
        (lambda server: server.drop_at(0), ValueError),
        (lambda server: server.reply("\ud800"), ValueError),
        (lambda server: server.expect_close(1000, 5), TypeError),
        (lambda server: server.expect_close(1005, "why"), ValueError),
        (lambda server: server.raw("HTTP/1.1 200 OK"), TypeError),
        (lambda server: server.raw(5), TypeError),
        (lambda server: server.reject(503, headers=[5]), TypeError),
        (lambda server: server.accept(True), TypeError),
        (lambda server: server.accept(1.5), TypeError),
        (lambda server: server.handler("/", subprotocols=["a b"]), ValueError),
        (lambda server: server.script("/", subprotocol=""), ValueError),
        (lambda server: server.script("/", subprotocol="caf\xe9"), ValueError),
        (lambda server: server.check(timeout=-1), ValueError),
        (lambda server: server.check(timeout="1"), TypeError),
    ],
)
def test_a_mistake_is_raised_by_the_call_that_has_it(server, write, error):
    with pytest.raises(error):
        write(server)
    server.check()


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda server: server.reject(503, headers=5), "headers=5; give a mapping, or pairs"),
        (lambda server: server.handler("/", headers=5), "headers=5; give a mapping, or pairs"),
        (lambda server: server.accept("1"), "accept '1'; give the number of handshakes"),
        (lambda server: server.url_for(5), "path 5; give a str such as '/chat'"),
        (
            lambda server: server.record(Path("f.har"), "ws://localhost/"),
            "f.har'\\); give a str such",
        ),
        (lambda _: WsServer([5]), r"handlers=\[5\]; give the path of a folder or file"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(server, write, sentence):
    with pytest.raises(TypeError, match=sentence):
        write(server)


@pytest.mark.parametrize(
    "write",
    [
        lambda connection: connection.send_frame("1"),
        lambda connection: connection.send_frame(True),
        lambda connection: connection.send_frame(1, 5),
        lambda connection: connection.send_frame(1, [1, 2]),
        lambda connection: connection.send_frame(1, "a", rsv="4"),
        lambda connection: connection.send_frame(1, "a", mask=True),
        lambda connection: connection.send_frame(1, "a", mask="abcd"),
        lambda connection: connection.send_frame(1, "a", length="1"),
        lambda connection: connection.throttle("1"),
        lambda connection: connection.throttle(float("inf")),
        lambda connection: connection.throttle(float("nan")),
        lambda connection: connection.stall("1"),
        lambda connection: connection.stall(-1),
        lambda connection: connection.expect_close(1000, b"why"),
    ],
)
def test_a_mistake_with_a_connection_sends_nothing_and_is_said(server, write):
    told = []

    def run(connection):
        try:
            write(connection)
        except (TypeError, ValueError) as error:
            told.append(str(error))

    server.script().then(run).reply("then")
    with connect(server.url) as client:
        assert client.recv(DEADLINE_SECONDS) == "then"
    assert re.search(r"; (give|use) |has no room|; a frame header has", told[0])


@pytest.mark.parametrize("nested", ["[" * 100_000, "[" * 480 + "]" * 480])
def test_json_that_is_too_deep_is_not_what_was_expected(server, nested):
    server.expect(json=[])
    with connect(server.url) as client:
        client.send(nested)
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    server.stop()
    with pytest.raises(CheckError, match="step 1 of 1 expected the JSON of"):
        server.check()


@pytest.mark.parametrize("message", [[1, 2, 3], {"a": 1}, 3, None, (b"x",)])
@pytest.mark.parametrize("binary", [None, True, False])
def test_an_awaitable_stream_refuses_them_before_it_is_awaited(message, binary):
    told = []
    with running_server() as server:

        @server.handler("/")
        async def send(connection):
            stream = connection.request.ws_stream.__getattr__("send_message")
            try:
                # not awaited
                stream(message, binary=binary)
            except (AttributeError, TypeError) as error:
                told.append(str(error))

        with connect(server.url) as client, pytest.raises(ConnectionClosed, match="1000"):
            client.recv(DEADLINE_SECONDS)
    kind = type(message).__name__
    text = f"'{kind}' object has no attribute" if binary is False else f"required, not '{kind}'"
    assert text in told[0]


def test_an_awaitable_stream_takes_whatever_holds_bytes():
    with running_server() as server:

        @server.handler("/")
        async def send(connection):
            for message in (b"a", bytearray(b"b"), memoryview(b"c"), array("b", b"d")):
                await connection.request.ws_stream.send_message(message)

        with connect(server.url) as client:
            assert list(client) == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("make", [dict, list])
def test_a_blocking_stream_sends_no_list_of_numbers_as_bytes(make):
    with running_server() as server:

        @server.handler("/")
        def send(connection):
            with pytest.raises(TypeError, match=f"required, not '{make.__name__}'"):
                connection.request.ws_stream.send_message(make([(1, 2)]), binary=True)

        with connect(server.url) as client:
            assert list(client) == []


@pytest.mark.parametrize("kind", [None, [1], {"a": 1}, 3])
def test_a_connection_refuses_to_send_them(kind):
    with running_server() as server:

        @server.handler("/")
        def send(connection):
            with pytest.raises(TypeError, match="is no message"):
                connection.send(kind)

        @server.handler("/async")
        async def send_async(connection):
            with pytest.raises(TypeError, match="is no message"):
                await connection.send(kind)

        for path in ("/", "/async"):
            with connect(server.url_for(path)) as client:
                assert list(client) == []


@pytest.mark.parametrize(
    ("wanted", "ignore", "said", "fits"),
    [
        ({"a": 1}, (), '{"a": 1.0}', True),
        ({"a": 1}, (), '{"a": true}', False),
        ({"a": True}, (), '{"a": 1}', False),
        ([0], (), "[false]", False),
        ((1, 2), (), "[1, 2]", True),
        ({"a": 1, "id": 7}, ["id"], '{"a": 1, "id": 8}', True),
        ({"a": 1}, ["id"], '{"a": 1, "id": 8}', True),
        ({"a": [{"id": 1, "b": 2}]}, ["id"], '{"a": [{"b": 2}]}', True),
        ({"meta": {"id": 1}, "id": 1}, ["meta.id"], '{"meta": {"id": 2}, "id": 1}', True),
        ({"meta": {"id": 1}, "id": 1}, ["meta.id"], '{"meta": {"id": 2}, "id": 2}', False),
        ({"a": mock.ANY}, (), '{"a": [1, 2]}', True),
        ({"a": mock.ANY}, (), "{}", False),
        (None, (), "null", True),
        (None, (), "", False),
    ],
)
def test_json_is_compared_as_json(wanted, ignore, said, fits):
    assert Expectation(json=wanted, ignore=ignore).accepts(said) is fits


def test_an_expected_value_is_that_of_the_call(server):
    wanted = {"a": [1]}
    server.expect(json=wanted).reply("yes")
    wanted["a"].append(2)
    with connect(server.url) as client:
        client.send('{"a": [1]}')
        assert client.recv(DEADLINE_SECONDS) == "yes"
    server.check()


@pytest.mark.parametrize("order", [("a1", "b", '{"c": 1}'), ('{"c": 1}', "b", "a1")])
def test_messages_may_come_in_any_order(server, order):
    # the function would take "b" as well, which only one of the others can have
    server.expect_any_order(lambda _: True, "b", Expectation(json={"c": 1, "t": 0}, ignore=["t"]))
    server.reply("all")
    with connect(server.url) as client:
        for message in order:
            client.send(message)
        assert client.recv(DEADLINE_SECONDS) == "all"
    server.check()


def test_a_message_that_is_none_of_the_group_is_named_with_what_is_left(server):
    server.expect_any_order("a", "b", re.compile("c+"))
    with connect(server.url) as client:
        client.send("b")
        client.send("b")
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    server.stop()
    with pytest.raises(CheckError) as caught:
        server.check()
    assert str(caught.value) == (
        "script of /: step 1 of 1 expected one of 'a', a match of 'c+', but got 'b'"
    )


def test_a_group_that_is_not_complete_in_time_is_a_failure(server):
    server.expect_any_order("a", "b", timeout=0.2)
    with connect(server.url) as client:
        client.send("b")
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    server.stop()
    with pytest.raises(CheckError, match=r"expected 'a', but nothing came within 0\.2 s"):
        server.check()
