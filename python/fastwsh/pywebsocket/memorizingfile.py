"""A file that remembers the lines that were read from it."""

import sys
from typing import Any

from fastwsh.pywebsocket._signatures import hide_annotations

__all__ = ["MemorizingFile"]


class MemorizingFile:
    """Wraps a file and keeps what `readline` read; every other access goes to the file itself.

    `http.server` reads a request line by line before a handler gets the connection. With this
    class, the handler can still see the request as it was sent.
    """

    def __init__(self, file_: Any, max_memorized_lines: int = sys.maxsize) -> None:
        self._file = file_
        self._memorized_lines: list[Any] = []
        self._max_memorized_lines = max_memorized_lines
        # The rest of a line that the caller has read in part.
        self._rest: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def readline(self, size: int = -1) -> Any:
        """Read a line, or at most `size` characters of it; memorize it as a whole.

        A whole line is read from the file even if `size` is less than its length; later calls
        return the rest of it.
        """
        if self._rest is not None:
            line, self._rest = self._rest, None
        else:
            line = self._file.readline()
            if line and len(self._memorized_lines) < self._max_memorized_lines:
                self._memorized_lines.append(line)
        if 0 <= size < len(line):
            self._rest = line[size:]
            return line[:size]
        return line

    def get_memorized_lines(self) -> list[Any]:
        """Return the lines read so far, up to the number given at construction."""
        return self._memorized_lines


hide_annotations(globals())
