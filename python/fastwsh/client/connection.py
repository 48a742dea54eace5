"""`ClientConnection`: an open WebSocket connection, for threads.

One thread may send while another receives. Pings are answered, and pongs and close frames noticed,
only while a call receives: nothing runs in the background, except for HTTP/2, whose connections
share a thread.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Self

from fastwsh import _core
from fastwsh.client.opened import (
    END_SECONDS,
    PEER_ERRORS,
    READ_BYTES,
    STREAM_ERRORS,
    Data,
    OpenConnection,
    check_timeout,
    code_after,
)
from fastwsh.client.session import Pong, PongArrived
from fastwsh.errors import ConnectionClosed, FastwshError
from fastwsh.pywebsocket import _stream_exceptions as stream_exceptions

__all__ = ["ClientConnection"]

# How often a thread that waits for a pong checks whether another thread has received it.
_LOOK_SECONDS: Final = 0.2


class ClientConnection(OpenConnection):
    """An open connection; `connect` makes it.

    A context manager that closes it, with 1000, or with 1011 or 1001 if an exception ends the
    block. An iterator over the messages, which ends when the peer closes with 1000 or 1001 and
    raises `ConnectionClosed` otherwise.
    """

    def send(self, message: Data) -> None:
        """Send a message: text for a str, binary for bytes and the like.

        Blocks until the kernel has taken it, which may wait until the server has read earlier
        messages. An exception of a signal handler cuts the connection, since a part of a frame may
        have been sent.

        Raises:
            ConnectionClosed: The connection is closed.
            TypeError: The message is of another type.
            UnicodeEncodeError: The str has lone surrogates.
        """
        self._check(message)
        binary = not isinstance(message, str)
        self._send(partial(self._stream.send_message, message, True, binary))

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Wait for the next message: str for text, bytes for binary.

        Args:
            timeout: Seconds to wait; None: no limit. 0 returns a message only if it has arrived.

        Raises:
            ConnectionClosed: The connection is closed.
            TimeoutError: No complete message came in time. A part of one is kept for the next call.
        """
        check_timeout(timeout)
        if self._kept:
            return self._kept.popleft()
        message = self._receive(timeout)
        if message is None:
            raise TimeoutError(f"no message came within {timeout:g} s")
        return message

    def ping(
        self,
        data: bytes | str | None = None,
        *,
        on_pong: Callable[[Pong], object] | None = None,
    ) -> Pong:
        """Send a ping (RFC 6455 5.5.2).

        Args:
            data: At most 125 bytes; None: four random ones. No other ping with the same data may be
                waiting for its pong.
            on_pong: Called when the pong has arrived, in the thread that receives it.

        Returns:
            An object for the pong: `wait_pong` waits for it, and `recv` notices it.

        Raises:
            ConnectionClosed: The connection is closed.
            ValueError: The data is too long, or is that of a ping that waits for its pong.
        """
        pong = self._expect_pong(data, on_pong)
        self._send(partial(self._stream.send_ping, pong.data, True))
        return pong

    def wait_pong(self, pong: Pong, timeout: float | None = None) -> float:
        """Wait for the answer to a ping; messages that arrive before it are kept for `recv`.

        Returns:
            Seconds from the ping to the pong.

        Raises:
            ConnectionClosed: The connection is closed.
            FastwshError: More than 1024 messages came before the pong.
            TimeoutError: The pong did not come in time.
            ValueError: The ping was sent on another connection.
        """
        self._check_pong(pong)
        check_timeout(timeout)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while pong.round_trip is None:
            left = deadline - time.monotonic()
            if left < 0:
                raise TimeoutError(f"no pong came within {timeout:g} s")
            with suppress(PongArrived), self._session.awaiting(pong):
                # Another thread that receives may receive the pong.
                message = self._receive(min(left, _LOOK_SECONDS))
                if message is not None:
                    self._keep(message)
        return pong.round_trip

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake (RFC 6455 7.1.2) and end the connection; drop further messages.

        Returns when the server has closed, or when `close_timeout` is over. Does nothing on a
        connection that is closed.

        Args:
            code: 1000 to 4999 without 1005, 1006 and 1015.
            reason: At most 123 bytes in UTF-8.

        Raises:
            ValueError: Code or reason may not be sent.
        """
        if self._closed is not None:
            return
        with self._ending_if_broken_off():
            deadline = self._deadline()
            try:
                self._send_close(code, reason, deadline)
            except OSError:
                # The peer has gone, or does not read.
                self._end()
                return
            receive = self._stream.receive_message
            with suppress(OSError, *STREAM_ERRORS):
                # A pong that the peer does not take may be cut: nothing follows it.
                while _core.call_within(_left(deadline), receive, cuts_sends=True) is not None:
                    # A peer that sends more all the time would never let it wait.
                    if time.monotonic() > deadline:
                        break
            self._end_behind(deadline)

    def start_closing(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and go on receiving: `recv` raises when the peer's has arrived.

        Does nothing after `close`, and on a connection that is closed.

        Args:
            code: As for `close`.
            reason: As for `close`.

        Raises:
            ConnectionClosed: The connection is lost.
            ValueError: Code or reason may not be sent.
        """
        if self._closed is not None:
            return
        try:
            self._send_close(code, reason, self._deadline())
        except OSError:
            self._receive_rest()
            raise self._again() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(code_after(kind))

    def __iter__(self) -> Iterator[str | bytes]:
        while True:
            try:
                message = self.recv()
            except ConnectionClosed as closed:
                if closed.is_normal:
                    return
                raise
            yield message

    def _receive(self, timeout: float | None) -> str | bytes | None:
        """Wait for a message; None when the time is over."""
        if self._closed is not None:
            raise self._again()
        try:
            message = _core.call_within(timeout, self._stream.receive_message)
        except TimeoutError as error:
            if error.errno is None:
                return None
            self._end(cause=str(error))
        except PEER_ERRORS as error:
            self._fail(error)
            raise self._again() from error
        except (OSError, *STREAM_ERRORS):
            # Lost, or another thread has received the close frame.
            self._end()
        else:
            if message is not None:
                return message
            self._end_behind(self._deadline())
        if _core.is_finishing() and threading.current_thread().daemon:
            # The end of the program has closed the connection, and this thread goes with it. Over
            # HTTP/1.1 it ends without noticing.
            raise SystemExit
        raise self._again()

    def _pong(self, data: bytes) -> None:
        """Send an unsolicited pong (RFC 6455 5.5.3); raises what `ping` raises."""
        self._send(partial(self._stream._send_pong, self._control_body(data)))

    def _send_fragments(self, parts: Iterable[bytes]) -> None:
        """Send a binary message in fragments (RFC 6455 5.4); raises what `send` raises."""
        for part in parts:
            self._send(partial(self._stream.send_message, part, False, True))
        self._send(partial(self._stream.send_message, b"", True, True))

    def _send(self, work: Callable[[], object]) -> None:
        if self._closed is not None:
            raise self._again()
        try:
            _core.call_within(None, work)
        except stream_exceptions.BadOperationException as error:
            raise self._refused(error) from None
        except OSError:
            self._receive_rest()
            raise self._again() from None
        except BaseException:
            self._end()
            raise

    def _send_close(self, code: int, reason: str, deadline: float) -> None:
        if self._session.server_terminated:
            return
        self._check_close(code, reason)
        closing = partial(self._stream.close_connection, code, reason, False)
        try:
            _core.call_within(_left(deadline), closing, cuts_sends=True)
        except stream_exceptions.BadOperationException as error:
            raise ValueError(f"cannot close with {code} and {reason!r}: {error}") from None
        self._sent_close = code, reason

    def _receive_rest(self) -> None:
        """Read what the peer has sent before it went away, for its close frame and for `recv`."""
        with suppress(FastwshError):
            while (message := self._receive(0)) is not None:
                self._keep(message)
        self._end()

    def _fail(self, error: Exception) -> None:
        """Fail the connection, because the peer has broken a rule (RFC 6455 7.1.7)."""
        code, reason = self._failure(error)
        # The native texts name options of the server, which a client does not have.
        cause = reason or str(error)
        deadline = time.monotonic() + END_SECONDS
        closing = partial(self._stream.close_connection, code, reason, False)
        with self._ending_if_broken_off(cause), suppress(OSError, *STREAM_ERRORS):
            _core.call_within(_left(deadline), closing, cuts_sends=True)
            self._sent_close = code, reason
        self._end_behind(deadline, cause)

    def _end_behind(self, deadline: float, cause: str = "") -> None:
        """End the TCP connection after the server (RFC 6455 7.1.1), which has limited time."""
        deadline = min(deadline, time.monotonic() + END_SECONDS)
        read = partial(self._connection.read, READ_BYTES)
        with self._ending_if_broken_off(cause), suppress(OSError):
            while _core.call_within(_left(deadline), read) and time.monotonic() <= deadline:
                pass
        self._end(cause)

    def _deadline(self) -> float:
        timeout = self._close_timeout
        return math.inf if timeout is None else time.monotonic() + timeout


def _left(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0, deadline - time.monotonic())
