"""What ends all workers: a signal to their parent, or the end of the parent."""

import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler, clean_environment
from wire import DEADLINE_SECONDS
from workers_support import (
    ECHO,
    WORKERS,
    echoes,
    freeze,
    is_alive,
    kill,
    one_to_each,
    pids,
    wait_until,
)


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


@pytest.fixture
def started(start_server: StartServer) -> Server:
    return start_server(*WORKERS, "--shutdown-timeout", "0.5")


def test_no_worker_outlives_a_parent_that_was_killed(started: Server):
    with one_to_each(started) as clients:
        started.process.kill()
        started.process.wait(DEADLINE_SECONDS)
        for client in clients.values():
            assert client.read_frame().close_code == 1001
    for pid in clients:
        wait_until(lambda pid=pid: not is_alive(pid), "a worker lives on")


def test_nor_does_the_folder_of_a_parent_that_was_killed(start_server: StartServer):
    server = start_server(*WORKERS, "--shutdown-timeout", "0.5")
    own = Path(f"/proc/{server.process.pid}/fd")

    def folders() -> set[Path]:
        """Where the parent has its Unix sockets."""
        inodes = set()
        for link in own.iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                inodes.add(re.sub(r"\D", "", str(link.readlink())))
        lines = Path("/proc/net/unix").read_text(encoding="ascii").splitlines()
        found = {line.split()[-1] for line in lines if line.split()[6] in inodes}
        return {Path(path).parent for path in found if path.endswith("/topics")}

    wait_until(folders, "no socket for topics")
    (folder,) = folders()
    server.process.kill()
    server.process.wait(DEADLINE_SECONDS)
    wait_until(lambda: not list(folder.parent.glob(f"{folder.name}*")), "the folder stays")


def test_nor_does_one_that_is_frozen_or_busy(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "busy", "request.ws_stream.send_message('here')\nimport re\nre.match('(a*)*b', 'a' * 99)\n"
    )
    server = start_server(*WORKERS, "--shutdown-timeout", "0", "--cleanup-timeout", "0")
    workers = [pid for (pid,) in pids(server).values()]
    with server.connect() as client:
        client.handshake("/busy")
        freeze(workers[0])
        server.process.kill()
        server.process.wait(DEADLINE_SECONDS)
        for pid in workers:
            wait_until(lambda pid=pid: not is_alive(pid), "a worker lives on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_all(started: Server, number: signal.Signals):
    with one_to_each(started) as clients:
        started.send_signal(number)
        for client in clients.values():
            assert client.read_frame().close_code == 1001
            client.send_close(1001)
        assert started.wait() == 0
    assert not any(map(is_alive, clients))
    with pytest.raises(ConnectionRefusedError):
        started.connect()


def test_ctrl_z_stops_all_until_they_go_on(started: Server):
    def states() -> set[str]:
        processes = started.process.pid, *(pid for (pid,) in pids(started).values())
        stats = (Path(f"/proc/{pid}/stat").read_text(encoding="ascii") for pid in processes)
        return {stat.rpartition(")")[2].split()[0] for stat in stats}

    with one_to_each(started) as clients:
        started.send_signal(signal.SIGTSTP)
        wait_until(lambda: states() == {"T"}, "a process goes on")
        started.send_signal(signal.SIGCONT)
        wait_until(lambda: "T" not in states(), "a process does not go on")
        assert all(map(echoes, clients.values()))
        started.send_signal(signal.SIGTSTP)
        wait_until(lambda: states() == {"T"}, "a process goes on")
        started.send_signal(signal.SIGTERM)
        started.send_signal(signal.SIGCONT)
        for client in clients.values():
            assert client.read_frame().close_code == 1001
            client.send_close(1001)
        assert started.wait() == 0


def test_a_second_signal_ends_all_at_once(start_server: StartServer, write_handler: WriteHandler):
    write_handler("sleeper", "import time\ntime.sleep(3600)\n")
    server = start_server(*WORKERS, "--shutdown-timeout", "3600")
    with server.connect() as client:
        client.handshake("/sleeper")
        server.send_signal(signal.SIGTERM)
        server.log.wait_for(r"\[worker \d\] fastwsh.cli: Stopping")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
    assert not any(is_alive(pid) for (pid,) in pids(server).values())


def test_a_worker_that_is_killed_while_all_stop_is_not_replaced(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("sleeper", "import time\ntime.sleep(3600)\n")
    server = start_server(*WORKERS, "--shutdown-timeout", "3600")
    with server.connect() as client:
        client.handshake("/sleeper")
        server.send_signal(signal.SIGTERM)
        server.log.wait_for(r"\[worker \d\] fastwsh.cli: Stopping")
        for (pid,) in pids(server).values():
            if is_alive(pid):
                kill(pid)
        assert server.wait() == 0
    assert "starting it again" not in server.log.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_before_the_server_is_up_ends_it(
    write_handler: WriteHandler, tmp_path: Path, number: signal.Signals
):
    write_handler(
        "slow", "import time\ntime.sleep(3600)\ndef web_socket_transfer_data(r):\n    pass\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "fastwsh", *WORKERS, "-p", "0", "--log-level", "info"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        server = Server(process)
        try:
            server.log.wait_for("Worker 2 is process")
            started = time.monotonic()
            server.send_signal(number)
            assert server.wait() == 128 + number
            assert time.monotonic() - started < DEADLINE_SECONDS
        finally:
            server.kill()
    assert not any(is_alive(pid) for (pid,) in pids(server).values())
    assert "Traceback" not in server.log.text()
