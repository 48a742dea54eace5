"""`fastwsh.connect` and event loops: those of others, those that end, and programs that end."""

import asyncio
import gc
import socket
import subprocess
import sys
from functools import partial
from types import ModuleType

import pytest
import trio

import fastwsh
from client_support import Peer, echo_url, run_within_deadline, serving
from conftest import StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from fastwsh import _core
from fastwsh.aio import native_loop
from fastwsh.client import ClientConnection, connect_sync
from fastwsh.running_loop import asyncio_runs, running_trio
from fastwsh.testing import running_server
from usage import own_descriptors, wait_for_own_descriptors
from waiting import wait_until
from wire import DEADLINE_SECONDS

__all__ = ["echo_url"]

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


def test_event_loop_that_another_thread_imports_does_not_run(monkeypatch: pytest.MonkeyPatch):
    half_imported = ModuleType("trio")
    monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))
    monkeypatch.setitem(sys.modules, "trio", half_imported)

    assert not asyncio_runs()
    assert running_trio() is None

    monkeypatch.setattr(half_imported, "lowlevel", ModuleType("trio.lowlevel"), raising=False)
    assert running_trio() is None


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


def test_program_that_forgets_to_close_ends():
    code = """\
import asyncio, sys, fastwsh
async def main():
    connection = await fastwsh.connect(sys.argv[1])
    task = asyncio.create_task(connection.recv())
    await asyncio.sleep(0.05)
asyncio.run(main())
"""

    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_to_end() == b""

    with serving(script) as url:
        done = run_program(code, url)
    assert (done.returncode, done.stderr) == (0, b"")


def test_program_that_ends_before_the_thread_that_connected_has_gone_on(echo_url: str):
    code = """\
import asyncio, sys, threading, time, fastwsh
class Loop(asyncio.SelectorEventLoop):
    def call_soon_threadsafe(self, *args, **kwargs):
        handle = super().call_soon_threadsafe(*args, **kwargs)
        main = threading.main_thread()
        if threading.current_thread() is not main:
            main.join()
            for _ in range(20):
                time.sleep(0.01)
        return handle
async def main():
    async with fastwsh.connect(sys.argv[1]):
        pass
with asyncio.Runner(loop_factory=Loop) as runner:
    runner.run(main())
"""
    done = run_program(code, echo_url)
    assert (done.returncode, done.stderr) == (0, b"")


def collect_all() -> None:
    """Free what threads may have held a moment longer than the loop that they worked for.

    What they let go of without the GIL is freed by the next call of the native module.
    """
    _core.real_monotonic()
    gc.collect()


def test_nothing_is_left_of_ended_loops(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    url = start_server("-w", "handlers").url("/echo")

    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            await connection.send("x")
            assert await connection.recv() == "x"
        # not closed: the collector has to do
        left = await fastwsh.connect(url)
        await left.send("y")

    # Threads that connect and close begin when they are needed first, perhaps after the count, and
    # stay: they have fewer descriptors than 20 loops would leave.
    run_within_deadline(work)
    before = own_descriptors()
    for _ in range(20):
        run_within_deadline(work)
    wait_for_own_descriptors(before + 10)

    def are_gone() -> bool:
        collect_all()
        return not native_loop._NATIVE

    wait_until(are_gone, "ended loops are left")


def test_connections_one_after_the_other_share_the_native_part(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url):
            native = native_loop.of_running_loop()
        async with fastwsh.connect(echo_url):
            assert native_loop.of_running_loop() is native

    run_within_deadline(work)


def test_a_loop_that_is_only_closed_leaves_no_descriptor(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            await connection.send("x")

    run_within_deadline(work)
    before = own_descriptors()
    for _ in range(20):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        loop.close()
    wait_for_own_descriptors(before + 10)


def test_a_loop_that_is_never_closed_is_collected_and_python_says_so(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            await connection.send("x")

    def is_told() -> bool:
        collect_all()
        return any("unclosed event loop" in str(warning.message) for warning in warnings)

    def forget_a_loop() -> None:
        # a collection may come at any time from here on
        asyncio.new_event_loop().run_until_complete(work())
        wait_until(is_told, "the loop is left")

    with pytest.warns(ResourceWarning, match="unclosed event loop") as warnings:
        forget_a_loop()


def test_a_loop_of_another_kind(echo_url: str):
    uvloop = pytest.importorskip("uvloop")

    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            for message in ("x", b"y" * 3_000_000):
                await connection.send(message)
                assert await connection.recv() == message

    uvloop.run(work())


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
