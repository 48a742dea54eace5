"""`fastwsh.connect` where another event loop runs, and in programs that end while it connects."""

import asyncio
import socket
import subprocess
import sys
from functools import partial

import pytest
import trio

import fastwsh
from client_support import Peer, serving
from conftest import clean_environment
from fastwsh.client import ClientConnection, connect_sync
from fastwsh.testing import running_server
from wire import DEADLINE_SECONDS

# Each ended with a panic of the native module in more than half of the runs.
RUNS = 10


def run_program(code: str, url: str) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end."""
    return subprocess.run(
        [sys.executable, "-c", code, url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(),
        check=False,
    )


def test_trio_is_told_that_asyncio_is_needed():
    async def work() -> None:
        with pytest.raises(RuntimeError, match=r"needs asyncio, and here trio runs; call .*_sync"):
            async with fastwsh.connect("ws://127.0.0.1:1/"):
                pass

    trio.run(work)


def test_trio_connects_in_a_thread():
    async def work(url: str) -> None:
        in_thread = trio.to_thread.run_sync
        for connect in (fastwsh.connect, connect_sync):
            connection = await in_thread(connect, url)
            assert isinstance(connection, ClientConnection)
            connection.disconnect()

    with running_server() as server:
        server.handler("/")(lambda connection: connection.wait_closed())
        trio.run(work, server.url)


def test_a_loop_over_connections_is_for_the_caller_to_write():
    async def work() -> None:
        with pytest.raises(TypeError, match="in a loop of yours"):
            async for _ in fastwsh.connect("ws://127.0.0.1:1/"):
                pass

    asyncio.run(work())


@pytest.mark.parametrize("end", ["return", "raise KeyboardInterrupt"])
def test_a_program_ends_while_it_connects(end: str):
    code = f"""\
import asyncio, sys, fastwsh
async def main():
    async def connect():
        await fastwsh.connect(sys.argv[1])
    connecting = [asyncio.create_task(connect()) for _ in range(20)]
    await asyncio.sleep(0.05)
    {end}
try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""

    # the system accepts the connections, and nobody answers
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(RUNS):
            done = run_program(code, f"ws://127.0.0.1:{listener.getsockname()[1]}/")
            assert (done.returncode, done.stderr) == (0, b"")


def test_what_python_calls_at_the_end_may_connect():
    code = """\
import asyncio, atexit, sys, fastwsh
async def main():
    async with fastwsh.connect(sys.argv[1]) as connection:
        print(await connection.recv())
atexit.register(lambda: asyncio.run(main()))
asyncio.run(main())
"""

    with running_server() as server:
        server.reply("x")
        done = run_program(code, server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x\nx\n", b"")


@pytest.mark.parametrize("call", ["recv", "wait_pong"])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("timeout", ["5", b"1", []])
def test_a_time_limit_is_a_number(call: str, timeout: object, *, is_async: bool):
    says = pytest.raises(TypeError, match=r"timeout is .*; give seconds, or None")

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url)
        arguments = [await connection.ping()] if call == "wait_pong" else []
        with says:
            await getattr(connection, call)(*arguments, timeout=timeout)
        connection.disconnect()

    with serving(Peer.answer) as url:
        if is_async:
            asyncio.run(work(url))
            return
        connection = connect_sync(url)
        arguments = [connection.ping()] if call == "wait_pong" else []
        with says:
            getattr(connection, call)(*arguments, timeout=timeout)
        connection.disconnect()


@pytest.mark.parametrize("reason", [b"bye", None])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_close_reason_is_text(reason: object, *, is_async: bool):
    says = partial(pytest.raises, TypeError, match=r"close reason .*; give a str")

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url)
        for call in (connection.close, connection.start_closing):
            with says():
                await call(1000, reason)  # type: ignore[arg-type]
        connection.disconnect()

    with serving(Peer.answer) as url:
        if is_async:
            asyncio.run(work(url))
            return
        connection = connect_sync(url)
        for call in (connection.close, connection.start_closing):
            with says():
                call(1000, reason)  # type: ignore[arg-type]
        connection.disconnect()
