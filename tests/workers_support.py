"""A server with several workers: their processes, and connections to each of them."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conftest import Server, run_fastwsh
from waiting import wait_until
from wire import DEADLINE_SECONDS, TEXT, Client

ECHO = """\
import os
request.ws_stream.send_message(str(os.getpid()))
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message)
"""
"""A handler that says first in which process it runs."""

WORKERS = "-w", "handlers", "--workers", "2"


def pids(server: Server) -> dict[int, list[int]]:
    """The processes of each worker, in the order of their starts."""
    found: dict[int, list[int]] = {}
    for line in list(server.log.lines):
        if match := re.search(r"Worker (\d+) is process (\d+)", line):
            found.setdefault(int(match[1]), []).append(int(match[2]))
    return found


def next_pid(server: Server, worker: int, former: int) -> int:
    """Wait for the successor of a process."""
    wait_until(lambda: pids(server)[worker][-1] != former, f"worker {worker} did not come back")
    return pids(server)[worker][-1]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def open_echo(server: Server) -> tuple[Client, int]:
    """Open a connection, and say which process serves it; the caller closes it."""
    client = server.connect()
    try:
        client.handshake("/echo")
        return client, int(client.read_frame().payload)
    except BaseException:
        client.close()
        raise


@contextmanager
def one_to_each(server: Server, count: int = 2) -> Iterator[dict[int, Client]]:
    """Open connections until each worker has one; give one to each, by process."""
    with ExitStack() as stack:
        found: dict[int, Client] = {}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(found) < count:
            assert time.monotonic() < deadline, "one worker gets all connections"
            client, pid = open_echo(server)
            stack.enter_context(client)
            found.setdefault(pid, client)
        yield found


def echoes(client: Client) -> bool:
    client.send_frame(TEXT, b"x")
    return client.read_frame().payload == b"x"


def assert_ends(status: int, sentence: str, *arguments: str, cwd: Path, **env: str) -> None:
    """Run the command, which ends by itself with this status and this sentence alone."""
    ended = run_fastwsh(*arguments, cwd=cwd, env=env)
    assert ended.returncode == status
    assert re.fullmatch(rf"(?:usage: .*\n)?fastwsh: .*{re.escape(sentence)}.*\n", ended.stderr), (
        ended.stderr
    )


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


def freeze(pid: int) -> None:
    """Stop all threads of a process; without the wait, one of them may still accept."""
    kill(pid, signal.SIGSTOP)

    def is_frozen() -> bool:
        states = [
            path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
        return all(state.rpartition(")")[2].split()[0] == "T" for state in states)

    wait_until(is_frozen, f"process {pid} goes on")
