"""Detaches child processes from the server of their parent after a fork.

A handler may start processes, by `multiprocessing` for instance. None of the server's threads runs
in the child, so nothing there would accept from the sockets, act on the signals, or close what is
open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Any, Final, NoReturn, Protocol

    class _Forgetful(Protocol):
        def _forget(self) -> bool: ...


__all__ = [
    "close_in_children",
    "duplicate",
    "end_child",
    "forget_in_children",
    "is_child",
    "own_signals",
]

_servers: Final[weakref.WeakSet[_Forgetful]] = weakref.WeakSet()
# Descriptors and the files that they referred to. Their owners may have closed them since.
_listening: Final[dict[int, tuple[int, int]]] = {}
_own_signals: Final[dict[signal.Signals, Any]] = {}
is_child = False
"""Whether a thread of a server has forked this process.

The dispatcher looks at it wherever a handler ends, so it must cost less than a call.
"""
# The signals that the forking thread had blocked before; a thread makes one fork at a time.
_mask: Final = threading.local()


def forget_in_children(server: _Forgetful) -> None:
    """Call `_forget` of `server` in every child, as long as the server exists.

    It returns whether the server was the parent's, so that the child cannot use it.
    """
    global is_child  # noqa: PLW0603 (it is of the process)
    # its handlers begin in this process
    is_child = False
    _servers.add(server)


def duplicate(listener: socket.socket) -> int:
    """Return a descriptor of `listener` for the native server; children close both."""
    number = os.dup(listener.fileno())
    _listening[number] = _identity(number)
    _listening[listener.fileno()] = _identity(number)
    return number


def close_in_children(bound: socket.socket) -> None:
    """Let children close a socket, so that its port is free when the server has ended."""
    _listening[bound.fileno()] = _identity(bound.fileno())


def own_signals(former: Mapping[signal.Signals, Any]) -> None:
    """Register the signals that the program handles, and the handlers that children restore."""
    _own_signals.clear()
    _own_signals.update(former)


def end_child() -> NoReturn:
    """End this process at once, as Python ends a program that raises an exception or returns.

    Called if `is_child` where a handler ends, in a `finally`. What comes behind belongs to the
    server: the close frame, the connection's end, and other handlers of the same thread. The child
    must do none of it, and the parent does all of it.
    """
    error = sys.exception()
    status = 0
    if isinstance(error, SystemExit):
        if isinstance(error.code, int):
            status = error.code & 0xFF
        elif error.code is not None:
            _write(str(error.code))
            status = 1
    elif error is not None:
        _write("".join(traceback.format_exception(error)))
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _write(text: str) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{text.rstrip()}\n")


def _make_main_thread() -> None:
    """Make the thread that has forked the main thread of the child, as later Pythons do.

    Python knows a thread of the native server as a dummy, for which `threading._shutdown` of
    CPython 3.11 fails; every child of `multiprocessing` would end with status 1.
    """
    thread = threading.current_thread()
    set_lock = getattr(thread, "_set_tstate_lock", None)
    if isinstance(thread, threading._DummyThread) and set_lock is not None:
        thread.__class__ = threading._MainThread  # type: ignore[attr-defined]
        thread._name = "MainThread"  # type: ignore[attr-defined]
        thread._daemonic = False  # type: ignore[attr-defined]
        set_lock()


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _hold_signals() -> None:
    # If a signal reached the child before its default actions are restored, Python's handler would
    # take it, and it would be lost. If it is blocked, it waits.
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _own_signals.keys())


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _begin_child() -> None:
    global is_child  # noqa: PLW0603 (it is of the process)
    _make_main_thread()
    for number, handler in _own_signals.items():
        signal.signal(number, handler)
    _own_signals.clear()
    _release_signals()
    # close by number: closing an object of a Unix socket would also remove the parent's file
    for descriptor, identity in _listening.items():
        with contextlib.suppress(OSError):
            if _identity(descriptor) == identity:
                os.close(descriptor)
    _listening.clear()
    forgotten = [server for server in list(_servers) if server._forget()]
    # a program may fork before it serves, as those with worker processes do; then no handler has
    is_child = len(forgotten) > 0
    _servers.difference_update(forgotten)


os.register_at_fork(
    before=_hold_signals, after_in_parent=_release_signals, after_in_child=_begin_child
)
