"""How fast a connection of the test server goes: pauses, and sends that trickle.

Every wait here ends at once when the server lets go of the connection.
"""

import threading
from collections.abc import Callable
from typing import Final

from fastwsh.testing.arguments import check_number
from fastwsh.testing.clock import monotonic, wait_for

__all__ = ["Pace"]

# Pieces of a send that trickles, per second: a client that reads sees it grow.
_PIECES_PER_SECOND: Final = 20


class Pace:
    """The pace of one connection."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = True
        self._released = False
        self._bytes_per_second: float | None = None

    @property
    def is_throttled(self) -> bool:
        """Whether sends trickle."""
        return self._bytes_per_second is not None

    def throttle(self, bytes_per_second: float | None) -> None:
        """Let what is sent from here on trickle; None: no more.

        Raises:
            TypeError: The rate is no number.
            ValueError: It is not above 0, or has no end.
        """
        if bytes_per_second is not None:
            check_number(bytes_per_second, "a rate of", "bytes per second")
        if bytes_per_second is not None and not 0 < bytes_per_second < float("inf"):
            raise ValueError(
                f"a rate of {bytes_per_second} bytes per second; use pause_reading or stall to "
                "stop, and None for full speed"
            )
        self._bytes_per_second = bytes_per_second

    def pause(self) -> None:
        """Read nothing until `resume`."""
        with self._changed:
            self._reading = False

    def resume(self) -> None:
        """Read again."""
        with self._changed:
            self._reading = True
            self._changed.notify_all()

    def release(self) -> None:
        """End every wait, for good."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    @property
    def is_reading(self) -> bool:
        """Whether reading is not paused."""
        return self._reading or self._released

    def wait_until_reading(self) -> None:
        """Wait while reading is paused."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_reading)

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""
        with self._changed:
            wait_for(self._changed, lambda: self._released, seconds)

    def send(self, data: bytes, write: Callable[[bytes], object]) -> None:
        """Write bytes as slowly as the connection is to be.

        What is left when it is released is written at once.
        """
        rate = self._bytes_per_second
        if rate is None:
            write(data)
            return
        size = max(1, int(rate / _PIECES_PER_SECOND))
        due = monotonic()
        for start in range(0, len(data), size):
            if self._released:
                write(data[start:])
                return
            write(data[start : start + size])
            due += size / rate
            self.sleep(max(0.0, due - monotonic()))
