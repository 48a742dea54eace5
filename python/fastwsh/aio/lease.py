"""Keeps the native part of a program's own event loop, as long as a connection uses it."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fastwsh import _core

__all__ = ["give_back", "take"]


@dataclass
class _Leased:
    native: _core.EventLoop
    users: int = 0


_LEASED: Final[dict[asyncio.AbstractEventLoop, _Leased]] = {}
_LOCK: Final = threading.RLock()


def take() -> tuple[asyncio.AbstractEventLoop, _core.EventLoop]:
    """Return the running event loop and its native part; `give_back` ends the use of it."""
    loop = asyncio.get_running_loop()
    with _LOCK:
        leased = _LEASED.get(loop)
        if leased is None:
            native = _core.EventLoop(loop)
            loop.add_reader(native.fileno(), native.run)
            leased = _LEASED[loop] = _Leased(native)
        leased.users += 1
    return loop, leased.native


def give_back(loop: asyncio.AbstractEventLoop) -> None:
    """End one use; any thread may call this, also after the loop's end."""
    with _LOCK:
        leased = _LEASED[loop]
        leased.users -= 1
        if leased.users:
            return
        del _LEASED[loop]
    # a loop that has been closed watches nothing
    with suppress(RuntimeError):
        # let the loop do it: this may be another thread, or a garbage collection at any point
        loop.call_soon_threadsafe(_forget, loop, leased.native)


def _forget(loop: asyncio.AbstractEventLoop, native: _core.EventLoop) -> None:
    loop.remove_reader(native.fileno())
