"""The end of the process: the last output, and threads that go on."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress

from fastwsh.output import outlets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

__all__ = ["end_now", "flush_all", "have_ended"]

# The time for the last output: the log or stdout may have a reader that does not read.
_FLUSH_SECONDS: Final = 1.0


def have_ended(threads: set[threading.Thread], seconds: float) -> bool:
    """Wait for the threads that Python would wait for, and return whether they have ended."""
    awaited = [thread for thread in threads if not thread.daemon]
    deadline = time.monotonic() + seconds
    pools = sys.modules.get("concurrent.futures.thread")
    if awaited and pools is not None:
        # Python also tells the threads of pools to end before it waits for them
        with suppress(RuntimeError):
            _run_within(seconds, pools._python_exit)
    for thread in awaited:
        thread.join(max(deadline - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in awaited)


def end_now(status: int, seconds: float = 0) -> NoReturn:
    """End the process although threads are running: a sleeping handler cannot be told to stop.

    Functions registered with `atexit` run, but only for a limited time.
    """

    def end() -> NoReturn:
        flush_all()
        os._exit(status)

    timer = threading.Timer(max(seconds, _FLUSH_SECONDS), end)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:  # the system has no thread for it, and so no limit of time
        end()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    end()


def flush_all() -> bool:
    """Write all pending output; return whether its readers have read it in time."""

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):
                stream.flush()

    try:
        is_flushed = _run_within(_FLUSH_SECONDS, flush)
    except RuntimeError:
        flush()
        is_flushed = True
    return is_flushed and outlets.drain(_FLUSH_SECONDS)


def _run_within(seconds: float, work: Callable[[], object]) -> bool:
    """Run `work` in a thread, and return whether it has ended in time.

    Raises:
        RuntimeError: The system has no thread for it.
    """
    thread = threading.Thread(target=work, name="fastwsh-end", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
