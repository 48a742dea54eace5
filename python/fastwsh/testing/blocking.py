"""Keeps calls that block out of the threads of event loops."""

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from fastwsh.running_loop import asyncio_runs, running_trio

__all__ = ["in_thread", "refuse_in_event_loop"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def refuse_in_event_loop(call: str, instead: str) -> None:
    """Raise RuntimeError if an event loop of asyncio or trio runs in the calling thread.

    Args:
        call: What would hold it up.
        instead: What to do there.
    """
    if asyncio_runs() or running_trio() is not None:
        raise RuntimeError(
            f"{call} waits, and would hold up the event loop of this thread; {instead}"
        )


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that waits, in a thread, from a coroutine of asyncio or trio."""
    trio = running_trio()
    if trio is not None:
        result: _T = await trio.to_thread.run_sync(
            partial(function, *args, **kwargs), abandon_on_cancel=True
        )
        return result
    import asyncio  # noqa: PLC0415 (few tests need it)

    return await asyncio.to_thread(function, *args, **kwargs)
