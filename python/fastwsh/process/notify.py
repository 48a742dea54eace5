"""Reports the server's state to a service manager (sd_notify(3)).

Owns the messages and their socket, which `NOTIFY_SOCKET` names; `WATCHDOG_USEC` asks for regular
messages. The program decides when to send which. Without a service manager, nothing here does
anything.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Final

__all__ = ["Notifier"]

# Messages may be lost: nothing here may make the server wait.
# Python ignores SIGPIPE; macOS has no flag against it.
_FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)

_LOGGER: Final = logging.getLogger("fastwsh.notify")


class Notifier:
    """Reports to one service manager. Never raises and never waits; threads may share it.

    If the socket cannot be reached, there is one warning in the log until it can be reached again.

    Args:
        path: The Unix datagram socket of the service manager; an abstract name begins with "@".
            None or "" if there is no service manager.
        watchdog_seconds: The service manager considers the server dead if it gets no message for
            this time; infinite if it does not.
    """

    def __init__(self, path: str | None = None, watchdog_seconds: float = math.inf) -> None:
        self._path = path or ""
        # half of the time, as sd_watchdog_enabled(3) recommends
        self._beat_seconds = watchdog_seconds / 2
        self._next_beat = time.monotonic() if self.is_active else math.inf
        self._is_reachable = True
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if path else None

    @classmethod
    def take_from(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Return the notifier of the environment, and remove the variables for children.

        A watchdog time that is for another process, or not a number, is ignored.
        """
        path, microseconds, pid = (
            environ.pop(name, None) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        )
        is_ours = pid in {None, str(os.getpid())}
        if not is_ours or microseconds is None or not microseconds.isdecimal():
            return cls(path)
        return cls(path, int(microseconds) / 1_000_000 or math.inf)

    @property
    def is_active(self) -> bool:
        """Whether there is a service manager."""
        return bool(self._path)

    @property
    def beat_seconds(self) -> float | None:
        """The time between two calls of `beat`; None without a watchdog."""
        return None if math.isinf(self._beat_seconds) else self._beat_seconds

    def ready(self, status: str) -> None:
        """Report that connections are accepted, with a short status for people."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, status: str) -> None:
        """Report a short status for people."""
        self._send(f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Report that the configuration is read again; `ready` must follow."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def stopping(self, status: str) -> None:
        """Report that the server is about to end, and what it waits for."""
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def beat(self) -> float:
        """Report that the server is alive, if it is time; return the seconds until the next time.

        To be called by the thread that is watched. The result is infinite without a watchdog.
        """
        if math.isinf(self._beat_seconds):
            return math.inf
        now = time.monotonic()
        if now >= self._next_beat:
            self._send("WATCHDOG=1")
            self._next_beat = now + self._beat_seconds
        return self._next_beat - now

    def close(self) -> None:
        """Close the socket; later messages are dropped."""
        self._path = ""
        if self._socket is not None:
            self._socket.close()

    def _send(self, *assignments: str) -> None:
        if self._socket is None or not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            self._socket.sendto("\n".join(assignments).encode(), _FLAGS, address)
        except OSError as error:
            if self._is_reachable:
                reason = error.strerror or error
                _LOGGER.warning(
                    "Cannot tell the service manager at NOTIFY_SOCKET=%s: %s", self._path, reason
                )
            self._is_reachable = False
        else:
            self._is_reachable = True


def _line(text: str) -> str:
    return " ".join(text.split())
