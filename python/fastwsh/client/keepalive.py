"""Sends pings in the background while the console runs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastwsh.client.connection import ClientConnection
from fastwsh.errors import FastwshError

__all__ = ["Keepalive"]


class Keepalive:
    """Sends pings, and cuts the connection if one is unanswered when the next is due.

    Another thread must receive, as only receiving notices pongs.

    Args:
        connection: The connection.
        interval: Seconds between pings; None: there are none.
        tell: Called with a sentence when the connection is cut.
    """

    def __init__(
        self, connection: ClientConnection, interval: float | None, tell: Callable[[str], object]
    ) -> None:
        self._connection = connection
        self._interval = interval
        self._tell = tell
        self._over = threading.Event()
        # When the receiver began to wait; None while it does something else and notices no pong.
        self._waits_since: float | None = time.monotonic()

    def start(self) -> None:
        """Begin, if there is an interval."""
        if self._interval is not None:
            run = threading.Thread(target=self._run, name="fastwsh-ping", daemon=True)
            run.start()

    def stop(self) -> None:
        """Stop sending pings."""
        self._over.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark a block in which nothing is received."""
        self._waits_since = None
        try:
            yield
        finally:
            self._waits_since = time.monotonic()

    def _run(self) -> None:
        pong = None
        sent = time.monotonic()
        while not self._over.wait(self._interval):
            if pong is not None and pong.round_trip is None:
                if self._has_had_time(sent):
                    self._tell(f"no pong came within {self._interval:g} s; the connection is cut")
                    self._connection.disconnect()
                    return
                continue
            try:
                sent = time.monotonic()
                pong = self._connection.ping()
            except (FastwshError, OSError):
                # The receiver reports why.
                return

    def _has_had_time(self, sent: float) -> bool:
        since = self._waits_since
        interval = self._interval or 0
        # The clock of the wait above may be a little ahead of this clock.
        return since is not None and time.monotonic() - max(sent, since) >= interval * 0.9
