"""`WsServer.replay`: which connection of a recording a client gets, and its handshake."""

import pytest

import fastwsh
from fastwsh.testing import har, running_server
from replay_support import BEGUN, CHAT, chat, failure_of, passes, said, write
from wire import Client

__all__ = ["write"]  # the fixture


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
