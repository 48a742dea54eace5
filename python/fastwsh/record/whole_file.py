"""A file that grows before its last bytes, and is valid at any moment, even after a kill.

The kernel copies data page by page, and the process may be killed between two pages. So data within
one page is written in place. Other data is written to a second copy of the file, which is then
renamed over the first in one step; the first copy gets the same data at its next turn. If the file
system has no hard links, everything is written in place.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

__all__ = ["WholeFile"]

# No system has smaller ones.
_PAGE_BYTES: Final = 4096


class WholeFile:
    """A file that grows. Only one thread at a time may use it.

    While it is open, there are two files beside it with names that begin with a dot.

    Args:
        path: The file; an existing one is replaced.
        text: The text at the beginning.
        end: The text after that, which stays at the end.

    Raises:
        BlockingIOError: Another process has it open.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, text: bytes, end: bytes) -> None:
        self._path = path
        self._names = [path.with_name(f".{path.name}.{number}") for number in (1, 2)]
        self._link = path.with_name(f".{path.name}.0")
        self._files: list[int] = []
        # for each file, where its end begins; `_seen` is the file that has the name
        self._places = [len(text), len(text)]
        self._seen = 0
        # the data that the other file does not have yet
        self._behind = b""
        self._has_links = True
        try:
            mode = path.stat().st_mode & 0o777 if path.exists() else None
            for name in self._names:
                self._files.append(_make(name))
                if mode is not None:
                    os.fchmod(self._files[-1], mode)
            for file in self._files:
                _write(file, text + end, 0)
            self._show(self._names[0])
        except BlockingIOError:
            # the names belong to another process
            self._close_files()
            raise
        except BaseException:
            self.close()
            raise

    def append(self, text: bytes, end: bytes) -> None:
        """Replace the end by a text and a new end.

        Raises:
            OSError: It could not be written; the file is unchanged.
        """
        place = self._places[self._seen]
        last = place + len(text) + len(end) - 1
        if self._has_links and place // _PAGE_BYTES != last // _PAGE_BYTES:
            other = 1 - self._seen
            _write(self._files[other], self._behind + text + end, self._places[other])
            self._show(self._names[other])
            self._places[other] += len(self._behind) + len(text)
            self._seen, self._behind = other, text
            return
        _write(self._files[self._seen], text + end, place)
        self._places[self._seen] += len(text)
        self._behind += text if self._has_links else b""

    def close(self) -> None:
        """Close the files; the file stays as it is."""
        for name in (*self._names, self._link):
            with contextlib.suppress(OSError):
                name.unlink()
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()

    def _show(self, name: Path) -> None:
        """Give the file its name."""
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        try:
            os.link(name, self._link)
        except OSError:
            if not self._has_links or self._seen or name != self._names[0]:
                raise
            # a file system without hard links; nothing else has been written so far
            self._has_links = False
            name.replace(self._path)
            return
        self._link.replace(self._path)


def _make(name: Path) -> int:
    """Make an empty file in place of one that a killed process has left, and lock it."""
    with contextlib.suppress(FileNotFoundError):
        left = os.open(name, os.O_RDWR)
        try:
            fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # it may be the same file as the visible one, which must not change
            name.unlink()
        finally:
            os.close(left)
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _write(file: int, data: bytes, place: int) -> None:
    while data:
        count = os.pwrite(file, data, place)
        data, place = data[count:], place + count
