"""Messages to send without a terminal: arguments, files, and lines of standard input."""

import os
import select
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["File", "Fragments", "InputError", "Message", "StdinLines", "messages_of"]

_CHUNK_BYTES: Final = 64 * 1024
# A longer message is sent in fragments while it is read: it may not fit into memory.
_FRAGMENT_BYTES: Final = 16 * 1024 * 1024
# How often a thread that waits for lines checks whether they are still wanted.
_LOOK_SECONDS: Final = 0.1
# How much to read from a pipe that is never empty, after no more is wanted: what it can hold.
_LAST_BYTES: Final = 64 * 1024


class InputError(Exception):
    """Something cannot be read or sent; the text is a sentence."""


@dataclass(frozen=True)
class File:
    """A file to send as one message; `-` is standard input."""

    name: str

    def read(self) -> "bytes | Fragments":
        """Return its bytes, or what reads them while they are sent.

        Raises:
            InputError: It cannot be read.
        """
        if self.name == "-" and sys.stdin is None:
            return b""
        with _readable(self):
            file = self._open()
            first = file.read(_FRAGMENT_BYTES)
            if len(first) == _FRAGMENT_BYTES:
                return Fragments(self, file, first)
            file.close()
        return first

    def _open(self) -> BinaryIO:
        if self.name != "-":
            return Path(self.name).open("rb")
        # Not `sys.stdin`, as for lines.
        return open(0, "rb", closefd=False)


@dataclass(frozen=True)
class Fragments:
    """A long binary message, which is read while it is sent; an iterable of its parts.

    Attributes:
        of: Where it comes from.
        file: That file.
        first: What was read of it.
    """

    of: File
    file: BinaryIO
    first: bytes

    def __iter__(self) -> Iterator[bytes]:
        """Yield the parts.

        Raises:
            InputError: It cannot be read any more.
        """
        with self.file:
            part = self.first
            while part:
                yield part
                with _readable(self.of):
                    part = self.file.read(_FRAGMENT_BYTES)


Message = str | bytes | Fragments


@contextmanager
def _readable(file: File) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = "standard input" if file.name == "-" else file.name
        raise InputError(f"cannot read {name}: {error.strerror}") from None


def messages_of(sending: Iterable[str | File], *, binary: bool) -> list[Message]:
    """Return the messages: a str or, if `binary`, its bytes; for a file its content.

    Raises:
        InputError: A file cannot be read, or an argument is not UTF-8.
    """
    return [
        item.read() if isinstance(item, File) else _argument(item, binary=binary)
        for item in sending
    ]


def _argument(text: str, *, binary: bool) -> str | bytes:
    if binary:
        # The bytes of the command line, even if they are not UTF-8.
        return os.fsencode(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            "a message of --send is not UTF-8; add --binary to send its bytes"
        ) from None
    return text


class StdinLines:
    """Iterates over the lines of standard input as they come, without their ends.

    Does not use `sys.stdin`, because a waiting thread would hold its lock when the program ends.

    Args:
        binary: Whether a line is bytes, not text.
    """

    def __init__(self, *, binary: bool = False) -> None:
        self._binary = binary
        self._last = threading.Event()
        self._left = _LAST_BYTES

    def stop(self) -> None:
        """End the iteration after what can be read at once."""
        self._last.set()

    def __iter__(self) -> Iterator[str | bytes]:
        """Yield the lines.

        Raises:
            InputError: It cannot be read, or a line is not UTF-8.
        """
        for number, line in enumerate(self._lines(), 1):
            if self._binary:
                yield line
                continue
            try:
                yield line.decode()
            except UnicodeDecodeError:
                raise InputError(
                    f"line {number} of standard input is not UTF-8; use --binary, or --send-file -"
                    " for all of it in one message"
                ) from None

    def _lines(self) -> Iterator[bytes]:
        # Joined once for each line, however many chunks it has.
        parts: list[bytes] = []
        while chunk := self._read():
            *lines, rest = chunk.split(b"\n")
            for line in lines:
                yield b"".join([*parts, line]).removesuffix(b"\r")
                parts.clear()
            if rest:
                parts.append(rest)
        if parts:
            yield b"".join(parts)

    def _read(self) -> bytes:
        if sys.stdin is None:
            return b""
        try:
            while not select.select([0], [], [], 0 if self._last.is_set() else _LOOK_SECONDS)[0]:
                if self._last.is_set():
                    return b""
            if not self._last.is_set() or stat.S_ISREG(os.fstat(0).st_mode):
                return os.read(0, _CHUNK_BYTES)
            chunk = os.read(0, self._left) if self._left else b""
            self._left -= len(chunk)
        except OSError as error:
            raise InputError(f"cannot read standard input: {error.strerror}") from None
        return chunk
