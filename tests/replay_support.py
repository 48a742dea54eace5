"""Recordings for tests of `WsServer.replay`, and clients of what was recorded."""

from contextlib import suppress

import pytest

import fastwsh
from fastwsh.testing import CheckError, WsServer, har, running_server

__all__ = ["BEGUN", "CHAT", "chat", "closed", "failure_of", "passes", "said", "say", "write"]

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


def say(server, *texts):
    with fastwsh.connect(server.url) as connection:
        for text in texts:
            connection.send(text)
