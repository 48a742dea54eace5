"""`--workers`: processes that share the sockets, and what the parent does when one of them ends."""

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler, run_fastwsh
from fastwsh.backoff import pause_after
from fastwsh.workers.process import WorkerProcess
from wire import DEADLINE_SECONDS, Client
from workers_support import (
    ECHO,
    WORKERS,
    assert_ends,
    echoes,
    freeze,
    kill,
    next_pid,
    one_to_each,
    open_echo,
    pids,
)

ENDING = [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1]


NOT_TODAY = """\
def web_socket_startup(app):
    raise ValueError("not today")

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    pass
"""


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


@pytest.mark.parametrize("way", ["unix", "inherited"])
def test_one_socket_may_be_shared(start_server: StartServer, tmp_path: Path, way: str):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        if way == "inherited":
            listener.bind(path)
            listener.listen()
            number = listener.fileno()
            server = start_server(*WORKERS, listen=[f"--fd={number}"], pass_fds=[number])
        else:
            server = start_server(*WORKERS, listen=["--uds", path])

        def connect() -> Client:
            connected = socket.socket(socket.AF_UNIX)
            connected.settimeout(DEADLINE_SECONDS)
            connected.connect(path)
            return Client.over(connected)

        with connect() as client:
            client.handshake("/echo")
            pid = int(client.read_frame().payload)
            assert pid in {pid for (pid,) in pids(server).values()}
            kill(pid)
            client.read_to_end()
        with connect() as client:
            client.handshake("/echo")
            assert int(client.read_frame().payload) != pid
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert Path(path).exists() == (way == "inherited")


def test_two_servers_do_not_share_a_port(start_server: StartServer, tmp_path: Path):
    server = start_server(*WORKERS)
    refused = run_fastwsh(
        *WORKERS, "-H", "127.0.0.1", "-p", str(server.port), "--log-level", "info", cwd=tmp_path
    )
    assert refused.returncode == 1
    assert f"port {server.port} of 127.0.0.1 is already in use" in refused.stderr
    assert "Worker" not in refused.stderr


def test_connections_spread_and_a_worker_that_ends_is_replaced(start_server: StartServer):
    """With open connections, by each signal in turn to one worker or the other."""
    server = start_server(*WORKERS, "--shutdown-timeout", "0.1")
    workers = {number: pid for number, (pid,) in pids(server).items()}
    for turn, number in enumerate(ENDING):
        victim = 1 + turn % 2
        with one_to_each(server) as clients:
            assert set(clients) == set(workers.values())
            assert all(map(echoes, clients.values()))
            kill(workers[victim], number)
            how = "is stopping" if number is signal.SIGTERM else f"by {number.name}"
            server.log.wait_for(rf"\[WARNING\] fastwsh.workers: Worker {victim} .*{how}; starting")
            assert echoes(clients[workers[3 - victim]])
        workers[victim] = next_pid(server, victim, workers[victim])
    # SIGHUP renews certificates and ends nothing
    kill(workers[1], signal.SIGHUP)
    with one_to_each(server) as clients:
        assert set(clients) == set(workers.values())
    assert server.process.pid not in clients


def test_a_worker_that_is_killed_while_it_starts_is_replaced(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    write_handler(
        "once",
        "import os, pathlib, signal\n"
        f"if not (mark := pathlib.Path({str(tmp_path / 'mark')!r})).exists():\n"
        "    mark.touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "def web_socket_do_extra_handshake(request):\n    pass\n"
        "def web_socket_transfer_data(request):\n    pass\n",
    )
    server = start_server(*WORKERS)
    server.log.wait_for("was ended by SIGKILL; starting it again in 0.1 s")
    assert sum(map(len, pids(server).values())) in {3, 4}
    with one_to_each(server) as clients:
        assert all(map(echoes, clients.values()))


def test_the_backlog_of_a_dead_worker_is_served_by_its_successor(start_server: StartServer):
    server = start_server(*WORKERS)
    first = pids(server)[1][0]
    with ExitStack() as stack:
        freeze(first)
        # about half of them wait for a worker that does not accept
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.send_request("/echo")
        kill(first)
        second = next_pid(server, 1, first)
        served = []
        for client in clients:
            assert client.read_response().status == 101
            served.append(int(client.read_frame().payload))
        assert set(served) == {second, pids(server)[2][0]}


def test_nobody_waits_for_a_worker_that_cannot_start(start_server: StartServer, handler_root: Path):
    assert [pause_after(deaths) for deaths in range(5)] == [0, 0.1, 0.2, 0.4, 0.8]
    assert pause_after(9) == pause_after(9999) == 10
    server = start_server(*WORKERS)
    first, other = pids(server)[1][0], pids(server)[2][0]
    # whoever starts now cannot
    bad = handler_root / "bad_wsh.py"
    bad.write_text(NOT_TODAY, encoding="utf-8")
    with ExitStack() as stack:
        freeze(first)
        # about half of them wait for the worker that does not come back
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.send_request("/echo")
        kill(first)
        for seconds in ("0.1", "0.2", "0.4"):
            server.log.wait_for(rf"Worker 1 .*; starting it again in {seconds} s")
        server.log.wait_for(r"\[ERROR\] .*Worker 1 cannot start: .*not today.*; starting it again")
        server.log.wait_for("Worker 1 ends again and again; until it works, worker 2 gets its")
        assert {pid_of(client) for client in clients} <= {other, None}
        for _ in range(10):
            client, pid = open_echo(server)
            stack.enter_context(client)
            assert pid == other
    bad.unlink()
    with one_to_each(server) as workers:
        assert other in workers


def pid_of(client: Client) -> int | None:
    """The process that serves a connection; None if nobody has accepted it."""
    try:
        assert client.read_response().status == 101
        return int(client.read_frame().payload)
    except ConnectionError:
        return None


class TestStart:
    def test_a_bad_option_ends_before_any_worker(self, tmp_path: Path):
        given = "--workers", "2", "-w", "missing"
        assert_ends(1, "cannot use the handler root", *given, cwd=tmp_path)

    def test_a_failure_of_the_handlers_is_one_sentence(
        self, write_handler: WriteHandler, tmp_path: Path
    ):
        write_handler("bad", NOT_TODAY)
        assert_ends(1, "web_socket_startup of ", *WORKERS, "-p", "0", cwd=tmp_path)

    def test_a_worker_that_exits_ends_the_server_with_its_status(
        self, write_handler: WriteHandler, tmp_path: Path
    ):
        write_handler("bad", "import os\nos._exit(7)\ndef web_socket_transfer_data(r):\n    pass\n")
        sentence = "ended with status 7 while it started"
        assert_ends(7, sentence, *WORKERS, "-p", "0", cwd=tmp_path)

    def test_workers_are_started_by_their_parent_alone(self, tmp_path: Path):
        ended = subprocess.run(
            [sys.executable, "-m", "fastwsh.workers"],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        assert ended.returncode == 2
        assert "python -m fastwsh --workers N" in ended.stderr

    def test_http3_needs_one_process(self, tmp_path: Path):
        given = *WORKERS, "--http3", "-p", "0"
        assert_ends(1, "--http3 needs one process", *given, cwd=tmp_path)

    def test_one_worker_is_the_plain_process(self, start_server: StartServer):
        server = start_server("-w", "handlers", "--workers", "1")
        client, pid = open_echo(server)
        client.close()
        assert pid == server.process.pid


def test_a_signal_leaves_the_status_of_a_process_to_asyncio(monkeypatch: pytest.MonkeyPatch):
    async def end_one() -> int:
        worker = WorkerProcess(lambda *_: None, lambda *_: None)
        command = sys.executable, "-c", "import time; time.sleep(60)"
        process = worker._process = await asyncio.create_subprocess_exec(*command)
        with monkeypatch.context() as patched:
            # which asks for the status
            patched.setattr(subprocess.Popen, "poll", lambda _: pytest.fail("poll was called"))
            worker.send_signal(signal.SIGTERM)
        return await process.wait()

    assert asyncio.run(end_one()) == -signal.SIGTERM
