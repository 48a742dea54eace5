"""What is awaited, used by hand: as a coroutine and as a future, rightly and wrongly."""

import asyncio
import collections.abc
import gc
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import StartServer, WriteHandler
from echo_handlers import ECHO
from fastwsh import _core
from fastwsh.client import connect_async
from wire import DEADLINE_SECONDS

Use = Callable[[_core.AsyncStream], Awaitable[object]]


@pytest.fixture
def url(start_server: StartServer, write_handler: WriteHandler) -> Iterator[str]:
    write_handler("echo", ECHO)
    return start_server("-w", "handlers").url("/echo")


def use(url: str, work: Use) -> None:
    """Give the awaitable stream of a client to a coroutine, with a deadline."""

    async def main() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), connect_async(url) as connection:
            await work(connection._awaitable)

    asyncio.run(main())


def test_it_is_a_coroutine_and_no_future(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        operation = stream.receive_message()
        assert isinstance(operation, collections.abc.Coroutine)
        assert asyncio.iscoroutine(operation)
        assert not asyncio.isfuture(operation)
        operation.close()

    use(url, work)


def test_it_is_awaited_once(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        sending = stream.send_message("x")
        assert await sending is None
        with pytest.raises(RuntimeError, match="has been awaited before"):
            await sending
        receiving = stream.receive_message()
        receiving.close()
        with pytest.raises(RuntimeError, match="has been awaited before"):
            await receiving
        assert await stream.receive_message() == "x"

    use(url, work)


async def result_by_hand(operation: Any, resume: Callable[[Any], object]) -> object:
    """Resume an operation as an event loop would, and return its result."""
    while True:
        try:
            resume(operation)
        except StopIteration as stop:
            return stop.value
        await asyncio.sleep(0)


@pytest.mark.parametrize("message", ["x", "", b"x", b""])
@pytest.mark.parametrize("resume", [next, lambda operation: operation.send(None)])
def test_its_end_is_that_of_a_generator(
    url: str, message: str | bytes, resume: Callable[[Any], object]
):
    async def work(stream: _core.AsyncStream) -> None:
        await stream.send_message(message, binary=isinstance(message, bytes))
        result = await result_by_hand(stream.receive_message(), resume)
        assert result == message
        assert type(result) is type(message)

    use(url, work)


def test_the_result_comes_while_an_exception_is_handled(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        try:
            int("x")
        except ValueError:
            await stream.send_message("x")
            assert await stream.receive_message() == "x"
            assert isinstance(sys.exception(), ValueError)
        assert sys.exception() is None

    use(url, work)


def test_what_is_thrown_comes_out_and_ends_it(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        receiving = stream.receive_message()
        assert receiving.send(None) is receiving
        for thrown in [(ValueError("a"),), (ValueError, "a"), (ValueError, ValueError("a"), None)]:
            with pytest.raises(ValueError, match="a"):
                receiving.throw(*thrown)
        # it waits no more: the next one gets the message
        await stream.send_message("x")
        assert await stream.receive_message() == "x"

    use(url, work)


def test_whatever_holds_bytes_is_a_binary_message(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        for message in (b"x", bytearray(b"yz"), memoryview(b"abc")):
            await stream.send_message(message)
            assert await stream.receive_message() == bytes(message)

    use(url, work)


def test_what_nobody_awaits_is_a_warning_and_what_is_closed_is_none(url: str):
    async def work(stream: _core.AsyncStream) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", RuntimeWarning)
            stream.send_message("x")
            stream.receive_message()
            stream.send_ping("x")
            stream.close_connection()
            stream.receive_message().close()
            gc.collect()
        assert [str(warning.message).partition("(")[0] for warning in caught] == [
            *("send_message", "receive_message", "send_ping", "close_connection")
        ]

    use(url, work)


STEPS: dict[str, Callable[[Any], object]] = {
    "next": next,
    "close": lambda operation: operation.close(),
    "cancel": lambda operation: operation.cancel(),
    "result": lambda operation: operation.result(),
    "get_loop": lambda operation: operation.get_loop(),
    "blocking": lambda operation: setattr(operation, "_asyncio_future_blocking", True),
    "not blocking": lambda operation: setattr(operation, "_asyncio_future_blocking", False),
    "callback": lambda operation: operation.add_done_callback(len),
    "no callback": lambda operation: operation.add_done_callback(None),
    "throw": lambda operation: operation.throw(ValueError("x")),
    "throw a class": lambda operation: operation.throw(ValueError),
    "throw a number": lambda operation: operation.throw(5),
}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.sampled_from(["new", "await", "message", *STEPS]), max_size=12))
def test_whatever_is_done_with_it_raises_at_most_an_exception(url: str, steps: list[str]):
    """No panic, which no `Exception` is; and the stream goes on."""

    async def work(stream: _core.AsyncStream) -> None:
        # callbacks that cannot be called
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        operation = stream.receive_message()
        for step in steps:
            with suppress(Exception, asyncio.CancelledError):
                if step == "new":
                    operation.close()
                    operation = stream.receive_message()
                elif step == "message":
                    await stream.send_message("x")
                elif step == "await":
                    async with asyncio.timeout(0):
                        await operation
                else:
                    STEPS[step](operation)
        operation.close()
        await stream.send_message("end")
        while await stream.receive_message() != "end":
            pass

    use(url, work)
