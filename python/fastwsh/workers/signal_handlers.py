"""The signals that the parent of workers takes, as long as it serves."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator

__all__ = ["handled"]


@contextlib.contextmanager
def handled(
    numbers: Iterable[signal.Signals],
    note: Callable[[signal.Signals], object],
    suspend: Callable[[], object],
) -> Iterator[None]:
    """Handle signals while the context lasts, if this is the main thread.

    Only those that have Python's default: a program that calls this keeps its own handlers.

    Args:
        numbers: The signals.
        note: Called in the running event loop with each signal that comes.
        suspend: Called there for SIGTSTP, a terminal's Ctrl-Z.
    """
    loop = asyncio.get_running_loop()
    taken = []
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            handler = signal.getsignal(number)
            # asyncio has put its own in the place of Python's
            is_asyncios = getattr(handler, "__module__", "") == "functools"
            if handler in {signal.default_int_handler, signal.SIG_DFL} or is_asyncios:
                loop.add_signal_handler(number, note, number)
                taken.append(number)
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
            loop.add_signal_handler(signal.SIGTSTP, suspend)
            taken.append(signal.SIGTSTP)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)
