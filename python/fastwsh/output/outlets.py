"""Writes text to pipes and terminals in a thread of its own.

If a reader does not read, a writer has to wait. Here only one thread waits, which does nothing
else, so that connections go on. Text beyond a limit is refused.
"""

from __future__ import annotations

import atexit
import collections
import errno
import os
import select
import stat
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TextIO

__all__ = ["Outlet", "drain", "may_block", "of"]

# Enough for minutes of a busy log, and little compared with what a server needs.
_MAX_KEPT_BYTES: Final = 1 << 20
# How long the process may wait at its end for a reader that does not read.
_LAST_SECONDS: Final = 1.0

_open: Final[dict[TextIO, Outlet]] = {}


def may_block(stream: TextIO) -> bool:
    """Tell whether writing to `stream` may block: a pipe, a socket, a terminal."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()
    except (AttributeError, OSError, ValueError):  # none at all, in memory, or closed
        return False


def of(stream: TextIO) -> TextIO | Outlet:
    """Return the outlet of `stream` if writing may block, else `stream` itself."""
    if not may_block(stream):
        return stream
    outlet = _open.get(stream)
    if outlet is None:
        outlet = _open[stream] = Outlet(stream)
    return outlet


def drain(seconds: float) -> bool:
    """Wait until all outlets are empty, and return whether they are."""
    deadline = time.monotonic() + seconds
    # twice: a failure of one is told in another
    drained = [
        [outlet.drain(deadline - time.monotonic()) for outlet in list(_open.values())]
        for _ in range(2)
    ]
    return all(drained[-1])


class Outlet:
    """Replaces a text stream with a reader that may be slow. Thread-safe.

    The child of a fork has no such thread, so each caller writes its text itself.

    Args:
        stream: The stream to write to; only its descriptor and its encoding are used.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_closed = False
        self._encoding = stream.encoding or "utf-8"
        self._when_empty: list[Callable[[], object]] = []
        self._when_failed: list[Callable[[OSError], object]] = []
        self._reset(is_direct=False)

    def _reset(self, *, is_direct: bool) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._texts: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0
        self._has_refused = False
        self._has_thread = False
        self._error: OSError | None = None
        self._is_direct = is_direct

    def when_empty(self, call: Callable[[], object]) -> None:
        """Set `call` to be called when there is room again after text was refused."""
        self._when_empty.append(call)

    def when_failed(self, call: Callable[[OSError], object]) -> None:
        """Have `call` called, by the thread, with the error of each text that was taken before."""
        self._when_failed.append(call)

    def write(self, text: str) -> None:
        """Accept text to write.

        Raises:
            BlockingIOError: Too much text is waiting already.
            OSError: This text cannot be written, or an earlier one could not.
        """
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            if self._is_direct:
                self._write_out(data, _LAST_SECONDS)
                return
            if self._error is not None:
                # raise the error that the thread has met, as it could not raise it to anybody
                if self._texts:
                    raise OSError(self._error.errno, self._error.strerror)
                self._write_out(data, 0)
                self._error = None
                return
            if self._texts and self._kept_bytes + len(data) > _MAX_KEPT_BYTES:
                self._has_refused = True
                raise BlockingIOError(errno.EAGAIN, "nobody reads")
            self._texts.append(data)
            self._kept_bytes += len(data)
            self._changed.notify_all()
            if not self._has_thread:
                self._has_thread = True
                try:
                    threading.Thread(target=self._run, name="fastwsh-outlet", daemon=True).start()
                except RuntimeError:  # no more threads, or Python is about to end
                    self._has_thread = False
                    self._write_out(self._texts.pop(), _LAST_SECONDS)
                    self._kept_bytes -= len(data)

    def flush(self) -> None:
        """Do nothing, because callers must not wait."""

    def close(self) -> None:
        """Close the stream; text that is waiting is lost."""
        with self._changed:
            self._is_closed = True
            _open.pop(self._stream, None)
            self._changed.notify_all()
        self._stream.close()

    def drain(self, seconds: float) -> bool:
        """Wait until everything is written, and return whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._texts or not self._has_thread, max(seconds, 0)
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._is_closed)
                if self._is_closed:
                    self._has_thread = False
                    return
                data = self._texts[0]
            try:
                self._write_out(data, None)
            except OSError as error:  # the reader has gone
                self._fail(error)
            except ValueError:  # it is closed
                self._error = OSError(errno.EBADF, "it is closed")
            else:
                self._error = None
            with self._changed:
                self._texts.popleft()
                self._kept_bytes -= len(data)
                flows_again = self._has_refused and not self._texts
                if flows_again:
                    self._has_refused = False
                self._changed.notify_all()
            if flows_again:
                for call in self._when_empty:
                    call()

    def _fail(self, error: OSError) -> None:
        # before anybody hears of it: a text that is taken afterwards would seem to be written
        with self._changed:
            self._error = error
        for tell in self._when_failed:
            tell(error)

    def _write_out(self, data: bytes, seconds: float | None) -> None:
        """Write all of `data`. The caller holds no lock that others need, or sets a time limit."""
        rest = memoryview(data)
        while rest:
            descriptor = self._stream.fileno()
            if seconds is not None:
                self._await_room(descriptor, seconds)
            try:
                # a pipe takes this much at once when it is writable
                rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]
            except BlockingIOError:  # another program may have made the pipe non-blocking
                self._await_room(descriptor, seconds)

    @staticmethod
    def _await_room(descriptor: int, seconds: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(None if seconds is None else seconds * 1000):
            raise BlockingIOError(errno.EAGAIN, "nobody reads")


def _end() -> None:
    """Write the last lines; later texts are written without the thread."""
    drain(_LAST_SECONDS)


def _begin_child() -> None:
    for outlet in list(_open.values()):
        outlet._reset(is_direct=True)


atexit.register(_end)
os.register_at_fork(after_in_child=_begin_child)
