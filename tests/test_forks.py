"""Processes that handlers fork: they have default signals, and nothing of the server."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ALL_WAYS, BOTH_WAYS, Server, StartServer, WriteHandler
from waiting import wait_until
from wire import DEADLINE_SECONDS, TEXT, Client
from workers_support import is_alive

HANDLERS = "-w", "handlers", "--shutdown-timeout", "1"

TERMINATES = """\
import multiprocessing, time
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    child.start()
    child.terminate()
    child.join(20)
    request.ws_stream.send_message(str(child.exitcode))
    child.kill()
"""

POOLS = """\
import multiprocessing
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        request.ws_stream.send_message(str(pool.map(abs, [-1, -2])))
    request.ws_stream.send_message("ended")
"""

# The child tells who it is, and goes when its standard input ends.
LEAVES = """\
import contextlib
import json
import os
import re
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    child = os.fork()
    if not child:
        os.read(0, 1)
        os._exit(0)
    request.ws_stream.send_message(str(child))
"""

DAEMONIC = """\
import multiprocessing, time
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    child = multiprocessing.get_context("fork").Process(
        target=time.sleep, args=(3600,), daemon=True
    )
    child.start()
    request.ws_stream.send_message(str(child.pid))
    request.ws_stream.receive_message()
"""


def ask(server: Server, path: str, *, until_end: bool = False) -> list[bytes]:
    with server.connect() as client:
        assert client.handshake(path).status == 101
        answers = [client.read_frame().payload]
        if until_end:
            while (frame := client.read_frame()).opcode == TEXT:
                answers.append(frame.payload)
        return answers


@BOTH_WAYS
def test_a_child_ends_at_sigterm(start_server: StartServer, write_handler: WriteHandler):
    write_handler("terminates", TERMINATES)
    assert ask(start_server(*HANDLERS), "/terminates") == [b"-15"]


@BOTH_WAYS
def test_a_pool_ends_with_its_block(start_server: StartServer, write_handler: WriteHandler):
    write_handler("pools", POOLS)
    assert ask(start_server(*HANDLERS), "/pools", until_end=True) == [b"[1, 2]", b"ended"]


def held_sockets(pid: int) -> set[str]:
    folder = Path(f"/proc/{pid}/fd")
    names = set()
    for entry in folder.iterdir():
        # the process may close it at this moment
        with contextlib.suppress(FileNotFoundError):
            names.update(re.findall(r"^socket:\[(\d+)\]$", str(entry.readlink())))
    return names


def listening_sockets() -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[9])
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("more", [(), ("--metrics-port", "0")])
def test_a_child_holds_no_port(
    start_server: StartServer, write_handler: WriteHandler, more: tuple[str, ...]
):
    write_handler("daemonic", DAEMONIC)
    server = start_server(*HANDLERS, *more)
    child = int(ask(server, "/daemonic")[0])
    try:
        assert held_sockets(server.process.pid) & listening_sockets()
        # the fork has returned to the parent, and perhaps not yet in the child
        wait_until(lambda: not held_sockets(child) & listening_sockets(), "the child holds a port")
    finally:
        # it would keep the pipes open
        os.kill(child, signal.SIGKILL)


def test_a_child_that_lives_on_leaves_the_port_to_others(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "leaves",
        LEAVES.replace("os.read(0, 1)", "signal.pause()").replace("import os", "import os, signal"),
    )
    server = start_server(*HANDLERS)
    child = int(ask(server, "/leaves")[0])
    try:
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        with socket.create_server(("127.0.0.1", server.port)):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_child_leaves_the_unix_socket_in_place(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    write_handler(
        "exits",
        LEAVES.replace("os.read(0, 1)", "gc.collect()").replace("import os", "import gc, os"),
    )
    path = tmp_path / "socket"
    server = start_server(*HANDLERS, "--bind", "127.0.0.1:0", "--uds", str(path))
    child = int(ask(server, "/exits")[0])
    wait_until(lambda: not is_alive(child), "the child lives on")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        with Client.over(connection) as client:
            assert client.handshake("/exits").status == 101


def test_a_daemonic_child_ends_with_the_server(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("daemonic", DAEMONIC)
    server = start_server(*HANDLERS)
    with server.connect() as client:
        client.handshake("/daemonic")
        child = int(client.read_frame().payload)
        server.send_signal(signal.SIGTERM)
        assert client.read_frame().close_code == 1001
        client.send_close(1001)
        assert server.wait() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_child_logs_without_the_servers_thread(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "logs",
        LEAVES.replace("os.read(0, 1)", "logging.warning('from the child')").replace(
            "import os", "import logging, os"
        ),
    )
    server = start_server(*HANDLERS)
    ask(server, "/logs")
    server.log.wait_for("from the child")


FORKS = """\
import os, json
from fastwsh import topics

def tried(call):
    try:
        return call()
    except RuntimeError as error:
        return str(error)

def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "a")

def web_socket_transfer_data(request):
    server = request.connection.server
    read, write = os.pipe()
    if not (child := os.fork()):
        calls = [
            lambda: topics.publish("a", "x"),
            lambda: topics.subscribers("a"),
            lambda: topics.subscribe(request, "b"),
            lambda: topics.unsubscribe(request, "a"),
            lambda: server.publish("a", "x"),
            lambda: server.subscribers("a"),
            lambda: server.subscribe(request, "b"),
        ]
        os.write(write, json.dumps([tried(call) for call in calls]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    request.ws_stream.send_message(os.read(read, 65536).decode())
    assert topics.publish("a", "from the parent") == 1
    request.ws_stream.receive_message()
"""


# Children that leave the handler instead of the process, and what each must end with.
LEAVING = [
    ("return", 0),
    ("raise SystemExit", 0),
    ("raise SystemExit(3)", 3),
    ("raise SystemExit('told')", 1),
    ("raise KeyError('told')", 1),
    ("raise handshake.AbortedByUserException('told')", 1),
]


@ALL_WAYS
def test_a_child_ends_with_its_handler(
    start_server: StartServer, write_handler: WriteHandler, concurrency: str
):
    cases = "".join(f"    if case == {n}: {line}\n" for n, (line, _) in enumerate(LEAVING))
    kind = "async def" if concurrency == "loop" else "def"
    awaits = "await " if concurrency == "loop" else ""
    source = f"""\
import os
import re
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    pass
{kind} child(case):
{cases}
{kind} web_socket_transfer_data(request):
    for case in range({len(LEAVING)}):
        process = os.fork()
        if not process:
            return {awaits}child(case)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        {awaits}request.ws_stream.send_message(str(status))
    {awaits}request.ws_stream.receive_message()
"""
    (path := write_handler("leaves", "pass")).write_text(source, encoding="ascii")
    server = start_server(*HANDLERS)
    with server.connect() as client, server.connect() as other:
        client.handshake(f"/{path.name.removesuffix('_wsh.py')}")
        assert [client.read_frame().payload for _ in LEAVING] == [
            str(status).encode() for _, status in LEAVING
        ]
        client.send_close(1001)
        assert client.read_frame().close_code == 1000
        other.handshake("/leaves")
        assert other.read_frame().payload == b"0"
    for text in ("told", "KeyError: 'told'"):
        server.log.wait_for(text)


@BOTH_WAYS
@pytest.mark.parametrize("hook", ["do_extra_handshake", "passive_closing_handshake"])
def test_a_child_of_another_hook_ends_with_it(
    start_server: StartServer, write_handler: WriteHandler, hook: str
):
    source = f"""\
import os
import re
def forked():
    process = os.fork()
    if process:
        print("status", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
def web_socket_do_extra_handshake(request):
    {"forked()" if hook == "do_extra_handshake" else "pass"}
def web_socket_transfer_data(request):
    request.ws_stream.receive_message()
def web_socket_passive_closing_handshake(request):
    {"forked()" if hook == "passive_closing_handshake" else "pass"}
    return 4000, "mine"
"""
    write_handler("hooks", source)
    server = start_server(*HANDLERS)
    with server.connect() as client:
        client.handshake("/hooks")
        client.send_close()
        assert client.read_frame().close_code == 4000
        assert client.read_to_end() == b""
    server.out.wait_for("status 0")


@ALL_WAYS
def test_a_child_of_multiprocessing_ends_well(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "works",
        "import multiprocessing, operator\n"
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        "    here = multiprocessing.get_context('fork')\n"
        "    queue = here.Queue()\n"
        "    for target, argument in ((operator.neg, 1), (queue.put, 2)):\n"
        "        child = here.Process(target=target, args=(argument,))\n"
        "        child.start()\n"
        "        child.join(20)\n"
        "        request.ws_stream.send_message(str(child.exitcode))\n",
    )
    server = start_server(*HANDLERS)
    with server.connect() as client:
        client.handshake("/works")
        assert [client.read_frame().payload for _ in range(2)] == [b"0", b"0"]


@BOTH_WAYS
def test_a_child_cannot_publish_and_is_told_why(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("forks", FORKS)
    server = start_server(*HANDLERS)
    with server.connect() as client:
        client.handshake("/forks")
        said = json.loads(client.read_frame().payload)
        assert len(said) == 7
        for sentence in said:
            assert "was forked from the server's" in str(sentence)
        assert client.read_frame().payload == b"from the parent"


def test_a_child_reaches_a_server_of_its_own():
    """As a program that starts servers by multiprocessing does."""
    program = """
import os, threading
import fastwsh
from fastwsh import topics
from fastwsh.testing import running_server

def serve():
    with running_server() as server:
        server.handler("/a")(lambda connection: (
            topics.subscribe(connection.request, "a"), connection.send("ready"), connection.recv()
        ))
        with fastwsh.connect(server.url_for("/a")) as client:
            client.recv()
            yield server
            assert client.recv() == "x"
            client.send("end")

for server in serve():
    if not os.fork():
        try:
            topics.publish("a", "x")
        except RuntimeError as error:
            assert "forked" in str(error)
            for own in serve():
                assert topics.publish("a", "x") == own.subscribers("a") == 1
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert server.publish("a", "x") == 1
print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.stdout == "ended\n", done.stderr
