"""What `src/python/event_loop/operation_future.rs` relies on in this CPython's asyncio.

An `Operation` is a coroutine that yields itself as a future. Each test drives a task over a
stand-in that does the same in Python, and fails with the step that this version does differently.
"""

import asyncio
import collections.abc
import sys
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest

from fastwsh import _core

Callback = Callable[[Any], object]

PYTHON = f"CPython {sys.version.split()[0]}"

# asyncio has two; programs use the one in C, debuggers sometimes the other
TASKS = [
    pytest.param(asyncio.tasks._CTask, id="C"),  # type: ignore[attr-defined]
    pytest.param(asyncio.tasks._PyTask, id="Python"),  # type: ignore[attr-defined]
]


class StandIn:
    """Stands for an `Operation`: notes what a task does with it."""

    def __init__(self) -> None:
        self.event_loop = asyncio.get_running_loop()
        self.used: list[str] = []
        self.callbacks: list[tuple[Callback, Any]] = []
        self.resumed = 0
        self.thrown: list[BaseException] = []
        self.blocking: bool | None = True
        self.cancel_messages: list[Any] = []

    def __await__(self) -> Generator["StandIn | None", None, str]:
        try:
            while not self.resumed or self.callbacks:
                yield self
                self.resumed += 1
        except BaseException as error:
            self.thrown.append(error)
            raise
        return "result"

    async def wake(self) -> int:
        """Call the callbacks while no task runs; return how often that has resumed the task."""
        resumed: asyncio.Future[int] = self.event_loop.create_future()
        self.event_loop.call_soon(lambda: resumed.set_result(self._wake()))
        return await resumed

    def _wake(self) -> int:
        callbacks, self.callbacks = self.callbacks, []
        for callback, context in callbacks:
            if context is None:
                callback(self)
            else:
                context.run(callback, self)
        return self.resumed

    def __getattr__(self, name: str) -> Any:
        self.used.append(name)
        match name:
            case "_asyncio_future_blocking":
                return self.blocking
            case "get_loop":
                return lambda: self.event_loop
            case "add_done_callback":
                return lambda callback, *, context=None: self.callbacks.append((callback, context))
            case "result":
                return lambda: None
            case "cancel":
                return self._cancel
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_asyncio_future_blocking":
            self.used.append(f"{name} = {value}")
            name = "blocking"
        super().__setattr__(name, value)

    def _cancel(self, msg: Any = None) -> bool:
        self.cancel_messages.append(msg)
        # also when a test has failed and its tasks are cancelled
        self.event_loop.call_soon(self.event_loop.call_soon, self._wake)
        return True


async def _await(operation: Awaitable[str]) -> str:
    return await operation


@pytest.fixture(params=TASKS)
def task_class(request: pytest.FixtureRequest) -> Any:
    return request.param


async def _begin(task_class: Any) -> tuple[StandIn, Any]:
    """Return a task that waits for a stand-in."""
    stand_in = StandIn()
    task = task_class(_await(stand_in), loop=asyncio.get_running_loop())
    await asyncio.sleep(0)
    assert stand_in.callbacks, f"{PYTHON}: a task does not wait for what its coroutine yields"
    return stand_in, task


def test_a_task_takes_what_is_yielded_for_a_future(task_class: Any):
    async def main() -> None:
        stand_in, task = await _begin(task_class)
        assert stand_in.used[0] == "_asyncio_future_blocking", f"{PYTHON}: {stand_in.used}"
        assert "_asyncio_future_blocking = False" in stand_in.used, f"{PYTHON}: {stand_in.used}"
        [(_, context)] = stand_in.callbacks
        assert context is not None, f"{PYTHON}: a task's callback has no context"
        await stand_in.wake()
        assert await task == "result"

    asyncio.run(main())


def test_a_callback_resumes_the_task_before_it_returns(task_class: Any):
    """This is what saves the trip through the event loop's queue."""

    async def main() -> None:
        stand_in, task = await _begin(task_class)
        assert await stand_in.wake() == 1, f"{PYTHON}: a woken task goes on later"
        assert stand_in.used[-1] == "result", f"{PYTHON}: {stand_in.used}"
        assert await task == "result"

    asyncio.run(main())


def test_a_cancelled_task_asks_the_future_and_waits(task_class: Any):
    async def main() -> None:
        stand_in, task = await _begin(task_class)
        assert task.cancel("why")
        assert stand_in.cancel_messages == ["why"], f"{PYTHON}: {stand_in.used}"
        await asyncio.sleep(0)
        assert not stand_in.thrown, f"{PYTHON}: a task does not wait for a future that it cancels"
        await stand_in.wake()
        assert await task == "result"

    asyncio.run(main())


def test_a_bare_yield_lets_others_have_their_turn(task_class: Any):
    order: list[str] = []

    class Yielding:
        def __await__(self) -> Generator[None, None, None]:
            order.append("first")
            yield None
            order.append("third")

    async def main() -> None:
        async def other() -> None:
            order.append("second")

        loop = asyncio.get_running_loop()
        tasks = [task_class(coroutine, loop=loop) for coroutine in (_await(Yielding()), other())]
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == ["first", "second", "third"], f"{PYTHON}: {order}"


def test_an_operation_has_what_a_task_uses(task_class: Any):
    used: set[str] = set()

    async def main() -> None:
        for cancels in (False, True):
            stand_in, task = await _begin(task_class)
            if cancels:
                task.cancel()
            await stand_in.wake()
            await task
            used.update(name.partition(" ")[0] for name in stand_in.used)

    asyncio.run(main())
    assert {"_asyncio_future_blocking", "add_done_callback", "cancel", "result"} <= used
    missing = {name for name in used if not hasattr(_core.Operation, name)}
    assert not missing, f"{PYTHON}: tasks use {sorted(missing)} of a future"


def test_a_coroutine_is_known_by_its_methods():
    assert issubclass(_core.Operation, collections.abc.Coroutine)
    assert asyncio.CancelledError().args == ()
    assert asyncio.CancelledError("why").args == ("why",)


def test_any_finished_future_wakes_a_task(task_class: Any):
    async def main() -> None:
        stand_in, task = await _begin(task_class)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        done.set_result(None)
        [(callback, context)] = stand_in.callbacks
        stand_in.callbacks = []
        loop.call_soon(lambda: context.run(callback, done))
        assert await task == "result", f"{PYTHON}: a task wants its own future"

    asyncio.run(main())


def test_the_loop_says_what_it_has_to_do():
    """What `src/python/event_loop/agenda.rs` reads."""
    loop = asyncio.SelectorEventLoop()
    ready = loop._ready  # type: ignore[attr-defined]

    async def main() -> None:
        pass

    try:
        assert len(ready) == 0
        loop.call_soon(print)
        assert len(ready) == 1, f"{PYTHON}: call_soon"
        loop.create_task(main())
        assert len(ready) == 2, f"{PYTHON}: create_task"
        loop.run_until_complete(main())
        assert loop._ready is ready, f"{PYTHON}: _ready is another object"  # type: ignore[attr-defined]
        handles = [loop.call_later(seconds, print) for seconds in (30, 10, 20)]
        assert isinstance(loop._scheduled, list)  # type: ignore[attr-defined]
        assert loop._scheduled[0] is handles[1], f"{PYTHON}: call_later"  # type: ignore[attr-defined]
    finally:
        loop.close()
