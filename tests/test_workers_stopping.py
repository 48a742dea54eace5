"""SIGTERM to one of several workers, whose clients do not answer the close frame."""

import signal
from contextlib import ExitStack

import pytest

from conftest import Server, StartServer, WriteHandler
from metrics_support import Metrics
from wire import Client
from workers_support import (
    ECHO,
    WORKERS,
    echoes,
    is_alive,
    kill,
    next_pid,
    open_echo,
    pids,
)

PATIENT = *WORKERS, "--shutdown-timeout", "3600"
"""Connections may take as long as they like, and a process waits for them."""


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


def open_at(server: Server, pid: int, stack: ExitStack) -> Client:
    """Open a connection to one process, and close those that others have got."""
    client, served_by = open_echo(server)
    while served_by != pid:
        client.close()
        client, served_by = open_echo(server)
    return stack.enter_context(client)


def let_go(client: Client) -> None:
    """Answer the close frame."""
    assert client.read_frame().close_code == 1001
    client.send_close(1001)
    client.read_to_end()


def end_of(server: Server, worker: int) -> None:
    server.log.wait_for(f"A former process of worker {worker} ended with status 0")


def test_the_successor_accepts_while_the_process_waits_for_its_clients(start_server: StartServer):
    server = start_server(*PATIENT)
    first, other = pids(server)[1][0], pids(server)[2][0]
    with ExitStack() as stack:
        clients = [open_at(server, first, stack) for _ in range(3)]
        kill(first, signal.SIGTERM)
        server.log.wait_for(r"Worker 1 is stopping; starting it again")
        # about half of them wait for the successor
        served = [open_echo(server) for _ in range(20)]
        for client, _ in served:
            stack.enter_context(client)
        # it says that it is stopping just before it does
        clients += [client for client, pid in served if pid == first]
        served = [(client, pid) for client, pid in served if pid != first]
        second = next_pid(server, 1, first)
        assert {pid for _, pid in served} == {second, other}
        assert is_alive(first)
        for client in clients:
            let_go(client)
        end_of(server, 1)
        assert all(echoes(client) for client, _ in served)
    assert len(pids(server)[1]) == 2


def test_a_successor_that_stops_as_well_waits_for_its_predecessor(start_server: StartServer):
    """A worker never has three processes."""
    server = start_server(*PATIENT)
    first = pids(server)[1][0]
    with ExitStack() as stack:
        of_first = open_at(server, first, stack)
        kill(first, signal.SIGTERM)
        second = next_pid(server, 1, first)
        of_second = open_at(server, second, stack)
        kill(second, signal.SIGTERM)
        assert of_second.read_frame().close_code == 1001
        assert len(pids(server)[1]) == 2
        let_go(of_first)
        third = next_pid(server, 1, second)
        assert echoes(open_at(server, third, stack))
        assert is_alive(second)
        of_second.send_close(1001)
        of_second.read_to_end()


def test_the_server_ends_when_all_processes_have_ended(start_server: StartServer):
    server = start_server(*PATIENT)
    first = pids(server)[1][0]
    with ExitStack() as stack:
        of_first = open_at(server, first, stack)
        kill(first, signal.SIGTERM)
        of_second = open_at(server, next_pid(server, 1, first), stack)
        server.send_signal(signal.SIGTERM)
        let_go(of_second)
        # a second signal would have ended it
        assert is_alive(first)
        let_go(of_first)
        assert server.wait() == 0


def test_a_second_signal_ends_all_processes(start_server: StartServer):
    server = start_server(*PATIENT)
    first = pids(server)[1][0]
    with ExitStack() as stack:
        of_first = open_at(server, first, stack)
        kill(first, signal.SIGTERM)
        of_second = open_at(server, next_pid(server, 1, first), stack)
        server.send_signal(signal.SIGTERM)
        for client in (of_first, of_second):
            assert client.read_frame().close_code == 1001
        server.send_signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
    assert not any(map(is_alive, pids(server)[1]))


def test_a_limit_holds_for_both_processes(start_server: StartServer):
    """Each has its own count, and that of the former one is free at its end."""
    limit = 20
    server = start_server(*PATIENT, "--max-connections", str(limit))
    first = pids(server)[1][0]
    with ExitStack() as stack:

        def connect() -> Client | None:
            client = stack.enter_context(server.connect())
            client.send_request("/echo")
            return client if client.read_response().status == 101 else None

        clients = [client for _ in range(limit) if (client := connect()) is not None]
        assert len(clients) == limit
        waiting = [client for client in clients if int(client.read_frame().payload) == first]
        kill(first, signal.SIGTERM)
        next_pid(server, 1, first)
        assert {connect() for _ in range(limit)} == {None}
        for client in waiting:
            let_go(client)
        end_of(server, 1)
        assert [connect() is None for _ in (*waiting, ...)] == [*[False] * len(waiting), True]


def test_counters_do_not_fall(start_server: StartServer):
    server = start_server(*PATIENT, "--metrics-port", "0")
    metrics = Metrics(server)
    labels = {"direction": "received", "type": "text"}
    first = pids(server)[1][0]
    with ExitStack() as stack:
        client = open_at(server, first, stack)
        assert echoes(client)
        metrics.wait_for("messages_total", 1, **labels)
        kill(first, signal.SIGTERM)
        second = next_pid(server, 1, first)
        assert metrics.value("messages_total", **labels) == 1
        assert echoes(open_at(server, second, stack))
        metrics.wait_for("messages_total", 2, **labels)
        let_go(client)
        end_of(server, 1)
        assert metrics.value("messages_total", **labels) == 2
        assert metrics.value("worker_starts_total", worker="1") == 2
