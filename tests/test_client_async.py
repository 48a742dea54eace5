"""`fastwsh.connect` inside an event loop."""

import asyncio
import threading
from functools import partial

import pytest

import fastwsh
from client_support import Peer, echo_url, run_within_deadline, serving
from fastwsh.client import AsyncClientConnection, ClientConnection, connect_async
from wire import CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame

__all__ = ["echo_url"]


def test_echo_by_await_and_by_async_with(echo_url: str):
    async def work() -> None:
        connection = await fastwsh.connect(echo_url)
        assert isinstance(connection, AsyncClientConnection)
        for message in ("", "hello", b"\x00" * 3_000_000):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.close()
        assert (connection.close_code, connection.close_reason) == (1000, "")
        async with fastwsh.connect(echo_url, compression=False) as connection:
            assert not connection.is_compressed
            assert connection.remote_address[0] == "127.0.0.1"
            await connection.send("again")
            assert await connection.recv(DEADLINE_SECONDS) == "again"

    run_within_deadline(work)


def test_many_connections_at_once(echo_url: str):
    async def one(number: int) -> None:
        async with connect_async(echo_url) as connection:
            for _ in range(3):
                await connection.send(str(number))
                assert await connection.recv() == str(number)

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(40)))

    run_within_deadline(work)


def test_thread_without_a_loop_gets_a_plain_connection(echo_url: str):
    def in_thread() -> None:
        with fastwsh.connect(echo_url) as connection:
            assert isinstance(connection, ClientConnection)

    async def work() -> None:
        await asyncio.to_thread(in_thread)

    run_within_deadline(work)


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

    run_within_deadline(work)


def test_errors_are_those_of_connect():
    async def work() -> None:
        with pytest.raises(fastwsh.ConnectError, match="refused the connection"):
            await fastwsh.connect("ws://127.0.0.1:1/")
        with pytest.raises(fastwsh.ConnectArgumentError, match="ws://"):
            await fastwsh.connect("nonsense")
        with pytest.raises(TypeError, match="nonsense"):
            fastwsh.connect("ws://127.0.0.1:1/", nonsense=1)

    run_within_deadline(work)


def test_cancelled_connect_gives_up():
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        arrived.set()
        assert peer.read_to_end() == b""

    async def work(echo_url: str) -> None:
        async def attempt() -> None:
            await fastwsh.connect(url, open_timeout=None)

        task = asyncio.create_task(attempt())
        await asyncio.to_thread(arrived.wait, DEADLINE_SECONDS)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with serving(script) as url:
        run_within_deadline(partial(work, url))


def test_timeout_and_cancellation_of_recv_lose_nothing():
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert go_on.wait(DEADLINE_SECONDS)
        peer.send_frame(TEXT, b"one", mask=None)
        peer.send_frame(TEXT, b"two", mask=None)
        peer.read_frame()

    async def work(echo_url: str) -> None:
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
        run_within_deadline(partial(work, url))


def test_tasks_receive_one_after_the_other(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            tasks = [asyncio.create_task(connection.recv()) for _ in range(5)]
            for number in range(5):
                await connection.send(str(number))
            assert await asyncio.gather(*tasks) == ["0", "1", "2", "3", "4"]

    run_within_deadline(work)


def test_ping_and_pong(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            await connection.send("before")
            pong = await connection.ping()
            assert await connection.wait_pong(pong) == pong.round_trip
            assert await connection.recv() == "before"

    run_within_deadline(work)


def test_pong_that_does_not_come_is_a_timeout():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(PING, b"x", mask=None))
        assert peer.read_frame().opcode == PING
        assert peer.read_frame().opcode == PONG
        peer.read_frame()

    async def work(echo_url: str) -> None:
        async with fastwsh.connect(url, close_timeout=0.2) as connection:
            pong = await connection.ping()
            with pytest.raises(TimeoutError, match="no pong"):
                await connection.wait_pong(pong, 0.1)

    with serving(script) as url:
        run_within_deadline(partial(work, url))


@pytest.mark.parametrize("code", [1001, 4000])
def test_iteration_ends_when_the_peer_closes(code: int):
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"a", mask=None))
        peer.send_frame(CLOSE, code.to_bytes(2) + b"bye", mask=None)
        assert peer.read_frame().close_code == code

    async def work(echo_url: str) -> None:
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
        run_within_deadline(partial(work, url))


def test_a_pong_that_another_task_receives(echo_url: str):
    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:
            receiving = asyncio.ensure_future(connection.recv())
            await asyncio.sleep(0)
            pong = await connection.ping()
            assert await connection.wait_pong(pong, DEADLINE_SECONDS) > 0
            await connection.send("x")
            assert await receiving == "x"

    run_within_deadline(work)


def test_tasks_that_send_and_receive_at_once(echo_url: str):
    count, size = 40, 100_000

    async def work() -> None:
        async with fastwsh.connect(echo_url) as connection:

            async def send(letter: str) -> None:
                for number in range(count):
                    await connection.send(f"{number} {letter * size}")

            async def receive() -> list[str]:
                return [str(await connection.recv()) for _ in range(2 * count)]

            _, _, received = await asyncio.gather(send("a"), send("b"), receive())
            for letter in "ab":
                own = [message for message in received if message.endswith(letter)]
                assert own == [f"{number} {letter * size}" for number in range(count)]

    run_within_deadline(work)
