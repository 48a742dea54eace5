"""Faults of the opening handshake, for functions of the test and for handlers of files."""

import threading
import time

import pytest
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from fastwsh.testing import running_server
from waiting import wait_until
from wire import DEADLINE_SECONDS, Client


@pytest.fixture
def server(write_handler, handler_root):
    write_handler("file", "request.ws_stream.receive_message()")
    with running_server(handler_root) as server:
        server.handler("/function")(lambda connection: connection.recv())
        yield server


def status_of(server, path):
    """Connect, and return the status that was answered."""
    try:
        with connect(server.url_for(path)):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


@pytest.mark.parametrize("path", ["/file", "/function"])
def test_handshakes_are_rejected_so_many_times(server, path):
    server.reject(429, times=2)
    assert [status_of(server, path) for _ in range(3)] == [429, 429, 101]
    assert server.attempts == 3


def test_a_fault_may_be_of_one_path(server):
    server.reject(403, path="/file")
    assert status_of(server, "/file") == 403
    assert status_of(server, "/function") == 101


def test_a_fault_needs_no_handler(server):
    server.reject(503, path="/new", times=1)
    assert [status_of(server, "/new") for _ in range(2)] == [503, 101]
    server.reject(410, times=1)
    assert [status_of(server, "/") for _ in range(2)] == [410, 101]


def test_a_number_of_handshakes_is_accepted(server):
    server.accept(2)
    assert [status_of(server, "/file") for _ in range(4)] == [101, 101, 503, 503]
    server.clear()
    server.accept(0, then=429, path="/file")
    assert status_of(server, "/file") == 429


@pytest.mark.parametrize("path", ["/file", "/function"])
def test_raw_bytes_are_the_answer(server, path):
    server.raw(b"HTTP/1.1 101 Swi")
    with Client(server.port) as client:
        client.send_request(path)
        assert client.read_to_end() == b"HTTP/1.1 101 Swi"


def test_no_bytes_may_be_the_answer(server):
    server.raw(b"", times=1)
    with pytest.raises(InvalidMessage):
        connect(server.url_for("/file"))
    assert status_of(server, "/file") == 101


def test_an_accept_header_is_wrong(server):
    server.wrong_accept(times=1)
    with pytest.raises(InvalidHandshake, match="Sec-WebSocket-Accept"):
        connect(server.url_for("/file"))
    assert status_of(server, "/file") == 101


def test_an_answer_is_late_by_so_much(server):
    server.delay(0.2)
    server.reject(503, times=1)
    for status in (503, 101):
        before = time.monotonic()
        assert status_of(server, "/function") == status
        assert time.monotonic() - before >= 0.2


@pytest.mark.parametrize("end", ["clear", "stop"])
def test_a_handshake_hangs_until_it_is_let_go(server, end):
    server.hang()
    with Client(server.port) as client:
        client.send_request("/file")
        wait_until(lambda: server.attempts > 0, "no connection has come")
        assert not client.socket_has_ended_within(0.05)
        ending = threading.Thread(target=getattr(server, end))
        ending.start()
        assert client.read_to_end() == b""
        ending.join(DEADLINE_SECONDS)
    assert server.connections == []


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            lambda server: server.reject(101),
            "status 101; an answer has one from 200 to 599",
        ),
        (lambda server: server.reject(503, times=-1), "times is -1"),
        (lambda server: server.accept(-1), "accept -1"),
        (lambda server: server.drop_at(0), "drop at message 0"),
    ],
)
def test_a_fault_that_makes_no_sense_is_named(server, fault, text):
    with pytest.raises(ValueError, match=text):
        fault(server)
