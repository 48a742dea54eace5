"""`WsServer.replay`: the server that was recorded, for clients that do what was recorded or not."""

import re
import time
from contextlib import suppress
from functools import partial

import pytest

import fastwsh
from fastwsh.testing import CheckError, WsServer, har, running_server
from fastwsh.testing.replay_steps import steps_of
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

BEGUN = 1_795_928_400.0


def said(who, data, at=0.0, opcode=None, fragments=()):
    """A message: "c" for the client's, "s" for the server's."""
    opcode = opcode or (har.TEXT if isinstance(data, str) else har.BINARY)
    return har.Message(who == "c", BEGUN + at, opcode, data, fragments)


def closed(who, code=1000, reason="", at=0.0):
    body = b"" if code is None else code.to_bytes(2) + reason.encode()
    return said(who, body, at, har.CLOSE)


CHAT = [said("c", "hello"), said("s", "world"), said("c", b"\x01"), said("s", b"\x02")]


@pytest.fixture
def write(tmp_path):
    """Write a recording: lists of messages at /, or whole conversations."""

    def write(*conversations, path="/", **members):
        file = tmp_path / "session.har"
        whole = [
            one
            if isinstance(one, har.Conversation)
            else har.Conversation(f"wss://real.example{path}", BEGUN, messages=list(one), **members)
            for one in conversations
        ]
        har.write(file, whole)
        return file

    return write


def failure_of(file, client, **options):
    """Let a client at a replay; return the text of what is wrong with it."""
    server = WsServer()
    with server:
        server.replay(file, **options)
        # the server may close
        with suppress(fastwsh.FastwshError, EOFError):
            client(server)
    with pytest.raises(CheckError) as raised:
        server.check()
    return str(raised.value)


def passes(file, client, **options):
    with running_server() as server:
        server.replay(file, **options)
        client(server)


def chat(server, *, first="hello", second=b"\x01", code=1000):
    with fastwsh.connect(server.url) as connection:
        connection.send(first)
        assert connection.recv(20) == "world"
        connection.send(second)
        assert connection.recv(20) == b"\x02"
        connection.close(code)


# --- what the server does


def test_a_client_that_does_the_same_gets_the_same(write):
    passes(write([*CHAT, closed("c"), closed("s")]), chat)


def test_a_recording_without_an_end_leaves_the_end_to_the_client(write):
    passes(write(CHAT), chat)
    passes(write(CHAT), partial(chat, code=4000))


def test_the_server_closes_as_it_did(write):
    file = write([said("s", "bye"), closed("s", 4001, "sö long"), closed("c", 4001)])

    def client(server):
        with fastwsh.connect(server.url) as connection:
            assert connection.recv(20) == "bye"
            with pytest.raises(fastwsh.ConnectionClosed) as raised:
                connection.recv(20)
        assert (raised.value.code, raised.value.reason) == (4001, "sö long")

    passes(file, client)


@pytest.mark.parametrize("code", [None, 1000, 1001, 1005, 2999, 4999, 0])
def test_close_codes_are_as_recorded_even_wrong_ones(write, code):
    file = write([closed("s", code)])

    def client(server):
        with Client(server.port) as client:
            client.handshake("/")
            assert client.read_frame().close_code == code
            client.send_close(None)
            assert client.read_to_end() == b""

    passes(file, client)


def test_the_answer_to_a_close_frame_is_as_recorded(write):
    file = write([closed("c", 1000), closed("s", 4444, "as you like")])

    def client(server):
        with fastwsh.connect(server.url) as connection:
            connection.close()
        assert (connection.close_code, connection.close_reason) == (4444, "as you like")

    passes(file, client)


@pytest.mark.parametrize("was_reset", [True, False])
def test_an_unclean_end_is_one_again(write, was_reset):
    file = write([said("s", "x")], end=har.End(False, was_reset, BEGUN))

    def client(server):
        with Client(server.port) as client:
            client.handshake("/")
            assert client.read_frame().payload == b"x"
            if was_reset:
                with pytest.raises(ConnectionResetError):
                    client.socket.recv(1)
            else:
                assert client.socket.recv(1) == b""

    passes(file, client)


def test_a_client_that_went_may_go_again(write):
    file = write([said("c", "x")], end=har.End(True, True, BEGUN))

    def client(server):
        client = Client(server.port)
        client.handshake("/")
        client.send_frame(TEXT, b"x")
        client.close()

    passes(file, client)


def test_frames_are_as_recorded(write):
    file = write(
        [
            said("s", "größer", fragments=(3, 0, 5)),
            said("s", b"abc", fragments=(1, 2)),
            said("s", b"\xff", opcode=har.TEXT),
            said("s", b"ping", opcode=har.PING),
            said("s", b"pong", opcode=har.PONG),
            said("s", ""),
        ]
    )

    def client(server):
        with Client(server.port) as client:
            client.handshake("/")
            frames = [client.read_frame() for _ in range(9)]
            client.send_close()
        assert frames == [
            Frame(TEXT, b"gr", fin=False),
            Frame(CONTINUATION, b"", fin=False),
            Frame(CONTINUATION, "ößer".encode()),
            Frame(BINARY, b"a", fin=False),
            Frame(CONTINUATION, b"bc"),
            Frame(TEXT, b"\xff"),
            Frame(PING, b"ping"),
            Frame(PONG, b"pong"),
            Frame(TEXT, b""),
        ]

    passes(file, client)


def test_pings_and_pongs_of_the_client_are_no_steps(write):
    file = write(
        [
            said("c", b"1", opcode=har.PING),
            said("c", b"2", opcode=har.PING),
            said("s", b"2", opcode=har.PONG),
            said("c", b"", opcode=har.PONG),
            *CHAT,
        ]
    )
    assert len(steps_of(har.read(file)[0])) == 4
    passes(file, chat)

    def pinging(server):
        with Client(server.port) as client:
            client.handshake("/")
            client.send_frame(PING, b"other")
            assert client.read_frame() == Frame(PONG, b"other")
            client.send_frame(TEXT, b"hello")
            assert client.read_frame().payload == b"world"
            client.send_frame(BINARY, b"\x01")
            assert client.read_frame().payload == b"\x02"
            client.send_close()
            assert client.read_frame().opcode == CLOSE

    passes(file, pinging)


# --- the handshake


def test_the_answer_has_the_subprotocol_and_the_headers_that_it_had(write):
    headers = [
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", "of another key"),
        ("Sec-WebSocket-Protocol", "b"),
        ("X-Session", "1"),
        ("X-Session", "2"),
        ("Set-Cookie", har.REDACTED),
    ]
    file = write(CHAT[:2], response_headers=headers)

    def client(server):
        with fastwsh.connect(server.url, subprotocols=["a", "b"]) as connection:
            assert (connection.subprotocol, connection.is_compressed) == ("b", False)
            names = [name for name, _ in connection.response_headers]
            assert names.count("x-session") == 2
            assert "set-cookie" not in names
            connection.send("hello")
            assert connection.recv(20) == "world"

    passes(file, client)


def test_no_subprotocol_is_chosen_where_none_was(write):
    def client(server):
        with fastwsh.connect(server.url, subprotocols=["a"]) as connection:
            assert connection.subprotocol is None

    passes(write([]), client)


def test_deflate_is_agreed_to_where_it_was(write):
    headers = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    text = "again " * 1000

    def client(server):
        with fastwsh.connect(server.url) as connection:
            assert connection.is_compressed
            assert connection.recv(20) == text

    passes(write([said("s", text, fragments=(9, 3))], response_headers=headers), client)


def test_a_subprotocol_that_is_not_offered_fails(write):
    file = write([], response_headers=[("Sec-WebSocket-Protocol", "b")])
    text = failure_of(file, lambda server: fastwsh.connect(server.url, subprotocols=["x", "y"]))
    assert "the subprotocol is b, and the client offers x, y" in text
    assert "offers none" in failure_of(file, lambda server: fastwsh.connect(server.url))
    passes(file, lambda server: fastwsh.connect(server.url).close(), strict=False)


def test_a_refusal_is_as_recorded(write):
    refused = har.Conversation(
        "ws://a/",
        BEGUN,
        403,
        "Not You",
        response_headers=[("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")],
        body=b"no",
    )

    def client(server):
        with pytest.raises(fastwsh.ConnectRefusedError) as raised:
            fastwsh.connect(server.url)
        assert (raised.value.status, raised.value.body) == (403, b"no")
        assert "403 Not You" in str(raised.value) or "403" in str(raised.value)

    passes(write(refused), client)


def test_a_handshake_without_an_answer_has_none(write):
    def client(server):
        with Client(server.port) as client:
            client.send_request("/")
            assert client.read_to_end() == b""

    passes(write(har.Conversation("ws://a/", BEGUN, 0, "")), client)


# --- several connections


def test_connections_come_by_path_and_in_their_order(write):
    conversations = [
        har.Conversation(f"ws://a{resource}", BEGUN, messages=[said("s", text)])
        for resource, text in [
            ("/a", "a1"), ("/b?x=1", "b1"), ("/a", "a2"), ("/b?x=2", "b2"), ("/b?x=3", "b3"),
        ]
    ]  # fmt: skip

    def client(server):
        got = []
        for resource in ("/b?x=2", "/a", "/b?x=9", "/a", "/b"):
            with fastwsh.connect(server.url_for(resource)) as connection:
                got.append(connection.recv(20))
        assert got == ["b2", "a1", "b1", "a2", "b3"]

    passes(write(*conversations), client)


def test_the_root_stands_for_every_path_if_it_was_not_recorded(write):
    conversations = [
        har.Conversation(f"ws://a/{name}", BEGUN, messages=[said("s", name)]) for name in "ab"
    ]

    def client(server):
        for name in "ab":
            with fastwsh.connect(server.url) as connection:
                assert connection.recv(20) == name

    passes(write(*conversations), client)


def test_a_connection_too_many_fails(write):
    file = write(CHAT, CHAT)

    def client(server):
        for _ in range(3):
            chat(server)

    text = failure_of(file, client)
    assert "a client came to / once more; the recording has 2 connections for it" in text
    passes(file, client, repeat=True)


def test_a_path_that_was_not_recorded_fails(write):
    file = write(CHAT, path="/feed")
    text = failure_of(file, lambda server: fastwsh.connect(server.url_for("/fed?x")))
    assert "a client came to /fed?x; the recording has /feed" in text


def test_a_connection_for_which_no_client_comes_fails(write):
    file = write(CHAT, CHAT)
    text = failure_of(file, chat)
    assert "session.har: no client came for connection 2 of 2 (/)" in text
    passes(file, chat, strict=False)


def test_one_path_of_a_file_may_be_replayed(write):
    other = har.Conversation("ws://a/hot-reload", BEGUN, messages=[said("c", "never")])
    file = write(CHAT, other)
    passes(file, chat, path="/")
    with running_server() as server, pytest.raises(har.HarError, match="it has /, /hot-reload"):
        server.replay(file, path="/nope")


def test_clients_may_come_at_the_same_time(write):
    file = write(*[[said("c", str(n)), said("s", str(n))] for n in range(8)])

    def client(server):
        connections = [fastwsh.connect(server.url) for _ in range(8)]
        for number, connection in reversed(list(enumerate(connections))):
            connection.send(str(number))
            assert connection.recv(20) == str(number)
            connection.close()

    passes(file, client)


# --- clients that stray


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


def say(server, *texts):
    with fastwsh.connect(server.url) as connection:
        for text in texts:
            connection.send(text)


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


# --- matching


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


# --- time


def test_speed_keeps_the_recorded_distances(write):
    file = write([said("s", "a", 0.0), said("s", "b", 0.3), said("s", "c", 1.0)])

    def took(**options):
        with running_server() as server:
            server.replay(file, **options)
            with fastwsh.connect(server.url) as connection:
                started = time.monotonic()
                got = [connection.recv(20) for _ in range(3)]
                assert got == ["a", "b", "c"]
                return time.monotonic() - started

    assert took(speed=2) >= 0.49
    assert took(speed=1) >= 0.99
    assert took() < took(speed=1)


def test_pings_are_answered_during_a_pause(write):
    file = write([said("s", "a", 0.0), said("c", "early", 0.1), said("s", "b", 3600)])
    with running_server() as server:
        server.replay(file, speed=1)
        with fastwsh.connect(server.url) as connection:
            assert connection.recv(20) == "a"
            connection.send("early")
            connection.wait_pong(connection.ping(), 20)
        # the end of the client ends the pause
        server._recorder.wait_idle(20)
        errors = [str(error) for error in server.take_errors()]
    assert len(errors) == 1
    assert "the server has to send 'b', but the connection of / is over" in errors[0]


# --- with the rest of the test server


def test_faults_and_the_record_go_together_with_a_replay(write):
    with running_server() as server:
        server.replay(write(CHAT))
        server.reject(503, times=1)
        with pytest.raises(fastwsh.ConnectRefusedError):
            fastwsh.connect(server.url)
        chat(server)
        assert server.received == ["hello", b"\x01"]
        assert server.attempts == 2


def test_clear_ends_a_replay(write):
    with running_server() as server:
        server.replay(write(CHAT))
        server.clear()
        with pytest.raises(fastwsh.ConnectRefusedError) as raised:
            fastwsh.connect(server.url)
        assert raised.value.status == 404
        server.expect("hello").reply("again")
        with fastwsh.connect(server.url) as connection:
            connection.send("hello")
            assert connection.recv(20) == "again"


def test_what_is_recorded_can_be_replayed(tmp_path):
    file = tmp_path / "session.har"

    def client(server):
        with fastwsh.connect(server.url_for("/feed"), subprotocols=["x", "b"]) as connection:
            assert connection.subprotocol == "b"
            for message in ("hello", b"\x00\xff", "ü" * 70_000):
                connection.send(message)
                assert connection.recv(20) == message
            connection.wait_pong(connection.ping(b"x"), 20)
            connection.send("close")
            with pytest.raises(fastwsh.ConnectionClosed) as raised:
                connection.recv(20)
            assert (raised.value.code, raised.value.reason) == (4321, "done")
        with pytest.raises(fastwsh.ConnectRefusedError) as refused:
            fastwsh.connect(server.url_for("/none"))
        assert refused.value.status == 404

    with running_server() as real, running_server() as server:

        @real.handler("/feed", subprotocols=["b"])
        def feed(connection):
            for message in connection:
                if message == "close":
                    connection.close(4321, "done")
                else:
                    connection.send(message)

        server.record(real.url, file)
        client(server)
    passes(file, client)
