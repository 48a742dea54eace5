"""Clients that misbehave once they are connected: that do not read, do not answer, or flood."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT, assert_answers, nothing_stays
from usage import Usage, allow_descriptors, wait_for_usage
from wire import CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame, encode_frame

pytestmark = ALL_WAYS

SHORT_CONNECTIONS = 3000
IDLE_CONNECTIONS = 10_000
CLIENTS = 100

# Sends until somebody has had enough.
SENDS = """\
while True:
    request.ws_stream.send_message("x" * 10000)
"""


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)
    write_handler("sends", SENDS)
    write_handler("closes", "pass")
    return start_server("-w", "handlers", "--close-timeout", "0.3", log_level="info")


def open_many(server: Server, path: str, count: int, stack: ExitStack) -> list[Client]:
    clients = [stack.enter_context(server.connect()) for _ in range(count)]
    for client in clients:
        client.send_request(path)
    for client in clients:
        assert client.read_response().status == 101
    return clients


@pytest.mark.parametrize("end", [Client.close, Client.reset])
def test_clients_that_never_read_hold_only_their_own_handler(
    server: Server, end: Callable[[Client], None]
) -> None:
    with nothing_stays(server), ExitStack() as stack:
        clients = open_many(server, "/sends", 20, stack)
        assert_answers(server)
        # what the kernel takes for them is not the server's memory
        assert Usage.of(server).memory_kib < 200 * 1024
        for client in clients:
            end(client)


def test_clients_that_never_answer_a_close_are_cut_off(server: Server) -> None:
    with nothing_stays(server), ExitStack() as stack:
        for client in open_many(server, "/closes", CLIENTS, stack):
            assert client.read_frame().opcode == CLOSE
            assert client.read_to_end() == b""


@pytest.mark.parametrize(
    ("flood", "answers"),
    [
        pytest.param(encode_frame(PING, b"ping"), [Frame(PONG, b"ping")], id="pings"),
        pytest.param(encode_frame(PONG, b"pong"), [], id="pongs"),
        pytest.param(encode_frame(TEXT, b"x"), [Frame(TEXT, b"x")], id="one byte messages"),
        pytest.param(encode_frame(TEXT, b""), [Frame(TEXT, b"")], id="empty messages"),
        pytest.param(
            encode_frame(TEXT, b"", fin=False) + encode_frame(CONTINUATION, b""),
            [Frame(TEXT, b"")],
            id="empty fragments",
        ),
    ],
)
def test_floods_are_answered_at_the_pace_of_who_reads(
    server: Server, flood: bytes, answers: list[Frame]
) -> None:
    times = 20_000
    with nothing_stays(server), server.connect() as client:
        client.handshake("/echo")
        sender = threading.Thread(target=client.send, args=(flood * times,))
        sender.start()
        assert_answers(server)
        for _ in range(times):
            for answer in answers:
                assert client.read_frame() == answer
        sender.join()
        client.send_close()
        assert client.read_frame().close_code == 1000


def test_a_flood_of_empty_fragments_is_a_message_with_an_end(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--max-fragments", "100000")
    with server.connect() as client:
        client.handshake("/echo")
        client.send_frame(TEXT, b"", fin=False)
        before = Usage.of(server).memory_kib
        client.send(encode_frame(CONTINUATION, b"", fin=False) * 100_000)
        assert client.read_frame().close_code == 1009
        assert Usage.of(server).memory_kib - before < 1024


def test_floods_that_nobody_reads_the_answers_of_take_no_memory(server: Server) -> None:
    flood = encode_frame(PING, b"x" * 125) * 100_000
    with nothing_stays(server), server.connect() as client:
        client.handshake("/echo")
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.send(flood)
        assert_answers(server)


# thousands of connections take their time beside load
def test_many_short_connections_leave_nothing(server: Server) -> None:
    with nothing_stays(server):
        for number in range(SHORT_CONNECTIONS):
            with server.connect() as client:
                client.handshake("/echo")
                client.send_frame(TEXT, b"x")
                assert client.read_frame() == Frame(TEXT, b"x")
                if number % 3 == 0:
                    client.reset()
                elif number % 3 == 1:
                    client.send_close()
                    assert client.read_frame().opcode == CLOSE


def test_ten_thousand_idle_connections(server: Server, concurrency: str) -> None:
    count = IDLE_CONNECTIONS if concurrency == "hub" else IDLE_CONNECTIONS // 5
    allow_descriptors(count)
    with nothing_stays(server, memory_kib=64 * 1024), ExitStack() as stack:
        clients = []
        # no more than wait in the kernel to be accepted
        for _ in range(count // 100):
            clients += open_many(server, "/echo", 100, stack)
        wait_for_usage(server, lambda usage: usage.descriptors >= count)
        assert_answers(server)
        for client in clients:
            client.send_frame(TEXT, b"still here")
        for client in clients:
            assert client.read_frame() == Frame(TEXT, b"still here")
