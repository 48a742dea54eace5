"""`WsServer.replay`: what is said of clients that do something else than what was recorded."""

from functools import partial

import pytest

import fastwsh
from fastwsh.testing import CheckError, running_server
from replay_support import CHAT, chat, closed, failure_of, passes, said, say, write

__all__ = ["write"]  # the fixture


def test_a_failure_shows_the_step_what_was_expected_what_came_and_the_difference(write):
    file = write(CHAT)
    text = failure_of(file, partial(chat, first="hallo"))
    assert text.splitlines() == [
        f"replay of {file}: connection 1 of 1 (/), step 1 of 4: expected 'hello', but got 'hallo'",
        "- 'hello'",
        "+ 'hallo'",
    ]
    text = failure_of(write(CHAT), partial(chat, second=b"\x00"))
    assert "step 3 of 4: expected b'\\x01', but got b'\\x00'" in text
    text = failure_of(write(CHAT), partial(chat, second="\x01"))
    assert "(binary was expected, and it is text)" in text


def test_the_difference_of_json_is_shown_member_by_member(write):
    file = write([said("c", '{"op":"sub","list":[1,2],"id":1}')])
    text = failure_of(
        file, lambda server: say(server, '{"op":"sub","list":[1,3],"id":1}'), timeout=20
    )
    assert "\n-    2\n+    3" in text


def test_the_client_learns_that_it_has_strayed(write):
    with running_server() as server:
        server.replay(write(CHAT))
        with fastwsh.connect(server.url) as connection:
            connection.send("hallo")
            with pytest.raises(fastwsh.ConnectionClosed) as raised:
                connection.recv(20)
        assert len(server.take_errors()) == 1
    assert (raised.value.code, raised.value.reason) == (1011, "the replay failed: step 1 of 4")


def test_a_client_that_leaves_early_fails(write):
    text = failure_of(write(CHAT), lambda server: say(server, "hello"))
    assert "step 3 of 4: the client has to send b'\\x01', but the connection of / is over" in text
    passes(write(CHAT), lambda server: say(server, "hello"), strict=False)


def test_a_client_that_leaves_before_the_server_has_said_all_fails(write):
    file = write([said("s", str(number)) for number in range(50)] + [said("c", "done")])
    with running_server() as server:
        server.replay(file)
        with fastwsh.connect(server.url) as connection:
            assert connection.recv(20) == "0"
        server.wait_for_connection()
        server._recorder.wait_idle(20)
        errors = [str(error) for error in server.take_errors()]
    assert len(errors) == 1
    assert "of 51: the " in errors[0]


def test_a_client_that_says_more_fails(write):
    def client(server):
        with fastwsh.connect(server.url) as connection:
            connection.send("hello")
            connection.send("more")
            connection.recv(20)
            connection.recv(20)

    text = failure_of(write(CHAT[:2]), client)
    assert "after step 2, the last: nothing more was to come, but the client sent 'more'" in text


def test_a_client_that_closes_with_another_code_fails(write):
    file = write([*CHAT, closed("c", 1000), closed("s")])
    text = failure_of(file, partial(chat, code=4000))
    assert "step 5 of 5: the client has to close with 1000, but it closed with 4000" in text
    passes(file, partial(chat, code=4000), strict=False)


def test_a_client_that_says_nothing_fails_after_the_timeout(write):
    def client(server):
        with fastwsh.connect(server.url) as connection:
            connection.recv(20)

    text = failure_of(write(CHAT), client, timeout=0.05)
    assert "the client has to send 'hello', but nothing came within 0.05 s" in text


def test_a_client_that_stays_where_it_had_closed_fails(write):
    file = write([closed("c", 1000)])
    with running_server() as server:
        server.replay(file, timeout=None)
        with fastwsh.connect(server.url):
            server.wait_for_connection()
            with pytest.raises(CheckError, match="is still to come: the client has to close with"):
                server.check(timeout=0.05)


def test_without_strictness_order_and_others_do_not_matter(write):
    file = write([said("c", "a"), said("c", "b"), said("s", "now"), said("c", "c")])

    def client(server):
        with fastwsh.connect(server.url) as connection:
            for text in ("b", "other", "a"):
                connection.send(text)
            assert connection.recv(20) == "now"
            connection.send("noise")
            connection.send("c")
            connection.send("noise")

    passes(file, client, strict=False)
    assert "expected 'a', but got 'b'" in failure_of(file, client)
    text = failure_of(file, lambda server: hold(server, "a", "x"), strict=False, timeout=0.1)
    assert "the client has to send 'b', but nothing came" in text


def hold(server, *texts):
    with fastwsh.connect(server.url) as connection:
        for text in texts:
            connection.send(text)
        connection.recv(20)
