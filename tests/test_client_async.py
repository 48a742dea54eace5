"""`fastwsh.connect` inside an event loop."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
from websockets.sync.server import ServerConnection, serve

import fastwsh
from client_support import Peer, serving
from conftest import StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from fastwsh import _core
from fastwsh.aio import native_loop
from fastwsh.client import AsyncClientConnection, ClientConnection, connect_async
from usage import own_descriptors, wait_for_own_descriptors
from waiting import wait_until
from wire import CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an echo server of websockets."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(DEADLINE_SECONDS)


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine, with a deadline."""

    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(within_deadline())


def test_echo_by_await_and_by_async_with(url: str):
    async def work() -> None:
        connection = await fastwsh.connect(url)
        assert isinstance(connection, AsyncClientConnection)
        for message in ("", "hello", b"\x00" * 3_000_000):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.close()
        assert (connection.close_code, connection.close_reason) == (1000, "")
        async with fastwsh.connect(url, compression=False) as connection:
            assert not connection.is_compressed
            assert connection.remote_address[0] == "127.0.0.1"
            await connection.send("again")
            assert await connection.recv(DEADLINE_SECONDS) == "again"

    run(work)


def test_many_connections_at_once(url: str):
    async def one(number: int) -> None:
        async with connect_async(url) as connection:
            for _ in range(3):
                await connection.send(str(number))
                assert await connection.recv() == str(number)

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(40)))

    run(work)


def test_thread_without_a_loop_gets_a_plain_connection(url: str):
    def in_thread() -> None:
        with fastwsh.connect(url) as connection:
            assert isinstance(connection, ClientConnection)

    async def work() -> None:
        await asyncio.to_thread(in_thread)

    run(work)


def test_use_without_await_is_told_the_remedy():
    async def work() -> None:
        connecting = fastwsh.connect("ws://127.0.0.1:1/")
        for use in (
            connecting.__enter__,
            lambda: connecting.send("x"),
            lambda: connecting.recv(timeout=1),
            lambda: iter(connecting),
        ):
            with pytest.raises(TypeError, match=r"await fastwsh\.connect"):
                use()
        with pytest.raises(TypeError, match=r"await fastwsh\.connect"), connecting:
            pass
        assert not hasattr(connecting, "nothing")

    run(work)


def test_errors_are_those_of_connect():
    async def work() -> None:
        with pytest.raises(fastwsh.ConnectError, match="refused the connection"):
            await fastwsh.connect("ws://127.0.0.1:1/")
        with pytest.raises(fastwsh.ConnectArgumentError, match="ws://"):
            await fastwsh.connect("nonsense")
        with pytest.raises(TypeError, match="nonsense"):
            fastwsh.connect("ws://127.0.0.1:1/", nonsense=1)

    run(work)


def test_cancelled_connect_gives_up():
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        arrived.set()
        assert peer.read_to_end() == b""

    async def work(url: str) -> None:
        async def attempt() -> None:
            await fastwsh.connect(url, open_timeout=None)

        task = asyncio.create_task(attempt())
        await asyncio.to_thread(arrived.wait, DEADLINE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serving(script) as url:
        run(partial(work, url))


def test_timeout_and_cancellation_of_recv_lose_nothing():
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert go_on.wait(DEADLINE_SECONDS)
        peer.send_frame(TEXT, b"one", mask=None)
        peer.send_frame(TEXT, b"two", mask=None)
        peer.read_frame()

    async def work(url: str) -> None:
        async with fastwsh.connect(url, close_timeout=1) as connection:
            with pytest.raises(TimeoutError, match=r"no message came within 0\.05 s"):
                await connection.recv(0.05)
            task = asyncio.create_task(connection.recv())
            # Begun, and waiting.
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
            assert [await connection.recv(), await connection.recv()] == ["one", "two"]

    with serving(script) as url:
        run(partial(work, url))


def test_tasks_receive_one_after_the_other(url: str):
    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            tasks = [asyncio.create_task(connection.recv()) for _ in range(5)]
            for number in range(5):
                await connection.send(str(number))
            assert await asyncio.gather(*tasks) == ["0", "1", "2", "3", "4"]

    run(work)


def test_ping_and_pong(url: str):
    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            await connection.send("before")
            pong = await connection.ping()
            assert await connection.wait_pong(pong) == pong.round_trip
            assert await connection.recv() == "before"

    run(work)


def test_pong_that_does_not_come_is_a_timeout():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(PING, b"x", mask=None))
        assert peer.read_frame().opcode == PING
        assert peer.read_frame().opcode == PONG
        peer.read_frame()

    async def work(url: str) -> None:
        async with fastwsh.connect(url, close_timeout=0.2) as connection:
            pong = await connection.ping()
            with pytest.raises(TimeoutError, match="no pong"):
                await connection.wait_pong(pong, 0.1)

    with serving(script) as url:
        run(partial(work, url))


@pytest.mark.parametrize("code", [1001, 4000])
def test_iteration_ends_when_the_peer_closes(code: int):
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"a", mask=None))
        peer.send_frame(CLOSE, code.to_bytes(2) + b"bye", mask=None)
        assert peer.read_frame().close_code == code

    async def work(url: str) -> None:
        async with fastwsh.connect(url) as connection:
            assert await anext(aiter(connection)) == "a"
            if code == 1001:
                assert [message async for message in connection] == []
            else:
                with pytest.raises(fastwsh.ConnectionClosed, match="4000"):
                    await anext(aiter(connection))
        with pytest.raises(fastwsh.ConnectionClosed, match=str(code)):
            await connection.send("too late")

    with serving(script) as url:
        run(partial(work, url))


def run_program(code: str, url: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code, url],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(),
        check=False,
    )


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


def test_program_that_ends_before_the_thread_that_connected_has_gone_on(url: str):
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
    done = run_program(code, url)
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
    run(work)
    before = own_descriptors()
    for _ in range(20):
        run(work)
    wait_for_own_descriptors(before + 10)

    def are_gone() -> bool:
        collect_all()
        return not native_loop._NATIVE

    wait_until(are_gone, "ended loops are left")


def test_connections_one_after_the_other_share_the_native_part(url: str):
    async def work() -> None:
        async with fastwsh.connect(url):
            native = native_loop.of_running_loop()
        async with fastwsh.connect(url):
            assert native_loop.of_running_loop() is native

    run(work)


def test_a_loop_that_is_only_closed_leaves_no_descriptor(url: str):
    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            await connection.send("x")

    run(work)
    before = own_descriptors()
    for _ in range(20):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(work())
        loop.close()
    wait_for_own_descriptors(before + 10)


def test_a_loop_that_is_never_closed_is_collected_and_python_says_so(url: str):
    async def work() -> None:
        async with fastwsh.connect(url) as connection:
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


def test_a_loop_of_another_kind(url: str):
    uvloop = pytest.importorskip("uvloop")

    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            for message in ("x", b"y" * 3_000_000):
                await connection.send(message)
                assert await connection.recv() == message

    uvloop.run(work())


def test_a_pong_that_another_task_receives(url: str):
    async def work() -> None:
        async with fastwsh.connect(url) as connection:
            receiving = asyncio.ensure_future(connection.recv())
            await asyncio.sleep(0)
            pong = await connection.ping()
            assert await connection.wait_pong(pong, DEADLINE_SECONDS) > 0
            await connection.send("x")
            assert await receiving == "x"

    run(work)


def test_tasks_that_send_and_receive_at_once(url: str):
    count, size = 40, 100_000

    async def work() -> None:
        async with fastwsh.connect(url) as connection:

            async def send(letter: str) -> None:
                for number in range(count):
                    await connection.send(f"{number} {letter * size}")

            async def receive() -> list[str]:
                return [str(await connection.recv()) for _ in range(2 * count)]

            _, _, received = await asyncio.gather(send("a"), send("b"), receive())
            for letter in "ab":
                own = [message for message in received if message.endswith(letter)]
                assert own == [f"{number} {letter * size}" for number in range(count)]

    run(work)
