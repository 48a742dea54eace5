"""Scripts for some of the connections of a path, and the waits for what happens on them."""

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastwsh.testing import CheckError, ScriptError, WaitTimeoutError, WsServer, running_server
from wire import DEADLINE_SECONDS


@pytest.fixture
def server():
    server = WsServer()
    server.start()
    yield server
    server.stop()


def first(server, path="/", **options):
    """Connect, and return the first message and the subprotocol."""
    with connect(server.url_for(path), **options) as client:
        return client.recv(DEADLINE_SECONDS), client.subprotocol


def test_a_connection_has_a_script_of_its_own(server):
    server.connection(2).reply("welcome back")
    server.reply("hello")
    server.connection(2, path="/other").reply("other")
    server.script("/other").reply("one")
    assert [first(server)[0] for _ in range(3)] == ["hello", "welcome back", "hello"]
    assert [first(server, "/other")[0] for _ in range(2)] == ["one", "other"]
    server.check()


def test_refused_handshakes_are_no_connections(server):
    server.connection(1).reply("first")
    server.reject(503, times=2)
    for _ in range(2):
        with pytest.raises(InvalidStatus):
            connect(server.url)
    assert first(server)[0] == "first"
    server.check()


def test_a_connection_that_never_comes_is_a_failure(server):
    server.connection(1).reply("a")
    server.connection(2, path="/").expect("b")
    first(server)
    with pytest.raises(CheckError) as caught:
        server.check()
    assert str(caught.value) == (
        "script of connection 2 of /: no client came; step 1 of 1 is: expect 'b'"
    )


def test_a_subprotocol_has_a_script_of_its_own(server):
    server.script(subprotocol="v2").reply("two")
    server.script(subprotocol="v1").reply("one")
    assert first(server, subprotocols=["v1", "v2"]) == ("one", "v1")
    assert first(server, subprotocols=["v3", "v2"]) == ("two", "v2")
    with pytest.raises(InvalidStatus, match="400"):
        connect(server.url, subprotocols=["v3"])
    with pytest.raises(InvalidStatus, match="400"):
        connect(server.url)
    server.reply("any")
    assert first(server, subprotocols=["v3"]) == ("any", "v3")
    assert first(server) == ("any", None)
    server.check()


def test_the_failure_names_whose_script_it_is(server):
    server.script("/chat", subprotocol="v2").expect("a")
    with connect(server.url_for("/chat"), subprotocols=["v2"]) as client:
        client.send("b")
        with pytest.raises(ConnectionClosed, match="the script failed: step 1 of 1"):
            client.recv(DEADLINE_SECONDS)
    server.stop()
    with pytest.raises(CheckError, match=r"^script of subprotocol v2 at /chat: step 1 of 1 expec"):
        server.check()


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (4000, "bye", None),
        (4000, None, None),
        (None, "bye", None),
        (None, None, None),
        (4001, "bye", "a close frame with 4001 and the reason 'bye', but got one with 4000"),
        (4000, "x", "the reason 'x', but got one with 4000 and the reason 'bye'"),
        (None, "", "a close frame with the reason '', but got one with 4000 and the reason 'bye'"),
    ],
)
def test_the_end_is_expected_with_code_and_reason(code, reason, text):
    told = []

    def judge(connection):
        try:
            connection.expect_close(code, reason)
        except ScriptError as error:
            told.append(str(error))

    async def judge_async(connection):
        try:
            await connection.expect_close(code, reason)
        except ScriptError as error:
            told.append(str(error))

    server = WsServer()
    with server:
        server.expect_close(code, reason)
        server.handler("/sync")(judge)
        server.handler("/async")(judge_async)
        for path in ("/", "/sync", "/async"):
            with connect(server.url_for(path)) as client:
                client.close(4000, "bye")
    if text is None:
        server.check()
        assert told == []
    else:
        with pytest.raises(CheckError) as caught:
            server.check()
        assert all(text in one for one in [*told, str(caught.value)])
        assert len(told) == 2


def test_a_close_without_a_code_can_be_expected(server):
    server.expect_close(1005)
    with connect(server.url) as client:
        client.protocol.send_close()
        client.socket.sendall(b"".join(client.protocol.data_to_send()))
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    server.stop()
    server.check()


def test_a_message_in_place_of_the_close_frame_is_named():
    with running_server() as server:

        @server.handler("/")
        def judge(connection):
            with pytest.raises(ScriptError, match="expected a close frame, but got 'x'"):
                connection.expect_close()
            with pytest.raises(ScriptError, match="but nothing came at / within 0 s"):
                connection.expect_close(timeout=0)

        with connect(server.url) as client:
            client.send("x")
            assert list(client) == []


def test_messages_are_waited_for_by_their_number(server):
    server.script("/a").expect().expect()
    server.script("/b").expect()
    with connect(server.url_for("/a")) as one, connect(server.url_for("/b")) as other:
        one.send("1")
        server.wait_for_message("1")
        other.send("2")
        assert server.wait_for_messages(2) == ["1", "2"]
        assert server.wait_for_messages(1) == ["1"]
        assert server.wait_for_messages(1, path="/b") == ["2"]
        one.send("3")
        assert server.wait_for_messages(2, path="/a") == ["1", "3"]
        with pytest.raises(
            WaitTimeoutError, match=r"1 message of 2 came at /b within 0\.01 s; rec"
        ):
            server.wait_for_messages(2, path="/b", timeout=0.01)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_end_of_a_connection_is_waited_for(is_async):
    ends = []

    def wait(connection):
        with pytest.raises(WaitTimeoutError, match="the connection of / is open after 0 s still"):
            connection.wait_closed(timeout=0)
        connection.send("go")
        connection.wait_closed()
        ends.append(connection.close_code)

    async def wait_async(connection):
        with pytest.raises(WaitTimeoutError):
            await connection.wait_closed(timeout=0)
        await connection.send("go")
        await connection.wait_closed()
        ends.append(connection.close_code)

    with running_server() as server:
        server.handler("/")(wait_async if is_async else wait)
        with connect(server.url) as client:
            assert client.recv(DEADLINE_SECONDS) == "go"
            client.send("ignored")
            client.close(4321)
        server._recorder.wait_until(lambda: ends, DEADLINE_SECONDS)
    assert ends == [4321]
    assert server.received == ["ignored"]


def test_the_test_waits_for_the_end_as_well(server):
    @server.handler("/")
    def echo(connection):
        for message in connection:
            connection.send(message)

    with connect(server.url) as client:
        connection = server.wait_for_connection()
        with pytest.raises(WaitTimeoutError):
            connection.wait_closed(timeout=0.01)
        client.close(4000, "done")
    connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (4000, "done")
    assert not connection.is_open
