"""Coverage, debuggers and profilers see handlers in native threads, the hub and the event loop."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ALL_WAYS, BOTH_WAYS, Server, clean_environment
from wire import DEADLINE_SECONDS, TEXT

FOUR_LINES = """\
def web_socket_do_extra_handshake(request):
    request.seen = True
def web_socket_transfer_data(request):
    request.ws_stream.send_message(request.ws_stream.receive_message())
"""

BRANCHES = """\
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        if message == "b":
            request.ws_stream.send_message("is b")
        else:
            request.ws_stream.send_message("is not b")
def web_socket_passive_closing_handshake(request):
    return 1000, ""
"""


@pytest.fixture
def run_covered(tmp_path: Path, concurrency: str) -> Iterator[object]:
    """Start a server under `coverage run`; its end gives the missing lines by file."""
    servers: list[Server] = []

    def run() -> Server:
        command = [sys.executable, "-m", "coverage", "run", "--include=*_wsh.py"]
        command += ["-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "-w", "handlers"]
        process = subprocess.Popen(
            [*command, "--log-level", "info"],
            cwd=tmp_path,
            env=clean_environment(FASTWSH_CONCURRENCY=concurrency.replace("loop", "auto")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server = Server(process)
        servers.append(server)
        server.wait_until_listening()
        return server

    yield run
    for server in servers:
        server.kill()


def missing_lines(server: Server, folder: Path) -> dict[str, list[int]]:
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    subprocess.run(
        [sys.executable, "-m", "coverage", "json", "-q", "-o", "report.json"],
        cwd=folder,
        env=clean_environment(),
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    files = json.loads((folder / "report.json").read_text())["files"]
    return {Path(name).name: file["missing_lines"] for name, file in files.items()}


@ALL_WAYS
def test_all_lines_of_a_handler_are_covered(run_covered, write_handler, tmp_path):
    write_handler("a", FOUR_LINES)
    server = run_covered()
    for _ in range(2):
        with server.connect() as client:
            client.handshake("/a")
            client.send_frame(TEXT, b"x")
            assert client.read_frame().payload == b"x"
    assert missing_lines(server, tmp_path) == {"a_wsh.py": []}


@pytest.mark.parametrize("concurrency", ["threads", "auto", "hub"])
def test_handlers_at_the_same_time_are_told_apart(run_covered, write_handler, tmp_path):
    write_handler("a", BRANCHES)
    write_handler("b", BRANCHES)
    server = run_covered()
    with server.connect() as a, server.connect() as b:
        a.handshake("/a")
        b.handshake("/b")
        for client, text in [(a, b"a"), (b, b"b"), (a, b"a"), (b, b"b")]:
            client.send_frame(TEXT, text)
            client.read_frame()
    assert missing_lines(server, tmp_path) == {"a_wsh.py": [6, 10], "b_wsh.py": [8, 10]}


PROGRAM = """\
import sys, threading
import fastwsh
from fastwsh.testing import running_server

SET, WHEN, HANDLERS, CONCURRENCY = sys.argv[1:]
seen = []

def see(frame, event, argument):
    begins = event == "call" and frame.f_lineno == frame.f_code.co_firstlineno  # not goes on
    if begins and frame.f_code.co_filename.endswith("_wsh.py"):
        seen.append(frame.f_code.co_name)
    return see

def visit(server):
    with fastwsh.connect(server.url_for("/a")) as client:
        client.send("x")
        assert client.recv() == "x"

if WHEN == "before":
    getattr(threading, SET)(see)
with running_server(HANDLERS, concurrency=CONCURRENCY) as server:
    visit(server)
    first = len(seen)
    if WHEN == "between":
        getattr(threading, SET)(see)
    visit(server)
    visit(server)
    getattr(threading, SET)(None)
    visit(server)
print(first, *seen)
"""


def run_program(source: str, *arguments: str | os.PathLike[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


CALLS = "web_socket_do_extra_handshake web_socket_transfer_data"


@ALL_WAYS
@pytest.mark.parametrize("function", ["settrace", "setprofile"])
@pytest.mark.parametrize(("when", "count"), [("before", 3), ("between", 2)])
def test_function_counts_from_the_next_connection_on(
    write_handler, handler_root, concurrency, function, when, count
):
    write_handler("a", FOUR_LINES)
    where = concurrency.replace("loop", "auto")
    seen = run_program(PROGRAM, function, when, handler_root, where)
    assert seen == " ".join([str(2 if when == "before" else 0), *[CALLS] * count])


UNDERWAY = """\
import sys, threading
import fastwsh
from fastwsh.testing import running_server

seen = []

def see(frame, event, argument):
    if frame.f_code.co_filename.endswith("_wsh.py"):
        seen.append(frame.f_code.co_name)
    return see

with running_server(sys.argv[1], concurrency=sys.argv[2]) as server:
    with fastwsh.connect(server.url_for("/a")) as client:
        client.send("x")
        client.recv()
        threading.settrace_all_threads(see)
        client.send("x")
        client.recv()
        threading.settrace_all_threads(None)
print(*sorted(set(seen)))
"""


@BOTH_WAYS
@pytest.mark.skipif(sys.version_info < (3, 12), reason="settrace_all_threads is new in 3.12")
def test_all_threads_include_those_of_open_connections(write_handler, handler_root, concurrency):
    write_handler(
        "a",
        "def answer(request, message):\n"
        "    request.ws_stream.send_message(message)\n"
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        "    while (message := request.ws_stream.receive_message()) is not None:\n"
        "        answer(request, message)\n",
    )
    assert "answer" in run_program(UNDERWAY, handler_root, concurrency).split()


PLACES = """\
import sys, threading
from fastwsh.concurrency.placement import PlacementPolicy
from fastwsh.loading.loader import load_handlers

[file] = load_handlers(sys.argv[1])
print(PlacementPolicy().place(file.suite).where)
threading.setprofile(lambda *_: None)
print(PlacementPolicy().place(file.suite).where)
print(PlacementPolicy("hub").place(file.suite).where)
"""


def test_handlers_have_threads_while_a_function_is_set(write_handler, handler_root):
    write_handler("a", FOUR_LINES)
    assert run_program(PLACES, handler_root).split() == ["hub", "threads", "threads"]
