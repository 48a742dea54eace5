"""A file that grows before its last bytes, and is whole at any moment, whoever kills the process.

The kernel copies what is written page by page, and a kill may come between two pages. What stays
within a page is therefore written in place. What does not is written to a second copy of the file,
which then takes the place of the first one by its name, in one step; the first one catches up when
its turn comes. Where a file system has no hard links, everything is written in place.
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
    """A file that grows. Not for several threads at once.

    While it is open, two files stand beside it whose names begin with a dot.

    Args:
        path: The file; one that is there is replaced.
        text: What it has at first.
        end: What stands behind that.

    Raises:
        BlockingIOError: Another process has it open.
        OSError: It cannot be written.
    """

    def __init__(self, path: Path, text: bytes, end: bytes) -> None:
        self._path = path
        self._names = [path.with_name(f".{path.name}.{number}") for number in (1, 2)]
        self._link = path.with_name(f".{path.name}.0")
        self._files: list[int] = []
        # of each file where its end begins; the file that can be seen is `_seen`
        self._places = [len(text), len(text)]
        self._seen = 0
        # what the other one does not have yet
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
            # the names are another's
            self._close_files()
            raise
        except BaseException:
            self.close()
            raise

    def append(self, text: bytes, end: bytes) -> None:
        """Write over the end: a text, and a new end.

        Raises:
            OSError: It could not be written; the file is as it was.
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
        """Leave the file alone."""
        for name in (*self._names, self._link):
            with contextlib.suppress(OSError):
                name.unlink()
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files:
            os.close(file)
        self._files.clear()

    def _show(self, name: Path) -> None:
        """Let the file have its name."""
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        try:
            os.link(name, self._link)
        except OSError:
            if not self._has_links or self._seen or name != self._names[0]:
                raise
            # a file system without; nothing else has been written so far
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
            # it may be the one that can be seen: that must stay as it is
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
