"""Trace and profile functions, as `threading` gives them to the threads that it starts.

The threads of handlers are native, and `threading` does not know them. So whoever runs a handler
there asks here first, and coverage, debuggers and profilers see it as in any other thread. Tools of
`sys.monitoring` see all threads without this.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["follow", "is_active"]


class _Followed(threading.local):
    """What this thread was given; the functions may have put others in their place since."""

    trace: Callable[..., Any] | None = None
    profile: Callable[..., Any] | None = None


_followed = _Followed()
# Whether any function has ever been given to a thread, which it may have to lose again.
_has_followed = False


def follow() -> None:
    """Give this thread the functions that `threading` would start it with now."""
    trace, profile = threading.gettrace(), threading.getprofile()
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
