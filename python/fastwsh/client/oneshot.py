"""Running to an end, for scripts: send, write what comes to standard output, leave with a status.

A thread sends while the main thread receives, so that neither side waits for the other to read.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from fastwsh.client.commands import CommandError, parse
from fastwsh.client.connection import ClientConnection
from fastwsh.client.speakers import FrameSpeaker, Show
from fastwsh.client.status import Status, of_close
from fastwsh.client.terminal import escape
from fastwsh.errors import ConnectionClosed, FastwshError

__all__ = ["OneShot", "messages_of", "run_raw", "stdin_lines"]

# How often the main thread looks whether everything has been sent.
_LOOK_SECONDS: Final = 0.1
_CHUNK_BYTES: Final = 64 * 1024


class OneShot:
    """Sends messages, and receives until what is awaited has come.

    Args:
        connection: An open connection.
        messages: What to send.
        tell: Takes a sentence for standard error.
        expect: Close when so many messages have come; None: when the peer has answered our close
            frame, which follows the last message.
        until_closed: Wait for the peer's close frame instead.
        timeout: Seconds for what is awaited, counted from the last message sent; None: no limit.
    """

    def __init__(
        self,
        connection: ClientConnection,
        messages: Iterable[str | bytes],
        tell: Callable[[str], None],
        *,
        expect: int | None = None,
        until_closed: bool = False,
        timeout: float | None,
    ) -> None:
        self._connection = connection
        self._messages = messages
        self._tell = tell
        self._expect = expect
        self._closes = expect is None and not until_closed
        self._timeout = timeout
        self._sent_at: float | None = None
        self._failed = False

    def run(self) -> int:
        """Return the exit status."""
        threading.Thread(target=self._send, name="fastwsh-send", daemon=True).start()
        count = 0
        while self._expect is None or count < self._expect:
            if self._failed:
                return Status.FAILED
            left = self._left()
            if left is not None and left < 0:
                self._tell(f"nothing more came within {self._timeout:g} s; got {count} messages")
                self._connection.start_closing(1000)
                return Status.FAILED
            try:
                message = self._connection.recv(_LOOK_SECONDS if left is None else left)
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                return self._ended(closed, count)
            count += 1
            _print(message)
        self._connection.close()
        return Status.OK

    def _left(self) -> float | None:
        """Seconds until what is awaited must have come; None: not known yet, or no limit."""
        if self._timeout is None or self._sent_at is None:
            return None
        return self._sent_at + self._timeout - time.monotonic()

    def _ended(self, closed: ConnectionClosed, count: int) -> int:
        status = of_close(closed)
        if status is not Status.OK:
            self._tell(str(closed))
        elif self._expect is not None:
            self._tell(f"{closed} after {count} of {self._expect} messages")
            return Status.FAILED
        return status

    def _send(self) -> None:
        try:
            for message in self._messages:
                self._connection.send(message)
            if self._closes:
                self._connection.start_closing(1000)
        except ConnectionClosed:
            # Receiving tells.
            pass
        except (FastwshError, OSError, ValueError) as error:
            self._tell(str(error))
            self._failed = True
        finally:
            self._sent_at = time.monotonic()


def messages_of(sending: Iterable[str | Path]) -> list[str | bytes]:
    """Return the messages: a str is itself, a Path is what the file holds.

    Raises:
        OSError: A file cannot be read.
    """
    return [item if isinstance(item, str) else item.read_bytes() for item in sending]


def stdin_lines() -> Iterator[str]:
    """Yield the lines of standard input as they come, without their ends.

    Bypasses `sys.stdin`, whose lock a thread that waits would hold when the program ends.
    """
    rest = b""
    while chunk := os.read(0, _CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def run_raw(connection: ClientConnection, tell: Callable[[str], None], timeout: float) -> int:
    """Do what the lines of standard input ask for in frames, and print the frames that come.

    Returns when the peer ends the connection, or `timeout` seconds after the last line.
    """
    ended: list[ConnectionClosed] = []
    over = threading.Event()

    def receive() -> None:
        try:
            while True:
                speaker.receive()
        except ConnectionClosed as closed:
            ended.append(closed)
        finally:
            over.set()

    def show(mark: str, text: str) -> None:
        _print(f"{mark} {text}")

    checked: Show = show
    speaker = FrameSpeaker(connection, checked)
    threading.Thread(target=receive, name="fastwsh-receive", daemon=True).start()
    status = Status.OK
    for line in stdin_lines():
        if not line:
            continue
        try:
            speaker.do(parse(line, raw=True))
        except ConnectionClosed:
            break
        except (CommandError, ValueError) as error:
            tell(str(error))
            status = Status.USAGE
            break
    else:
        over.wait(timeout)
    connection.disconnect()
    over.wait(timeout)
    if status is Status.OK and ended and ended[0].received_code is not None:
        return of_close(ended[0])
    return status


def _print(message: str | bytes) -> None:
    """Write a message and a line end: to a terminal so that it obeys nothing, else as it is."""
    out: Any = sys.stdout
    data = message.encode(errors="replace") if isinstance(message, str) else message
    if out.isatty():
        text = message if isinstance(message, str) else f"{len(message)} bytes: {message.hex(' ')}"
        data = escape(text, keep="\n\t").encode(out.encoding or "utf-8", "backslashreplace")
    out.buffer.write(data + b"\n")
    out.buffer.flush()
