"""The client where the system is short of something, and in processes that were forked."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler, clean_environment
from wire import DEADLINE_SECONDS

ECHO = "for message in iter(request.ws_stream.receive_message, None):\n"
ECHO += "    request.ws_stream.send_message(message)\n"


@pytest.fixture(name="url")
def fixture_url(start_server: StartServer, write_handler: WriteHandler, handler_root: Path) -> str:
    write_handler("echo", ECHO)
    return start_server("--http2", "-w", handler_root).url("/echo")


def run_program(program: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *args],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=False,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


PREAMBLE = """\
import asyncio, os, resource, sys, warnings
import fastwsh
url, way = sys.argv[1:]
options = {"http_version": 2} if way == "http2" else {}
if way == "asyncio":
    loop = asyncio.new_event_loop()

def talk():
    if way != "asyncio":
        with fastwsh.connect(url, **options) as connection:
            connection.send("hello")
            return connection.recv(timeout=20)
    return loop.run_until_complete(talk_in_loop())

async def talk_in_loop():
    async with fastwsh.connect(url) as connection:
        await connection.send("hello")
        return await connection.recv(timeout=20)
"""
WAYS = ["thread", "asyncio", "http2"]


@pytest.mark.parametrize("way", WAYS)
def test_without_descriptors_it_is_an_error_until_there_are_some(url: str, way: str):
    says = f"{os.strerror(errno.EMFILE)}; close connections or files, or raise the limit"
    program = f"""{PREAMBLE}
import fastwsh.client, fastwsh.client.aio
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
for free in range(1, 8):
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    for descriptor in taken[-free:]:
        os.close(descriptor)
    try:
        talk()
    except fastwsh.ConnectError as error:
        text = str(error)
        assert {says!r} in text, text
    for descriptor in taken[:-free]:
        os.close(descriptor)
print(talk())
"""
    assert run_program(program, url, way) == "hello\n"


@pytest.mark.parametrize("way", WAYS)
def test_a_forked_process_connects(url: str, way: str):
    program = f"""{PREAMBLE}
assert talk() == "hello"
# newer Pythons warn of a fork beside other threads, which is what this is about
warnings.simplefilter("ignore", DeprecationWarning)
if child := os.fork():
    sys.exit(os.waitpid(child, 0)[1])
if way == "asyncio":
    loop = asyncio.new_event_loop()
assert talk() == "hello"
os._exit(0)
"""
    run_program(program, url, way)


@pytest.mark.parametrize("version", [1, 2])
def test_a_daemon_thread_that_receives_ends_with_the_program(url: str, version: int):
    program = f"""\
import threading, fastwsh
connection = fastwsh.connect({url!r}, http_version={version})
has_received = threading.Event()
def receive():
    while connection.recv():
        has_received.set()
threading.Thread(target=receive, daemon=True).start()
connection.send("hello")
assert has_received.wait({DEADLINE_SECONDS})
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        capture_output=True,
        check=False,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, b"")
