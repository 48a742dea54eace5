"""Keeps calls that block out of the threads of event loops."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["in_thread", "refuse_in_event_loop"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def refuse_in_event_loop(call: str, instead: str) -> None:
    """Raise RuntimeError if an event loop of asyncio or trio runs in the calling thread.

    Args:
        call: What would hold it up.
        instead: What to do there.
    """
    if _asyncio_runs() or _trio() is not None:
        raise RuntimeError(
            f"{call} waits, and would hold up the event loop of this thread; {instead}"
        )


async def in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function that waits, in a thread, from a coroutine of asyncio or trio."""
    trio = _trio()
    if trio is not None:
        result: _T = await trio.to_thread.run_sync(
            partial(function, *args, **kwargs), abandon_on_cancel=True
        )
        return result
    import asyncio  # noqa: PLC0415 (few tests need it)

    return await asyncio.to_thread(function, *args, **kwargs)


def _asyncio_runs() -> bool:
    asyncio: Any = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _trio() -> Any:
    """Return trio if it runs in the calling thread."""
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    return trio
