"""Calls of the client that are cancelled, whenever that is, or interrupted."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import fastwsh
from client_support import Peer, serving
from fastwsh.client import AsyncClientConnection
from wire import BINARY, CLOSE, DEADLINE_SECONDS, TEXT

# more than the systems at both ends hold
SIZE = 16 << 20
BYE = (1000).to_bytes(2) + b"bye"

Call = Callable[[AsyncClientConnection], Awaitable[object]]


def close(connection: AsyncClientConnection) -> Awaitable[object]:
    return connection.close()


def receive(connection: AsyncClientConnection) -> Awaitable[object]:
    return connection.recv()


def iterate(connection: AsyncClientConnection) -> Awaitable[object]:
    return anext(aiter(connection))


async def leave_block(connection: AsyncClientConnection) -> None:
    async with connection:
        pass


async def wait_pong(connection: AsyncClientConnection) -> None:
    await connection.wait_pong(await connection.ping())


def says_nothing(peer: Peer) -> None:
    peer.answer()


def closes(peer: Peer) -> None:
    peer.answer()
    peer.send_frame(CLOSE, BYE, mask=None)


def breaks_a_rule(peer: Peer) -> None:
    peer.answer()
    peer.send(b"\xff\xff")


@pytest.mark.parametrize(
    ("script", "call"),
    [
        (says_nothing, close),
        (says_nothing, leave_block),
        (closes, close),
        (closes, receive),
        (closes, iterate),
        (closes, wait_pong),
        (breaks_a_rule, receive),
        (breaks_a_rule, wait_pong),
    ],
)
def test_a_call_that_ends_the_connection_ends_it_when_cancelled(
    script: Callable[[Peer], None], call: Call
):
    for turns in (1, 2, 3, 10):
        ended = threading.Event()

        def run(peer: Peer, ended: threading.Event = ended) -> None:
            script(peer)
            peer.read_to_end()
            ended.set()

        with serving(run) as url:
            asyncio.run(cancel_after(url, call, turns, ended))


async def cancel_after(url: str, call: Call, turns: int, ended: threading.Event) -> None:
    connection = await fastwsh.connect(url, close_timeout=None)
    task = asyncio.ensure_future(call(connection))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    # the exception refers to the connection, which so is not collected
    outcome = await asyncio.gather(task, return_exceptions=True)
    if connection.close_code is None:
        # it was cancelled before it had received what ends the connection
        assert call not in (close, leave_block)
        with pytest.raises(fastwsh.ConnectionClosed):
            await connection.recv(DEADLINE_SECONDS)
    assert await asyncio.to_thread(ended.wait, DEADLINE_SECONDS)
    assert isinstance(outcome[0], (asyncio.CancelledError, fastwsh.ConnectionClosed))
    with pytest.raises(fastwsh.ConnectionClosed):
        await connection.send("too late")


def test_a_time_limit_around_close_is_a_cancellation():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().close_code == 4000
        assert peer.read_to_end() == b""

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url, close_timeout=None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.close(4000)
        assert connection.close_code == 1006

    with serving(script) as url:
        asyncio.run(work(url))


def test_wrong_arguments_of_close_leave_the_connection_open():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"still open"
        assert peer.read_frame().close_code == 1000

    async def work(url: str) -> None:
        async with fastwsh.connect(url) as connection:
            with pytest.raises(ValueError, match="cannot close with 1005"):
                await connection.close(1005)
            await connection.send("still open")

    with serving(script) as url:
        asyncio.run(work(url))


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_tasks_that_receive_hear_of_the_end_of_a_close(is_cancelled: bool):
    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_to_end()

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url, close_timeout=None if is_cancelled else 0.05)
        receiving = asyncio.ensure_future(connection.recv())
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(connection.close())
        await asyncio.sleep(0)
        if is_cancelled:
            closing.cancel()
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(fastwsh.ConnectionClosed):
                await receiving
        await asyncio.gather(closing, return_exceptions=True)

    with serving(script) as url:
        asyncio.run(work(url))


def test_a_message_is_sent_to_its_end_when_its_send_is_cancelled():
    may_read = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert may_read.wait(DEADLINE_SECONDS)
        first, second = peer.read_frame(), peer.read_frame()
        assert (first.opcode, len(first.payload)) == (BINARY, SIZE)
        assert (second.opcode, second.payload) == (TEXT, b"after")

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url, compression=False)
        sending = asyncio.ensure_future(connection.send(bytes(SIZE)))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        may_read.set()
        await connection.send("after")
        connection.disconnect()

    with serving(script) as url:
        asyncio.run(work(url))


def test_the_close_frame_is_sent_when_start_closing_is_cancelled():
    may_read = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert may_read.wait(DEADLINE_SECONDS)
        assert len(peer.read_frame().payload) == SIZE
        assert peer.read_frame().close_code == 4001
        peer.send_frame(TEXT, b"last", mask=None)
        peer.send_frame(CLOSE, BYE, mask=None)

    async def work(url: str) -> None:
        connection = await fastwsh.connect(url, compression=False)
        sending = asyncio.ensure_future(connection.send(bytes(SIZE)))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(connection.start_closing(4001))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        may_read.set()
        await sending
        assert await connection.recv(DEADLINE_SECONDS) == "last"
        with pytest.raises(fastwsh.ConnectionClosed, match="bye"):
            await connection.recv(DEADLINE_SECONDS)

    with serving(script) as url:
        asyncio.run(work(url))


def test_a_connection_that_is_there_when_connect_is_cancelled_ends():
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_to_end()
        ended.set()

    async def work(url: str) -> None:
        attempt: asyncio.Task[Any] = asyncio.create_task(connected(url))
        while not is_there(attempt):  # noqa: ASYNC110 (it tells nobody)
            await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert await asyncio.to_thread(ended.wait, DEADLINE_SECONDS)

    with serving(script) as url:
        asyncio.run(work(url))


async def connected(url: str) -> AsyncClientConnection:
    return await fastwsh.connect(url)


def is_there(attempt: Any) -> bool:
    """Whether what the task waits for is done, but the task has not gone on."""
    waiter = attempt._fut_waiter
    return waiter is not None and waiter.done()


class Interruption(BaseException):
    """As `KeyboardInterrupt`."""


def test_a_close_without_an_event_loop_ends_the_connection_when_interrupted():
    main = threading.get_ident()
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().close_code == 1000
        signal.pthread_kill(main, signal.SIGUSR1)
        peer.read_to_end()
        ended.set()

    def interrupt(*_: object) -> None:
        raise Interruption

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with serving(script) as url:
            connection = fastwsh.client.connect_sync(url, close_timeout=None)
            with pytest.raises(Interruption):
                connection.close()
            assert ended.wait(DEADLINE_SECONDS)
            assert connection.close_code == 1006
    finally:
        signal.signal(signal.SIGUSR1, before)
