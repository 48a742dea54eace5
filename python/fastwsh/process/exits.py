"""Ends the connections of servers that still run when their program ends.

A program may leave `serve_forever` in a daemon thread. Its handlers are told as if the server were
stopped, because a thread that comes back to an interpreter that is ending may end the process by a
signal.
"""

from __future__ import annotations

import atexit
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Final, Protocol

    from fastwsh import _core

    class _Server(Protocol):
        _core: _core.Server | None
        _stopped: threading.Event


__all__ = ["end_at_exit"]

# The time for handlers to end. One that sleeps for longer does not come back in the short time that
# the interpreter needs to end.
_EXIT_SECONDS: Final = 0.5

_servers: Final[weakref.WeakSet[_Server]] = weakref.WeakSet()


def end_at_exit(server: _Server) -> None:
    """End the connections of a server at the program's end, unless it has been stopped."""
    _servers.add(server)


def _end_all() -> None:
    # the handlers of a server that was stopped have had their time
    servers = [server for server in list(_servers) if not server._stopped.is_set()]
    cores = [core for server in servers if (core := server._core) is not None]
    for core in cores:
        core.close()
    for core in cores:
        if not core.wait_closed(0):
            core.wait_handlers(_EXIT_SECONDS)


# functions that the program registers later run before, and may stop their servers themselves
atexit.register(_end_all)
