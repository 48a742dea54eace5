"""The clocks of a test server, which go on when a test has stopped those of Python.

freezegun and time-machine replace what `time` has, so that a wait by that would never end.
"""

import threading
from collections.abc import Callable

from fastwsh._core import real_monotonic as monotonic
from fastwsh._core import real_time as time

__all__ = ["monotonic", "time", "wait_for"]


def wait_for(
    changed: threading.Condition, condition: Callable[[], bool], timeout: float | None
) -> bool:
    """Do what `changed.wait_for` does; that asks Python's clock what is left of the time."""
    deadline = None if timeout is None else monotonic() + timeout
    while not (is_met := condition()):
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            break
        changed.wait(None if left is None else min(left, threading.TIMEOUT_MAX))
    return is_met
