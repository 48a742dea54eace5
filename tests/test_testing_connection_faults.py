"""Faults of an open connection, byte by byte as the client gets them."""

import contextlib
import socket
import ssl
import threading
import time

import pytest

from fastwsh.testing import Disconnected, make_tls_files, running_server
from fastwsh.testing.frames import encode_frame
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, TEXT, Client, Frame

NORMAL = (1000).to_bytes(2)


@pytest.fixture
def server(write_handler, handler_root):
    write_handler(
        "echo",
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    request.ws_stream.send_message(message)",
    )
    with running_server(handler_root) as server:
        yield server


def serve(server, function):
    """Serve `/` by a function, and return a client of it."""
    server.handler("/")(function)
    client = Client(server.port)
    client.handshake("/")
    return client


def is_reset(client):
    """Whether the connection ends by a reset, and nothing comes before it."""
    try:
        return client.socket.recv(1) is None
    except ConnectionResetError:
        return True


def test_raw_bytes_are_sent_as_they_are(server):
    def raw(connection):
        connection.send("before")
        connection.send_raw(b"\xff\xff")
        connection.recv()

    with serve(server, raw) as client:
        assert client.read_frame() == Frame(TEXT, b"before")
        assert client.read(2) == b"\xff\xff"


def test_frames_are_sent_as_they_are_told(server):
    def frames(connection):
        connection.send_frame(BINARY, b"ab", fin=False, rsv=5, mask=b"\x01\x02\x03\x04")
        connection.send_frame(3, "ä", length=2)
        connection.send_frame(PING, b"", length=126)
        connection.send_frame(CLOSE, NORMAL)
        connection.recv()

    with serve(server, frames) as client:
        # RSV1 and RSV3, binary; masked, two bytes; the mask; b"ab" with that
        assert client.read(8) == bytes.fromhex("52 82 01020304 6060")
        assert client.read(4) == bytes.fromhex("83 02 c3a4")
        assert client.read(4) == bytes.fromhex("89 7e 007e")
        assert client.read_frame() == Frame(CLOSE, NORMAL)
        client.send_close()
        # no second close frame
        assert client.read_to_end() == b""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"opcode": 16}, "opcode is 16"),
        ({"opcode": 1, "rsv": 8}, "rsv is 8"),
        ({"opcode": 1, "mask": b"abc"}, "a mask of 3 bytes"),
        ({"opcode": 1, "length": -1}, "length is -1"),
    ],
)
def test_a_frame_has_only_so_much_room(arguments, text):
    with pytest.raises(ValueError, match=text):
        encode_frame(**arguments)


def test_lengths_take_as_many_bytes_as_they_need():
    assert encode_frame(2, bytes(126))[:4] == bytes.fromhex("82 7e 007e")
    assert encode_frame(2, bytes(1 << 16))[:10] == bytes.fromhex("82 7f 0000000000010000")
    assert encode_frame(2, length=(1 << 64) - 1) == bytes.fromhex("82 7f ffffffffffffffff")


def test_a_handler_resets_the_connection(server):
    ended = threading.Event()

    def reset(connection):
        connection.reset()
        with pytest.raises(Disconnected, match="it was reset"):
            connection.send("x")
        with pytest.raises(Disconnected, match="it was reset"):
            connection.recv()
        ended.set()

    with serve(server, reset) as client:
        assert is_reset(client)
    assert ended.wait(DEADLINE_SECONDS)
    server.stop()
    assert not any("ERROR" in line for line in server.log)


@pytest.mark.parametrize("path", ["/", "/echo"])
def test_a_test_resets_a_connection_whose_handler_waits(server, path):
    server.handler("/")(lambda connection: connection.recv())
    with Client(server.port) as client:
        client.handshake(path)
        server.wait_for_connection().reset()
        assert is_reset(client)
    server.stop()
    assert not any("ERROR" in line for line in server.log)


def test_a_connection_in_the_hub_is_reset(write_handler, handler_root):
    write_handler("wait", "request.ws_stream.receive_message()")
    with running_server(handler_root, concurrency="hub") as server, Client(server.port) as client:
        client.handshake("/wait")
        server.wait_for_connection().reset()
        assert is_reset(client)


@pytest.fixture
def tls_client(tmp_path):
    """Connect with TLS to a handler; an end without TLS's good-bye is an exception."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(tls=make_tls_files(tmp_path)))

        def serve(function):
            server.handler("/")(function)
            plain = socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS)
            tls = server.client_ssl_context().wrap_socket(
                plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
            )
            client = stack.enter_context(Client.over(tls, server.port))
            client.handshake("/")
            return client

        yield serve


def test_a_reset_comes_without_the_good_bye_of_tls(tls_client):
    client = tls_client(lambda connection: connection.reset())
    # which of the two depends on OpenSSL
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        client.socket.recv(1)


def test_half_a_connection_ends_with_the_good_bye_of_tls(tls_client):
    client = tls_client(lambda connection: (connection.half_close(), connection.recv()))
    assert client.socket.recv(1) == b""


def test_a_reset_wakes_a_handler_that_sends(server):
    sending = threading.Event()

    def flood(connection):
        sending.set()
        while True:
            connection.send(bytes(1 << 20))

    with serve(server, flood):
        assert sending.wait(DEADLINE_SECONDS)
        server.wait_for_connection().reset()
        server.stop()
    assert server.take_errors() == []


def test_the_server_ends_its_direction_only(server):
    def half_close(connection):
        connection.send("last")
        connection.half_close()
        assert connection.recv() == "still here"
        with pytest.raises(Disconnected):
            connection.send("too late")

    with serve(server, half_close) as client:
        assert client.read_frame() == Frame(TEXT, b"last")
        # FIN, and no close frame
        assert client.read_to_end() == b""
        client.send_frame(TEXT, b"still here")
        client.socket.shutdown(socket.SHUT_WR)
        server.wait_for_message("still here")


def test_a_handler_stalls(server):
    def stall(connection):
        connection.stall(0.1)
        connection.send("late")

    before = time.monotonic()
    with serve(server, stall) as client:
        assert client.read_frame() == Frame(TEXT, b"late")
    assert time.monotonic() - before >= 0.1


@pytest.mark.parametrize("seconds", [DEADLINE_SECONDS, float("inf")])
def test_stopping_ends_a_stall(server, seconds):
    with serve(server, lambda connection: connection.stall(seconds)):
        server.wait_for_connection()
        before = time.monotonic()
        server.stop()
        assert time.monotonic() - before < DEADLINE_SECONDS / 2


@pytest.mark.parametrize("path", ["/", "/echo"])
def test_what_is_sent_trickles(server, path):
    @server.handler("/")
    def echo(connection):
        for message in connection:
            connection.send(message)

    with Client(server.port) as client:
        client.handshake(path)
        server.wait_for_connection().throttle(1000)
        client.send_frame(TEXT, b"x" * 200)
        before = time.monotonic()
        # header and payload in pieces of a twentieth of a second
        assert client.read_frame() == Frame(TEXT, b"x" * 200)
        assert time.monotonic() - before >= 0.1
        server.connections[0].throttle(None)
        client.send_frame(TEXT, b"y")
        assert client.read_frame() == Frame(TEXT, b"y")


def test_a_rate_is_above_nothing(server):
    with serve(server, lambda connection: connection.recv()):
        connection = server.wait_for_connection()
        with pytest.raises(ValueError, match="a rate of 0 bytes per second"):
            connection.throttle(0)


@pytest.mark.parametrize("path", ["/", "/echo"])
def test_nothing_is_read_while_reading_is_paused(server, path):
    @server.handler("/")
    def echo(connection):
        for message in connection:
            connection.send(message)

    with Client(server.port) as client:
        client.handshake(path)
        connection = server.wait_for_connection()
        connection.pause_reading()
        client.socket.settimeout(0.2)
        frame = encode_frame(BINARY, bytes(1 << 20), mask=bytes(4))
        # more than the system's buffers hold
        with pytest.raises(TimeoutError):
            client.send(frame * 64)
        assert connection.received == []
        connection.reset()


def test_reading_goes_on_after_a_pause(server):
    def echo(connection):
        for message in connection:
            connection.send(message)

    with serve(server, echo) as client:
        connection = server.wait_for_connection()
        connection.pause_reading()
        client.send_frame(TEXT, b"x")
        assert not client.socket_has_ended_within(0.05)
        connection.resume_reading()
        assert client.read_frame() == Frame(TEXT, b"x")


def test_everything_is_dropped_at_a_message(server):
    with Client(server.port) as first, Client(server.port) as second:
        for client in (first, second):
            client.handshake("/echo")
        server.wait_for_connection(2)
        server.drop_at(3)
        for client, message in ((first, b"1"), (second, b"2")):
            client.send_frame(TEXT, message)
            assert client.read_frame() == Frame(TEXT, message)
        first.send_frame(TEXT, b"3")
        assert is_reset(first)
        assert is_reset(second)
    assert server.received == ["1", "2", "3"]
    with Client(server.port) as third:
        third.handshake("/echo")
        third.send_frame(TEXT, b"4")
        assert third.read_frame() == Frame(TEXT, b"4")


def test_a_drop_may_be_of_one_path(server):
    server.handler("/")(lambda connection: connection.recv())
    server.drop_at(1, path="/echo")
    with Client(server.port) as other, Client(server.port) as client:
        other.handshake("/")
        client.handshake("/echo")
        server.wait_for_connection(2)
        client.send_frame(TEXT, b"x")
        assert is_reset(client)
        other.send_frame(TEXT, b"x")
        assert other.read_frame() == Frame(CLOSE, NORMAL)
