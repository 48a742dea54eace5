"""Logs which handler blocks the event loop, and in which line."""

import asyncio
import contextvars
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

from fastwsh import _core

__all__ = ["RESOURCE", "TASK_PREFIX", "Stalls"]

RESOURCE: Final[contextvars.ContextVar[str | None]] = contextvars.ContextVar(
    "fastwsh_resource", default=None
)
"""The resource of the handler to which a task belongs; tasks that it makes inherit this."""

TASK_PREFIX: Final = "fastwsh "
"""The beginning of the name of a handler's task, before the resource."""

REPEAT_SECONDS: Final = 60.0
"""Each line of a handler is logged at most once in this time: one that blocks does so at every
message.
"""

# If one task has run for this long since the first sample, it is the one that blocks.
_SECOND_LOOK_SECONDS: Final = 0.01
_MAX_PLACES: Final = 1000

_PACKAGE: Final = str(Path(__file__).parent.parent)
_LIBRARIES: Final = tuple(map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
_LOGGER: Final = logging.getLogger("fastwsh.server")


class _Sample(NamedTuple):
    """What a thread is doing: the task's handler, its line, and the innermost function."""

    task: Any
    resource: str
    place: str
    below: str


class Stalls:
    """Watches the thread of one event loop; to be made in that thread.

    Args:
        loop: The event loop.
        native: Its native part.
        loop_says: Whether the loop tells its native part when it waits. Otherwise only the calls
            that follow an event of a connection are watched.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, native: _core.EventLoop, *, loop_says: bool
    ) -> None:
        self._loop = loop
        self._native = native
        self._thread = threading.get_ident()
        # When each place was logged last. Only the watching thread uses this.
        self._told: dict[str, float] = {}
        native.watch(self._note, loop_says)

    def _note(self, number: int, seconds: float) -> None:
        sample = self._take_sample(number)
        if sample is None:
            return
        time.sleep(_SECOND_LOOK_SECONDS)
        again = self._take_sample(number)
        if again is not None and again.task is not sample.task:
            return
        now = time.monotonic()
        if now - self._told.get(sample.place, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        if len(self._told) >= _MAX_PLACES:
            self._told.clear()
        self._told[sample.place] = now
        _LOGGER.warning(
            "Handler of %s blocks the event loop: it has kept others waiting for %.0f ms at %s%s; "
            "use what can be awaited, or a thread: await asyncio.to_thread(...)",
            sample.resource,
            seconds * 1000,
            sample.place,
            sample.below,
        )

    def _take_sample(self, number: int) -> _Sample | None:
        """Return what the thread does, if it is still in this slice and in a task."""
        task = asyncio.current_task(self._loop)
        frames = list(_outwards(sys._current_frames().get(self._thread)))
        own = next((frame for frame in frames if _is_handlers(frame)), None)
        if task is None or own is None:
            return None
        sample = _Sample(
            task,
            _resource(task) or own.f_code.co_filename,
            _place(own),
            "" if frames[0] is own else f" (in {frames[0].f_code.co_name}, {_place(frames[0])})",
        )
        return sample if self._native.slice == number else None


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_handlers(frame: FrameType) -> bool:
    """Tell whether this is the code of a handler, or of a module beside it."""
    name = frame.f_code.co_filename
    return not name.startswith((_PACKAGE, *_LIBRARIES, "<frozen"))


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _resource(task: Any) -> str | None:
    """Return the resource of a task's handler; before Python 3.12 of its main task only."""
    if hasattr(task, "get_context"):
        resource: str | None = task.get_context().get(RESOURCE)
        return resource
    name: str = task.get_name()
    return name.removeprefix(TASK_PREFIX) if name.startswith(TASK_PREFIX) else None
