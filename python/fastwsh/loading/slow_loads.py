"""Telling of handler files that take long to load, or to start up.

Nothing else is loaded meanwhile, and a server that starts does not listen. Code that never ends
cannot be ended from outside, but the log says which file it is in, and where.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import threading
import time

from fastwsh.output import banner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

__all__ = ["SLOW_SECONDS", "watched"]

SLOW_SECONDS: Final = 5.0
"""The time after which somebody who has changed a file wonders why nothing happens."""

# It ends at once, unless nobody takes the line that it logs.
_JOIN_SECONDS: Final = 1.0

_LOGGER: Final = logging.getLogger("fastwsh.server")


@contextlib.contextmanager
def watched() -> Iterator[Callable[[str, str], str]]:
    """Watch what this thread loads while the context lasts.

    Returns:
        A function to be called before each step: with what it does, and the file, which it
        returns.
    """
    watch = _Watch(threading.get_ident())
    thread = threading.Thread(target=watch.run, name="fastwsh-loading", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system has no thread for it: the file is loaded all the same
        yield watch.begin
        return
    try:
        yield watch.begin
    finally:
        watch.ended.set()
        thread.join(_JOIN_SECONDS)


class _Step:
    """Something that may take long."""

    def __init__(self, what: str, path: str) -> None:
        self.what = what
        self.path = path
        self.due = time.monotonic() + SLOW_SECONDS


class _Watch:
    """Watches a thread; `run` is for another one."""

    def __init__(self, thread: int) -> None:
        self.ended = threading.Event()
        self._thread = thread
        self._step: _Step | None = None

    def begin(self, what: str, path: str) -> str:
        self._step = _Step(what, path)
        return path

    def run(self) -> None:
        told: _Step | None = None
        while True:
            step = self._step
            due = math.inf if step is None or step is told else step.due
            if self.ended.wait(min(max(due - time.monotonic(), 0), SLOW_SECONDS)):
                return
            if step is not None and step is self._step and time.monotonic() >= due:
                told = step
                self._tell(step)

    def _tell(self, step: _Step) -> None:
        place = self._place(step.path)
        _LOGGER.warning(
            "%s %s takes longer than %g s%s; nothing else is loaded before it ends: let the file "
            "only define functions, and if it never ends, mend it and start the server again",
            step.what,
            banner.clean(step.path),
            SLOW_SECONDS,
            banner.clean(place),
        )

    def _place(self, path: str) -> str:
        """Say where the thread is in the file; "" if it is not there."""
        frame = sys._current_frames().get(self._thread)
        while frame is not None and frame.f_code.co_filename != path:
            frame = frame.f_back
        return "" if frame is None else f" and is at line {frame.f_lineno}"
