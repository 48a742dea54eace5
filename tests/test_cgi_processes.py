"""Processes of CGI programs: every one of them ends, and is reaped."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from cgi_support import TEXT, Programs, programs
from conftest import Server
from http_support import fetch, request_head
from waiting import wait_until
from wire import DEADLINE_SECONDS, Client

__all__ = ["programs"]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"
)

# Each program begins by telling its number; a child of it does the waiting.
TELL = 'echo "number $$" >&2\n'
WAIT = "sleep 1000 &\nwait\n"


def group_of(server: Server) -> int:
    return int(server.log.wait_for(r"number (\d+)$")[1])


def members(server: Server, group: int) -> list[int]:
    """The processes of a group that live, or that the server has not reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, parent, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        # orphans are reaped by the system, sooner or later
        if int(its_group) == group and (state != "Z" or int(parent) == server.process.pid):
            found.append(int(entry.name))
    return found


def wait_until_gone(server: Server, group: int) -> None:
    wait_until(lambda: not members(server, group), f"processes of group {group} are left")


def start(server: Server, target: str) -> Client:
    client = server.connect()
    client.send(request_head(target))
    return client


def test_time_is_limited_before_the_answer(programs: Programs):
    programs.add("cgi-bin/wait", TELL + WAIT)
    server = programs.serve("--cgi-timeout", "0.2")
    assert fetch(server, "/cgi-bin/wait").status == 504
    wait_until_gone(server, group_of(server))
    server.log.wait_for('CGI script "/cgi-bin/wait": stopped: it took too long')


def test_time_is_limited_within_the_answer(programs: Programs):
    programs.add("cgi-bin/wait", TELL + TEXT + "echo begun\n" + WAIT)
    server = programs.serve("--cgi-timeout", "0.2")
    with start(server, "/cgi-bin/wait") as client:
        assert client.read_response().status == 200
        # not the last chunk: what came is not everything
        assert client.read_to_end() == b"6\r\nbegun\n\r\n"
    wait_until_gone(server, group_of(server))


def test_time_is_limited_for_a_program_that_has_closed_its_output(programs: Programs):
    programs.add("cgi-bin/wait", TELL + TEXT + "exec >&- 2>&-\n" + WAIT)
    server = programs.serve("--cgi-timeout", "0.2")
    assert fetch(server, "/cgi-bin/wait").status == 200
    wait_until_gone(server, group_of(server))


@pytest.mark.parametrize("begun", ["", TEXT + "echo begun\n"])
@pytest.mark.parametrize("reset", [True, False])
def test_program_ends_with_its_client(programs: Programs, begun: str, reset: bool):
    programs.add("cgi-bin/wait", TELL + begun + WAIT)
    server = programs.serve()
    client = start(server, "/cgi-bin/wait")
    group = group_of(server)
    if begun:
        assert client.read_response().status == 200
    if reset:
        client.reset()
    else:
        client.close()
    wait_until_gone(server, group)


def test_program_that_writes_ends_with_its_client(programs: Programs):
    programs.add("cgi-bin/yes", TELL + TEXT + "yes\n")
    server = programs.serve()
    with start(server, "/cgi-bin/yes") as client:
        assert client.read_response().status == 200
        group = group_of(server)
    wait_until_gone(server, group)


def test_slow_reader_holds_the_program_back(programs: Programs):
    """Output goes no further than the client takes it: it is not collected in memory."""
    programs.add("cgi-bin/yes", TELL + TEXT + "yes | head -c 200000000\n")
    server = programs.serve()
    with start(server, "/cgi-bin/yes") as client:
        assert client.read_response().status == 200
        group = group_of(server)
        client.read(1 << 20)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        assert int(resident.split()[1]) < 150_000
    wait_until_gone(server, group)


def test_programs_that_have_ended_are_reaped(programs: Programs):
    programs.add("cgi-bin/one", TELL + TEXT)
    server = programs.serve()
    for _ in range(5):
        assert fetch(server, "/cgi-bin/one").status == 200
    wait_until_gone(server, group_of(server))
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    if children.exists():
        wait_until(lambda: not children.read_text().split(), "a child is left")


def test_programs_end_with_the_server(programs: Programs):
    programs.add("cgi-bin/wait", TELL + WAIT)
    server = programs.serve("--shutdown-timeout", "0.1")
    with start(server, "/cgi-bin/wait"):
        group = group_of(server)
        server.send_signal(signal.SIGTERM)
        server.wait()
    wait_until_gone(server, group)


def test_answer_under_way_is_finished_before_the_server_ends(programs: Programs):
    gate = programs.root.parent / "gate"
    os.mkfifo(gate, 0o666)
    gate.chmod(0o666)
    programs.add("cgi-bin/wait", TELL + f"cat '{gate}' >&2\n" + TEXT + "echo done")
    server = programs.serve()
    with start(server, "/cgi-bin/wait") as client:
        group_of(server)
        server.send_signal(signal.SIGTERM)
        gate.write_bytes(b"go\n")
        assert client.read_to_end().endswith(b"5\r\ndone\n\r\n0\r\n\r\n")
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("leaves", "sent_bytes"),
    # behind more than the systems between keep, the end of a client that closes does not come
    [(Client.close, 100_000), (Client.reset, 100_000), (Client.reset, 20_000_000)],
)
def test_program_ends_with_a_client_that_has_sent_more_than_is_read(
    programs: Programs, leaves: Callable[[Client], None], sent_bytes: int
):
    programs.add("cgi-bin/wait", TELL + WAIT)
    server = programs.serve("--cgi-timeout", "0")
    client = start(server, "/cgi-bin/wait")
    group = group_of(server)
    client.socket.setblocking(False)
    with suppress(BlockingIOError):
        client.socket.sendall((request_head("/next") * sent_bytes)[:sent_bytes])
    leaves(client)
    wait_until_gone(server, group)


def test_program_that_has_closed_its_output_ends_with_its_client(programs: Programs):
    programs.add("cgi-bin/wait", TELL + "exec >&-\n" + WAIT)
    programs.add("cgi-bin/silent", TELL + "exec >&- 2>&-\n" + WAIT)
    server = programs.serve("--cgi-timeout", "0")
    for target in ("/cgi-bin/wait", "/cgi-bin/silent"):
        seen = len(server.log.lines)
        client = start(server, target)
        group = int(wait_for_new(server, seen, r"number (\d+)$"))
        client.reset()
        wait_until_gone(server, group)


WORKS_ON = (
    TELL + TEXT + "echo done\nexec >&- {more}\nread line < '{gate}'\necho $line > '{gate}.out'\n"
)


@pytest.mark.parametrize("more", ["", "2>&-"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_program_may_work_on_after_its_answer(programs: Programs, more: str, version: str):
    gate = programs.root.parent / "gate"
    os.mkfifo(gate, 0o666)
    gate.chmod(0o666)
    result = Path(f"{gate}.out")
    result.touch(0o666)
    result.chmod(0o666)
    programs.add("cgi-bin/works", WORKS_ON.format(gate=gate, more=more))
    programs.add("cgi-bin/other", TEXT + "echo other\n")
    server = programs.serve()
    with server.connect() as client:
        for target in ("/cgi-bin/works", "/cgi-bin/other"):
            if version == "1.0":
                client.send(f"GET {target} HTTP/1.0\r\n\r\n".encode())
                assert client.read_to_end().endswith(b"\r\ndone\n")
                break
            client.send(request_head(target))
            assert client.read_response().status == 200
            body = target.rpartition("/")[2].replace("works", "done") + "\n"
            expected = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()
            assert client.read(len(expected)) == expected
        group = group_of(server)
        assert members(server, group)
    # the client has gone, which is none of its business any more
    gate.write_bytes(b"finished\n")
    wait_until_gone(server, group)
    assert result.read_text() == "finished\n"


@pytest.mark.parametrize("more", ["", "2>&-"])
def test_program_that_works_on_ends_with_the_server(programs: Programs, more: str):
    programs.add("cgi-bin/wait", TELL + TEXT + f"echo done\nexec >&- {more}\n" + WAIT)
    server = programs.serve("--cgi-timeout", "0", "--shutdown-timeout", "1000")
    assert fetch(server, "/cgi-bin/wait").body == b"done\n"
    group = group_of(server)
    server.send_signal(signal.SIGTERM)
    # at once: nobody waits for its answer
    assert server.wait() == 0
    wait_until_gone(server, group)


@pytest.mark.parametrize("more", ["", "2>&-"])
def test_time_is_limited_for_a_program_that_works_on(programs: Programs, more: str):
    programs.add("cgi-bin/wait", TELL + TEXT + f"echo done\nexec >&- {more}\n" + WAIT)
    server = programs.serve("--cgi-timeout", "0.2")
    assert fetch(server, "/cgi-bin/wait").body == b"done\n"
    wait_until_gone(server, group_of(server))
    server.log.wait_for('CGI script "/cgi-bin/wait": stopped: it took too long')


def wait_for_new(server: Server, seen: int, pattern: str) -> str:
    """Return the group of the first match behind the lines that were seen."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        for line in server.log.lines[seen:]:
            if match := re.search(pattern, line):
                return match[1]
        assert time.monotonic() < deadline
        os.sched_yield()


def ignored(status: str) -> int:
    """The signals that a process ignores, without those that the C library keeps for itself.

    What `posix_spawn` starts ignores those, and so do its children.
    """
    found = re.search(r"^SigIgn:\t([0-9a-f]+)$", status, re.MULTILINE)
    assert found is not None
    return int(found[1], 16) & sum(1 << (number - 1) for number in signal.valid_signals())


def test_signals_are_as_after_a_login(programs: Programs):
    programs.add("cgi-bin/status", TEXT + "exec cat /proc/self/status\n")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    former = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    try:
        server = programs.serve()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, action in former.items():
            signal.signal(number, action)
    assert ignored(Path(f"/proc/{server.process.pid}/status").read_text())
    body = fetch(server, "/cgi-bin/status").body.decode()
    assert not ignored(body)
    assert "SigBlk:\t0000000000000000\n" in body


def test_a_program_is_scheduled_as_the_process_is(programs: Programs):
    programs.add("cgi-bin/stat", TEXT + "exec cat /proc/self/stat\n")
    server = programs.serve()
    stat = fetch(server, "/cgi-bin/stat").body.decode()
    # field 41; the first behind the name is the third
    policy = int(stat.rpartition(") ")[2].split()[41 - 3])
    assert policy == os.sched_getscheduler(server.process.pid)


IGNORED = signal.SIGUSR1, signal.SIGQUIT, signal.SIGRTMIN
