"""The log of one test server, though all servers of a process share the loggers.

Handlers run in a context that names their server. A thread that a handler starts does not inherit
it, so that what such a thread logs belongs to no server.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

from fastwsh.output import loggers

__all__ = ["ServerLog"]

_NAMES: Final = ("fastwsh", "pywebsocket3")
_CURRENT: Final[ContextVar["ServerLog | None"]] = ContextVar("fastwsh_testing_log", default=None)


class ServerLog(logging.Handler):
    """Collects the lines of one server while it is attached.

    The loggers keep their levels meanwhile, and no other handler gets what is logged here, unless
    somebody asks: by a level of the logger, or of one above it but the root, as
    `caplog.set_level(logging.INFO, "fastwsh")` sets it.
    """

    _lock = threading.Lock()
    _attached = 0

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record if it is of this server."""
        if _CURRENT.get() is self:
            self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Count lines that are logged in this context as the server's."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def attach(self) -> None:
        """Begin to collect."""
        with ServerLog._lock:
            ServerLog._attached += 1
            if ServerLog._attached == 1:
                loggers.divert(lambda: _CURRENT.get() is not None, _collect)
            for name in _NAMES:
                logging.getLogger(name).addHandler(self)

    def detach(self) -> None:
        """Collect no more."""
        with ServerLog._lock:
            ServerLog._attached -= 1
            for name in _NAMES:
                logging.getLogger(name).removeHandler(self)
            if ServerLog._attached == 0:
                loggers.divert()


def _collect(logger: logging.Logger, record: logging.LogRecord) -> None:
    if record.levelno >= (_asked_level(logger) or sys.maxsize):
        # all handlers, of which the server's log is one
        logging.Logger.callHandlers(logger, record)
    elif (log := _CURRENT.get()) is not None:
        log.handle(record)


def _asked_level(logger: logging.Logger) -> int:
    """Return the level that was set for a logger itself or a parent; 0 if only the root has one."""
    asked: logging.Logger | None = logger
    while asked is not None and asked.parent is not None:
        if asked.level:
            return asked.level
        asked = asked.parent
    return 0
