"""`WsServer.replay`: how messages are compared with the recorded ones."""

import re

import pytest

import fastwsh
from fastwsh.testing import har, running_server
from replay_support import CHAT, failure_of, passes, said, say, write

__all__ = ["write"]  # the fixture


ORDER = '{"id": 7, "op": "buy", "meta": {"at": 1, "who": "me"}, "items": [{"id": 1, "n": 2}]}'


@pytest.mark.parametrize(
    ("options", "text", "is_good"),
    [
        ({}, ORDER, True),
        ({}, ORDER.replace(" ", ""), False),
        ({"match": "json"}, ORDER.replace(" ", ""), True),
        ({"match": "json"}, ORDER.replace("7", "7.0"), True),
        ({"match": "json"}, ORDER.replace("7", "true"), False),
        ({"match": "json"}, ORDER.replace("7", "8"), False),
        ({"ignore": ["id"]}, ORDER.replace("7", "8"), True),
        ({"ignore": ["id"]}, ORDER.replace('"id": 7, ', "").replace('"id": 1', '"id": 5'), True),
        ({"ignore": ["items.id"]}, ORDER.replace('"id": 1', '"id": 5'), True),
        ({"ignore": ["items.id"]}, ORDER.replace("7", "8"), False),
        ({"ignore": ["meta.at"]}, ORDER.replace('"at": 1', '"at": 2'), True),
        ({"ignore": ["at"], "match": "json"}, ORDER.replace('"who": "me"', '"who": "I"'), False),
        ({"ignore": ["at"]}, "no JSON", False),
        ({"match": re.compile(r'"(id|at)": \d+')}, ORDER.replace("7", "123"), True),
        (
            {"match": re.compile(r"\d+")},
            ORDER.replace("7", "123").replace('"n": 2', '"n": 9'),
            True,
        ),
        ({"match": re.compile(r"\d+")}, ORDER.replace("buy", "sell"), False),
        ({"match": re.compile(rb"\d+")}, ORDER, True),
        ({"match": re.compile(rb"\d+")}, ORDER.replace("7", "8"), False),
        ({"match": lambda recorded, got: len(recorded) == len(got)}, "x" * len(ORDER), True),
        ({"match": lambda recorded, got: recorded < got}, "", False),
    ],
)
def test_messages_are_compared_as_is_asked_for(write, options, text, is_good):
    file = write([said("c", ORDER), said("s", "ok")])

    def client(server):
        with fastwsh.connect(server.url) as connection:
            connection.send(text)
            assert connection.recv(20) == "ok"

    if is_good:
        passes(file, client, **options)
    else:
        assert "step 1 of 2" in failure_of(file, client, **options)


def test_a_function_says_why(write):
    def match(recorded, got):
        assert recorded.upper() == got, "it is not in upper case"

    text = failure_of(write([said("c", "a")]), lambda server: say(server, "a"), match=match)
    assert "it is not in upper case" in text


def test_a_function_that_fails_is_an_error_of_its_own(write):
    def match(recorded, got):
        raise LookupError(recorded + got)

    text = failure_of(write([said("c", "a")]), lambda server: say(server, "b"), match=match)
    assert "LookupError" in text
    assert "step 1 of 1" in text


@pytest.mark.parametrize(
    ("recorded", "text", "options"),
    [
        ("token=[redacted]; a", "token=anything\nat all; a", {}),
        ('{"token": "[redacted]", "a": 1}', '{"a": 1, "token": "xyz"}', {"match": "json"}),
        ('[{"t": "[redacted]"}]', '[{"t": {"deep": 1}}]', {"match": "json"}),
    ],
)
def test_what_was_redacted_may_be_anything(write, recorded, text, options):
    passes(write([said("c", recorded)]), lambda server: say(server, text), **options)
    wrong = text.replace("a", "b", 1).replace("deep", "t").replace("t", "u", 1)
    if not options:
        assert "step 1" in failure_of(
            write([said("c", recorded)]), lambda server: say(server, wrong), **options
        )


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"match": "fuzzy"}, ValueError, "fuzzy"),
        ({"match": 1}, TypeError, "it is"),
        ({"ignore": "id"}, TypeError, "write \\['id'\\]"),
        ({"ignore": ["id"], "match": re.compile("x")}, ValueError, "ignore= is for JSON"),
        ({"speed": -1}, ValueError, "speed is -1"),
        ({"speed": float("nan")}, ValueError, "speed is nan"),
        ({"speed": float("inf")}, ValueError, "speed is inf"),
        ({"speed": "1"}, TypeError, "speed '1'; give a number"),
        ({"timeout": "1"}, TypeError, "timeout '1'; give a number of seconds"),
        ({"timeout": -1}, ValueError, "timeout -1; give seconds from 0 on"),
        ({"path": 5}, TypeError, "path 5; give a str such as '/chat'"),
    ],
)
def test_arguments_are_checked_at_once(write, options, error, match):
    with running_server() as server, pytest.raises(error, match=match):
        server.replay(write(CHAT), **options)


def test_a_file_without_anything_to_replay_is_an_error(write, tmp_path):
    with running_server() as server:
        with pytest.raises(har.HarError, match="has no WebSocket connection"):
            server.replay(write())
        with pytest.raises(har.HarError, match="cannot read"):
            server.replay(tmp_path / "none.har")
