"""Scripts: what a client must say and gets to hear, and the words when it says something else."""

import re

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastwsh.testing import CheckError, WsServer
from wire import DEADLINE_SECONDS, Client


@pytest.fixture
def server():
    server = WsServer()
    server.start()
    yield server
    server.stop()


def say(server, *messages, path="/"):
    """Send messages, read whatever comes, and return the code that the server closes with."""
    with connect(server.url_for(path)) as client:
        try:
            for message in messages:
                client.send(message)
            while True:
                client.recv(1)
        except TimeoutError:
            return None
        except ConnectionClosed as closed:
            return closed.rcvd and closed.rcvd.code


def failure(server):
    """Stop the server and return the text of the only failure."""
    server.stop()
    with pytest.raises(CheckError) as caught:
        server.check()
    assert len(caught.value.errors) == 1
    return str(caught.value)


def test_a_conversation_goes_as_written(server):
    server.expect("hello").reply("world").reply(b"\x01").expect(json={"a": [1]})
    server.expect(re.compile(r"n\d+")).reply(lambda connection: connection.received[-1] * 2)
    server.script().expect(lambda message: message > "a").expect().expect_close(4000)
    with connect(server.url) as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "world"
        assert client.recv(DEADLINE_SECONDS) == b"\x01"
        client.send('{ "a": [1] }')
        client.send("n12")
        assert client.recv(DEADLINE_SECONDS) == "n12n12"
        client.send("b")
        client.send(b"whatever")
        client.close(4000)
    server.check()


def test_each_connection_plays_from_the_first_step_on(server):
    server.script("/chat").expect("hello").reply("world")
    for _ in range(2):
        with connect(server.url_for("/chat")) as client:
            client.send("hello")
            assert client.recv(DEADLINE_SECONDS) == "world"
    server.check()


def test_a_step_of_ones_own_may_break_the_connection(server):
    server.expect("hello").then(lambda connection: connection.reset())
    with Client(server.port) as client:
        client.handshake("/")
        client.send_frame(1, b"hello")
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)
    server.check()


def test_the_server_closes_when_the_script_says_so(server):
    server.expect("bye").close(4001, "bye")
    assert say(server, "bye") == 4001
    server.check()


@pytest.mark.parametrize(
    ("expected", "said", "text"),
    [
        ("hello", "hallo", "expected 'hello', but got 'hallo'"),
        ("1", b"1", "expected '1', but got b'1' (text was expected, and it is binary)"),
        (re.compile("a+"), "aab", "expected a match of 'a+', but got 'aab'"),
        (re.compile(b"a+"), "aa", "expected a match of b'a+', but got 'aa'"),
    ],
)
def test_a_wrong_message_is_named_with_its_step(server, expected, said, text):
    server.expect("first").expect(expected)
    assert say(server, "first", said) == 1011
    assert failure(server) == f"script of /: step 2 of 2 {text}"


def test_a_function_says_why_not(server):
    def is_even(message):
        assert int(message) % 2 == 0, "it is odd"

    server.expect(is_even)
    say(server, "3")
    assert "is_even accepts, but got '3': it is odd" in failure(server)


def test_a_function_that_fails_is_an_error_of_its_own(server):
    server.expect(lambda message: int(message) > 0)
    say(server, "three")
    text = failure(server)
    assert text.startswith("the handler of / raised ValueError")
    assert "in step 1 of 1 of the script of /" in text


def test_long_messages_are_compared_line_by_line(server):
    lines = [f"line {number}" for number in range(50)]
    server.expect("\n".join(lines))
    say(server, "\n".join([*lines[:20], "line twenty", *lines[21:]]))
    text = failure(server)
    place = len("\n".join(lines[:20])) + len("\nline ")
    assert f"The first difference is at character {place}." in text
    assert "\n--- expected\n+++ received\n" in text
    assert "\n-line 20\n+line twenty\n" in text
    assert len(text.splitlines()) < 20


def test_json_is_compared_by_its_values(server):
    server.expect(json={"user": "ada", "tags": [1, 2]})
    say(server, '{"tags": [1, 3], "user": "ada"}')
    text = failure(server)
    assert "\n-    2\n+    3\n" in text


def test_binary_is_compared_in_hex(server):
    server.expect(bytes(100))
    say(server, bytes(50) + b"\xff" + bytes(49))
    text = failure(server)
    assert "The first difference is at byte 50." in text
    assert "+00000030  00 00 ff 00" in text


def test_no_json_is_named(server):
    server.expect(json=1)
    say(server, "one")
    assert "which is no JSON" in failure(server)


def test_silence_is_a_failure(server):
    server.expect("hello", timeout=0.01)
    assert say(server) == 1011
    assert failure(server).endswith("expected 'hello', but nothing came within 0.01 s")


def test_a_client_that_leaves_early_is_a_failure(server):
    server.expect("one").expect("two")
    with connect(server.url) as client:
        client.send("one")
    assert failure(server) == (
        "script of /: step 2 of 2 expected 'two', but the connection of / is over: the client has "
        "closed it with 1000"
    )


def test_a_wrong_close_code_is_a_failure(server):
    server.script().expect_close(1000)
    with connect(server.url) as client:
        client.close(4000)
    assert failure(server).endswith("expected a close frame with 1000, but got one with 4000")


def test_a_message_after_the_last_step_is_a_failure(server):
    server.expect("one")
    assert say(server, "one", "two") == 1011
    expected = "script of /: after step 1, the last, expected nothing more, but got 'two'"
    assert failure(server) == expected


def test_a_script_that_nobody_plays_is_a_failure(server):
    server.script("/chat").expect("hello").reply("world")
    text = "script of /chat: no client came; step 1 of 2 is: expect 'hello'"
    assert failure(server) == text


def test_a_check_waits_for_a_script_that_is_being_played(server):
    server.expect("hello").reply("world").expect("more")
    with connect(server.url) as client:
        client.send("hello")
        client.recv(DEADLINE_SECONDS)
        with pytest.raises(CheckError, match="step 3 of 3 is still to come: expect 'more'"):
            server.check(timeout=0.01)
        client.send("more")
        server.check()


def test_a_connection_that_the_test_drops_is_excused(server):
    server.expect("one").reply("two").expect("three")
    server.drop_at(1)
    assert say(server, "one") is None
    with connect(server.url) as client:
        client.send("one")
        assert client.recv(DEADLINE_SECONDS) == "two"
        client.send("three")
    server.check()


def test_a_script_that_waits_when_the_server_stops_is_a_failure(server):
    server.expect("one")
    with connect(server.url):
        server.wait_for_connection()
        assert failure(server).endswith(
            "expected 'one', but the connection of / is over: the server stops"
        )


def test_nothing_comes_behind_a_close(server):
    with pytest.raises(ValueError, match=r"step 1 of the script of / \(close with 1000\) ends"):
        server.script().close().reply("x")


def test_an_expectation_is_one_thing(server):
    with pytest.raises(TypeError, match="not both"):
        server.expect("a", json=1)
    with pytest.raises(TypeError, match="3 is no message"):
        server.expect(3)


def test_a_step_may_wait_without_a_limit(server):
    server.expect_any_order("a", "b", timeout=None).reply("both").expect("c", timeout=None)
    server.script().expect_close(1000, timeout=None)
    with connect(server.url) as client:
        client.send("b")
        client.send("a")
        assert client.recv(DEADLINE_SECONDS) == "both"
        client.send("c")
        assert server.wait_for_message("c", timeout=None) == "c"
        assert server.wait_for_messages(3, timeout=None) == ["b", "a", "c"]
        assert server.wait_for_connection(timeout=None).path == "/"
    server.check(timeout=None)
