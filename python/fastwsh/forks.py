"""What a child has of its parent's server after a fork: nothing.

A handler may start processes, by `multiprocessing` for instance. None of the server's threads runs
there, so that nobody would accept from its sockets, act on its signals, or close what is open.
"""

import contextlib
import os
import signal
import socket
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final, Protocol

__all__ = ["duplicate", "forget_in_children", "own_signals"]


class _Forgetful(Protocol):
    def _forget(self) -> None: ...


_servers: Final[weakref.WeakSet[_Forgetful]] = weakref.WeakSet()
# Descriptors and what they were; whoever has them now may have closed them.
_listening: Final[dict[int, tuple[int, int]]] = {}
_own_signals: Final[dict[signal.Signals, Any]] = {}
# The signals that the forking thread blocked before; a thread forks once at a time.
_mask: Final = threading.local()


def forget_in_children(server: _Forgetful) -> None:
    """Have `_forget` of `server` called in every child, as long as it is there."""
    _servers.add(server)


def duplicate(listener: socket.socket) -> int:
    """Return a descriptor of `listener` for the native half; children close both."""
    number = os.dup(listener.fileno())
    _listening[number] = _identity(number)
    _listening[listener.fileno()] = _identity(number)
    return number


def own_signals(former: Mapping[signal.Signals, Any]) -> None:
    """Say which signals the program has taken over, and what children get back for them."""
    _own_signals.clear()
    _own_signals.update(former)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _hold_signals() -> None:
    # A signal that the child gets before it has its default actions would be taken by Python's own
    # handler there, and forgotten. Blocked, it waits.
    _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, _own_signals.keys())


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask.before)


def _begin_child() -> None:
    for number, handler in _own_signals.items():
        signal.signal(number, handler)
    _own_signals.clear()
    _release_signals()
    # by number: an object of a Unix socket would take the file along that the parent needs
    for descriptor, identity in _listening.items():
        with contextlib.suppress(OSError):
            if _identity(descriptor) == identity:
                os.close(descriptor)
    _listening.clear()
    for server in list(_servers):
        server._forget()
    _servers.clear()


os.register_at_fork(
    before=_hold_signals, after_in_parent=_release_signals, after_in_child=_begin_child
)
