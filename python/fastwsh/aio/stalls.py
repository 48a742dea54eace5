"""Telling the operator which handler keeps the event loop from all others, and by which line."""

import asyncio
import contextvars
import logging
import selectors
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from fastwsh import _core

__all__ = ["RESOURCE", "TASK_PREFIX", "Selector", "Stalls"]

RESOURCE: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar(
    "fastwsh_resource", default=None
)
"""Whose handler a task belongs to; the tasks that it makes take it over."""

TASK_PREFIX: Final = "fastwsh "
"""What stands before the resource in the name of a handler's task."""

REPEAT_SECONDS: Final = 60.0
"""A line of a handler is told of once in so long: one that blocks does so at every message."""

# One that has run for this long since the first look is what blocks, and not one of many.
_SECOND_LOOK_SECONDS: Final = 0.01
_MAX_PLACES: Final = 1000

_PACKAGE: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple(map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
_LOGGER: Final = logging.getLogger("fastwsh.server")


class Selector(selectors.DefaultSelector):
    """asyncio's own, which tells the native half when its event loop waits."""

    native: _core.EventLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As ever."""
        native = self.native
        if native is None:
            return super().select(timeout)
        native.rest()
        try:
            return super().select(timeout)
        finally:
            native.resume()


class _Look(NamedTuple):
    """What a thread was seen to do: whose task, in which line of a handler, and where below."""

    task: Any
    resource: str
    place: str
    below: str


class Stalls:
    """Watches the thread of one event loop, which makes it.

    Args:
        loop: The event loop.
        native: Its native half.
        selector: Its selector, if it is asyncio's; of another kind of event loop, only what
            connections set going is watched.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, native: _core.EventLoop, selector: Selector | None
    ) -> None:
        self._loop = loop
        self._native = native
        self._thread = threading.get_ident()
        # When each place was told of last. The watch's thread alone uses it.
        self._told: dict[str, float] = {}
        if selector is not None:
            selector.native = native
        native.watch(self._note, selector is not None)

    def _note(self, number: int, seconds: float) -> None:
        look = self._look(number)
        if look is None:
            return
        time.sleep(_SECOND_LOOK_SECONDS)
        again = self._look(number)
        if again is not None and again.task is not look.task:
            return
        now = time.monotonic()
        if now - self._told.get(look.place, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._told) >= _MAX_PLACES:
            self._told.clear()
        self._told[look.place] = now
        _LOGGER.warning(
            "Handler of %s blocks the event loop: it has kept others waiting for %.0f ms at %s%s; "
            "use what can be awaited, or a thread: await asyncio.to_thread(...)",
            look.resource,
            seconds * 1000,
            look.place,
            look.below,
        )

    def _look(self, number: int) -> _Look | None:
        """Return what the thread does, if that is still the slice and a task."""
        task = asyncio.current_task(self._loop)
        frames = list(_outwards(sys._current_frames().get(self._thread)))
        own = next((frame for frame in frames if _is_handlers(frame)), None)
        if task is None or own is None:
            return None
        look = _Look(
            task,
            _resource(task) or own.f_code.co_filename,
            _place(own),
            "" if frames[0] is own else f" (in {frames[0].f_code.co_name}, {_place(frames[0])})",
        )
        return look if self._native.slice == number else None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_handlers(frame: FrameType) -> bool:
    """Tell whether this is the code of a handler, or of what it has brought with it."""
    name = frame.f_code.co_filename
    return not name.startswith((_PACKAGE, *_LIBRARIES, "<frozen"))


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _resource(task: Any) -> str | None:
    """Return whose handler a task belongs to; before Python 3.12 of its own only."""
    if hasattr(task, "get_context"):
        resource: str | None = task.get_context().get(RESOURCE)
        return resource
    name: str = task.get_name()
    return name.removeprefix(TASK_PREFIX) if name.startswith(TASK_PREFIX) else None
