"""One run for scripts: send, write messages to standard output, and end with a status.

A thread sends while the main thread receives, so that neither side waits for the other to read.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from fastwsh.client.connection import ClientConnection
from fastwsh.client.keepalive import Keepalive
from fastwsh.client.output import Output
from fastwsh.client.sending import Fragments, InputError, Message, StdinLines
from fastwsh.client.status import Status, of_close
from fastwsh.errors import ConnectionClosed, FastwshError

__all__ = ["OneShot"]

# How often the main thread checks whether everything has been sent.
_LOOK_SECONDS: Final = 0.1

# How long a thread that sends has to notice the end of the connection, or of what there is to send.
_LAST_SECONDS: Final = 5.0


class OneShot:
    """Sends messages, and receives until the expected messages have arrived.

    Args:
        connection: An open connection.
        messages: The messages to send.
        tell: Called with sentences for standard error.
        output: Called with the received messages.
        expect: Close after this number of messages. None: send a close frame after the last
            message, and end when the peer has answered it.
        until_closed: Wait for the peer's close frame instead.
        timeout: Seconds to wait after the last message was sent; None: no limit.
        ping_interval: Seconds between pings; None: there are none.
    """

    def __init__(
        self,
        connection: ClientConnection,
        messages: Iterable[Message],
        tell: Callable[[str], None],
        output: Output,
        *,
        expect: int | None = None,
        until_closed: bool = False,
        timeout: float | None,
        ping_interval: float | None = None,
    ) -> None:
        self._connection = connection
        self._messages = messages
        self._tell = tell
        self._output = output
        self._expect = expect
        self._closes = expect is None and not until_closed
        self._timeout = timeout
        self._keepalive = Keepalive(connection, ping_interval, tell)
        # A message may be sent whenever standard input has a line, so the time limit also applies
        # to messages that are expected before. Only if we close after the last message, that must
        # be sent first.
        self._sent_at = None if self._closes else time.monotonic()
        self._has_sent = threading.Event()
        self._sender = threading.Thread(target=self._send, name="fastwsh-send", daemon=True)
        self._failed: Status | None = None

    def run(self) -> int:
        """Return the exit status.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
            OutputError: It cannot be written to.
        """
        self._sender.start()
        self._keepalive.start()
        try:
            return self._receive()
        finally:
            self._keepalive.stop()

    def _receive(self) -> int:
        count = 0
        while self._expect is None or count < self._expect:
            if self._failed is not None:
                self._connection.start_closing(1000)
                return self._failed
            left = self._left()
            if left is not None and left < 0:
                self._tell(f"nothing more came within {self._timeout:g} s; got {count} messages")
                self._connection.start_closing(1000)
                return Status.FAILED
            try:
                message = self._connection.recv(
                    _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
                )
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                return self._ended(closed, count)
            count += 1
            with self._keepalive.busy():
                self._output.message(message)
        return self._leave()

    def _leave(self) -> int:
        """Close when everything has been sent; messages that arrive meanwhile are dropped."""
        if isinstance(self._messages, StdinLines):
            self._messages.stop()
        while not self._has_sent.is_set():
            left = self._left()
            if left is not None and left < 0:
                self._tell(f"the peer took no more messages within {self._timeout:g} s")
                self._connection.start_closing(1000)
                return Status.FAILED
            try:
                with suppress(TimeoutError):
                    self._connection.recv(_LOOK_SECONDS)
            except ConnectionClosed as closed:
                # it may have nothing more to send, and not know yet that nothing more comes
                self._sender.join(_LAST_SECONDS)
                if not self._has_sent.is_set():
                    self._tell(f"{closed} before everything was sent")
                    return of_close(closed) or Status.FAILED
                break
        if self._failed is not None:
            self._connection.start_closing(1000)
            return self._failed
        self._connection.close()
        return Status.OK

    def _left(self) -> float | None:
        """The seconds that are left to wait; None: not known yet, or no limit."""
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
                if isinstance(message, Fragments):
                    self._connection._send_fragments(message)
                else:
                    self._connection.send(message)
                if not self._closes:
                    self._sent_at = time.monotonic()
            if self._closes:
                self._connection.start_closing(1000)
        except ConnectionClosed:
            # Receiving will report the error.
            return
        except InputError as error:
            self._tell(str(error))
            self._failed = Status.USAGE
        except (FastwshError, OSError, ValueError) as error:
            self._tell(str(error))
            self._failed = Status.FAILED
        self._sent_at = time.monotonic()
        self._has_sent.set()
