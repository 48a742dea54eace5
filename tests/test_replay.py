"""`WsServer.replay`: the server that was recorded, for clients that do what was recorded."""

import time
from functools import partial

import pytest

import fastwsh
from fastwsh.testing import har, running_server
from fastwsh.testing.replay_steps import steps_of
from replay_support import BEGUN, CHAT, chat, closed, passes, said, write
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

__all__ = ["write"]  # the fixture


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
