"""msgutil moves messages, by call and by thread."""

import queue
import threading

import pytest

from fastwsh.pywebsocket import msgutil
from surface_support import client_frame, open_request

DEADLINE_SECONDS = 10


class Blocking:
    """A connection whose reader waits for what the test feeds it."""

    remote_addr = ("192.0.2.1", 4711)

    def __init__(self):
        self._bytes = queue.SimpleQueue()
        self.writes = queue.SimpleQueue()

    def feed(self, data):
        for byte in data:
            self._bytes.put(bytes([byte]))

    def hang_up(self):
        self._bytes.put(b"")

    def read(self, length):
        return b"".join(self._bytes.get() for _ in range(min(length, 1)))

    def write(self, data):
        self.writes.put(data)


@pytest.fixture
def request_(monkeypatch):
    # Threads here end with an exception, as pywebsocket's do; that is not what is tested.
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    request = open_request()
    request.connection = Blocking()
    return request


def test_functions_are_the_methods_of_the_stream():
    request = open_request(client_frame(0x81, b"Hello") + client_frame(0x88, b"\x03\xe8"))
    msgutil.send_message(request, "a", False)
    msgutil.send_message(request, "b", True, False)
    msgutil.send_message(request, b"c", True, True)
    msgutil.send_ping(request, "p")
    assert msgutil.receive_message(request) == "Hello"
    msgutil.close_connection(request)
    assert request.connection.written == bytes.fromhex("010161 800162 820163 890170" + "8802 03e8")


def test_bytes_are_written_as_they_are():
    request = open_request()
    msgutil._write(request, b"raw")
    assert request.connection.written == b"raw"


def test_receiver_queues_messages(request_):
    receiver = msgutil.MessageReceiver(request_)
    assert receiver.daemon
    assert receiver.receive_nowait() is None
    request_.connection.feed(client_frame(0x81, b"one") + client_frame(0x81, b"two"))
    assert [receiver.receive(), receiver.receive()] == ["one", "two"]


def test_receiver_calls_back(request_):
    seen = queue.SimpleQueue()
    msgutil.MessageReceiver(request_, seen.put)
    request_.connection.feed(client_frame(0x81, b"one") + client_frame(0x88, b"\x03\xe8"))
    assert seen.get(timeout=DEADLINE_SECONDS) == "one"
    assert seen.get(timeout=DEADLINE_SECONDS) is None


def test_receiver_ends_when_the_peer_closes(request_):
    receiver = msgutil.MessageReceiver(request_)
    request_.connection.feed(client_frame(0x88, b"\x03\xe8"))
    assert receiver.receive() is None
    receiver.join(DEADLINE_SECONDS)
    assert not receiver.is_alive()
    assert request_.connection.writes.get() == bytes.fromhex("8802 03e8")


def test_receiver_that_is_stopped_closes_the_connection(request_):
    receiver = msgutil.MessageReceiver(request_)
    receiver.stop()
    assert receiver._stop_requested
    request_.connection.feed(client_frame(0x81, b"last") + client_frame(0x88, b"\x03\xe8"))
    assert receiver.receive() == "last"
    receiver.join(DEADLINE_SECONDS)
    assert not receiver.is_alive()
    assert request_.server_terminated


def test_receiver_of_a_lost_connection_wakes_who_waits(request_):
    receiver = msgutil.MessageReceiver(request_)
    request_.connection.hang_up()
    request_.connection.hang_up()
    assert receiver.receive() is None
    receiver.join(DEADLINE_SECONDS)
    assert not receiver.is_alive()


def test_sender_sends_in_order(request_):
    sender = msgutil.MessageSender(request_)
    assert sender.daemon
    sender.send_nowait("a")
    sender.send("b")
    written = request_.connection.writes
    assert [written.get(), written.get()] == [b"\x81\x01a", b"\x81\x01b"]


def test_sender_reports_what_could_not_be_sent(request_):
    def fail(data):
        raise ConnectionResetError("gone")

    request_.connection.write = fail
    sender = msgutil.MessageSender(request_)
    for _ in range(2):
        with pytest.raises(msgutil.BadOperationException, match="gone") as caught:
            sender.send("x")
        assert isinstance(caught.value.__cause__, ConnectionResetError)
    sender.send_nowait("x")
    sender.join(DEADLINE_SECONDS)
    assert not sender.is_alive()
