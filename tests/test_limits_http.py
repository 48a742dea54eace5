"""Limits on plain HTTP: bodies, and clients that neither send nor take what is theirs."""

import time
from pathlib import Path

from cgi_support import TEXT, Programs, programs
from conftest import StartServer
from http_support import request_head
from streams_support import OVER_BOTH, Over, over
from usage import Usage, wait_for_usage

__all__ = ["over", "programs"]  # fixtures

PROGRAM = "/cgi-bin/cat"


def post(length: int) -> bytes:
    return request_head(PROGRAM, "POST", (f"Content-Length: {length}",))


def test_a_body_beyond_the_limit_is_answered_413(programs: Programs) -> None:
    programs.add("cgi-bin/cat", TEXT + "cat")
    server = programs.serve("--max-http-body-bytes", "9")
    for length, status in ((9, 200), (10, 413)):
        with server.connect() as client:
            client.send(post(length) + bytes(length))
            assert client.read_response().status == status


def test_a_body_that_does_not_come_ends_the_connection(programs: Programs) -> None:
    programs.add("cgi-bin/cat", TEXT + "cat")
    server = programs.serve("--http-timeout", "0.1")
    idle = Usage.of(server)
    with server.connect() as client:
        client.send(post(9) + b"123")
        client.read_to_end()
        wait_for_usage(server, lambda usage: usage.descriptors <= idle.descriptors)


@OVER_BOTH
def test_an_answer_that_is_not_taken_ends_the_connection(
    start_server: StartServer, tmp_path: Path, over: Over
) -> None:
    """Over plain HTTP/1.1, and over TLS."""
    (tmp_path / "large").write_bytes(bytes(64 << 20))
    server = start_server("--http-timeout", "0.1", *over.options)
    idle = Usage.of(server)
    with over.connect_old(server) as client:
        client.send(request_head("/large"))
        assert client.read_response().status == 200
        # this client reads no further; the connection and the file are closed all the same
        wait_for_usage(server, lambda usage: usage.descriptors <= idle.descriptors)


def test_an_answer_may_take_longer_in_all(start_server: StartServer, tmp_path: Path) -> None:
    size = 16 << 20
    (tmp_path / "large").write_bytes(bytes(size))
    server = start_server("--http-timeout", "0.5")
    with server.connect() as client:
        client.send(request_head("/large"))
        assert client.read_response().status == 200
        for _ in range(16):
            # in all, more than twice the time that a standstill may take
            time.sleep(0.08)
            client.read(size // 16)
