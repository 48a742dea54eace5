"""Memory in which all workers count their connections, so that limits hold for all together."""

import mmap
import os
import resource
import tempfile
from typing import IO, Any, Final

from fastwsh.settings import limits

__all__ = ["SharedCounts"]

# As in src/server/admission/shared_counts.rs.
_PAGE: Final = 4096
_ENTRIES: Final = 32
_BUCKET: Final = _ENTRIES * 16
# More connections than this are no more in one process, whatever the system says of descriptors.
_MOST: Final = 1 << 20


class SharedCounts:
    """The memory: a page with a secret key, then two slots for each worker.

    While a process of a worker ends, its successor has the other slot.

    A slot has a table for the addresses of clients if their connections are limited. It has room
    for twice as many addresses as a process can have descriptors; only pages that are used need
    memory.

    Args:
        options: They have the limits.
        count: How many workers there are.
    """

    def __init__(self, options: Any, count: int) -> None:
        given = limits.of(options)
        self._slots = 2 * count
        self._slot = _PAGE
        if given["max_connections_per_address"]:
            _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = descriptors if 0 <= descriptors < _MOST else _MOST
            buckets = 2 * most // _ENTRIES + 1
            self._slot += -(-buckets * _BUCKET // _PAGE) * _PAGE
        self._file: IO[bytes] | None = None
        if given["max_connections"] or given["max_connections_per_address"]:
            self._file = _open()
            self._file.truncate(_PAGE + self._slots * self._slot)
            self._memory = mmap.mmap(self._file.fileno(), _PAGE + self._slots * self._slot)
            self._memory[:16] = os.urandom(16)

    def of(self, number: int, turn: int) -> tuple[int, int, int] | None:
        """Return what the native server of a process is given; None without a limit.

        Args:
            number: That of its worker.
            turn: Which of the worker's two slots, 0 or 1.
        """
        if self._file is None:
            return None
        return self._file.fileno(), _index(number, turn), self._slots

    def release(self, number: int, turn: int) -> None:
        """Forget the connections of a process that has ended."""
        if self._file is None:
            return
        start = _PAGE + _index(number, turn) * self._slot
        try:
            self._memory.madvise(mmap.MADV_REMOVE, start, self._slot)
        except (AttributeError, OSError):  # not on every system, or not for every file
            self._memory[start : start + self._slot] = bytes(self._slot)

    def close(self) -> None:
        """Free the memory."""
        if self._file is not None:
            self._memory.close()
            self._file.close()


def _index(number: int, turn: int) -> int:
    return 2 * (number - 1) + turn


def _open() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("fastwsh-workers"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)
