"""Trace and profile functions: `threading` sets them in the threads that it starts.

The threads of handlers are native, and `threading` does not know them. So the code that runs a
handler calls this module first, and coverage, debuggers and profilers see it as in any other
thread. Tools of `sys.monitoring` see all threads without this.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["follow", "is_active"]


class _Followed(threading.local):
    """The functions that this thread was given; they may have replaced themselves since."""

    trace: Callable[..., Any] | None = None
    profile: Callable[..., Any] | None = None


_followed = _Followed()
# Whether a thread has ever been given a function, which may have to be removed again.
_has_followed = False


def follow() -> None:
    """Set the functions that `threading` would set in a thread that it starts now."""
    # what `threading.gettrace` and `getprofile` return, which would be two calls more for each
    # connection
    trace: Callable[..., Any] | None = threading._trace_hook  # type: ignore[attr-defined]
    profile: Callable[..., Any] | None = threading._profile_hook
    if trace is None and profile is None and not _has_followed:
        return
    _give(trace, profile)


def is_active() -> bool:
    """Tell whether threads that start now are traced or profiled."""
    return threading.gettrace() is not None or threading.getprofile() is not None


def _give(trace: Callable[..., Any] | None, profile: Callable[..., Any] | None) -> None:
    global _has_followed  # noqa: PLW0603 (it is only ever set)
    _has_followed = True
    # compared by equality: a method that is set twice is the same one
    if profile != _followed.profile:
        _followed.profile = profile
        sys.setprofile(profile)
    if trace != _followed.trace:
        _followed.trace = trace
        sys.settrace(trace)
