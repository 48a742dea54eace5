"""The log of one test server, though all servers of a process share the loggers.

Handlers run in a context that says whose they are. A thread that a handler starts does not inherit
it, so that what such a thread logs belongs to no server.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Final

__all__ = ["ServerLog"]

_NAMES: Final = ("fastwsh", "pywebsocket3")
_CURRENT: Final[ContextVar["ServerLog | None"]] = ContextVar("fastwsh_testing_log", default=None)


class ServerLog(logging.Handler):
    """Collects the lines of one server while it is attached.

    The loggers are set to INFO meanwhile, if they would say less.
    """

    _lock = threading.Lock()
    _attached = 0
    _levels: Final[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record if it is of this server."""
        if _CURRENT.get() is self:
            self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """Take what is logged in this context for the server's."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def attach(self) -> None:
        """Begin to collect."""
        with ServerLog._lock:
            ServerLog._attached += 1
            for name in _NAMES:
                logger = logging.getLogger(name)
                if ServerLog._attached == 1 and logger.getEffectiveLevel() > logging.INFO:
                    ServerLog._levels[name] = logger.level
                    logger.setLevel(logging.INFO)
                logger.addHandler(self)

    def detach(self) -> None:
        """Collect no more."""
        with ServerLog._lock:
            ServerLog._attached -= 1
            for name in _NAMES:
                logger = logging.getLogger(name)
                logger.removeHandler(self)
                if ServerLog._attached == 0 and name in ServerLog._levels:
                    logger.setLevel(ServerLog._levels.pop(name))
