"""`ClientConnection`: an open WebSocket connection, for threads.

One thread may send while another receives. Pings are answered, and pongs and close frames noticed,
while something is received: nothing runs in the background.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from fastwsh import _core
from fastwsh.client.options import Options
from fastwsh.client.session import Opened, Pong, PongArrived, Session, make_stream
from fastwsh.errors import ConnectionClosed, FastwshError
from fastwsh.pywebsocket import _stream_exceptions as stream_exceptions

__all__ = ["MAX_KEPT", "ClientConnection", "Data", "code_after"]

Data = str | bytes | bytearray | memoryview
_DATA: Final[tuple[type, ...]] = (str, bytes, bytearray, memoryview)

# Messages that are kept for `recv` while something else is awaited.
MAX_KEPT: Final = 1024
_READ_BYTES: Final = 64 * 1024
# RFC 6455 7.4.1
_PROTOCOL_ERROR: Final = 1002
_INVALID_PAYLOAD: Final = 1007
_INTERNAL_ERROR: Final = 1011
_GOING_AWAY: Final = 1001
_NORMAL: Final = 1000

# For the server to end TCP behind the close frames, and for whoever has broken a rule to take ours.
_END_SECONDS: Final = 1.0

_PEER_ERRORS: Final = (
    stream_exceptions.InvalidFrameException,
    stream_exceptions.UnsupportedFrameException,
    stream_exceptions.InvalidUTF8Exception,
)
_STREAM_ERRORS: Final = (
    *_PEER_ERRORS,
    stream_exceptions.BadOperationException,
    stream_exceptions.ConnectionTerminatedException,
)


class ClientConnection:
    """An open connection; `connect` makes it.

    A context manager that closes it, with 1000, or with 1011 or 1001 if an exception ends the
    block. An iterator over the messages, which ends when the peer closes with 1000 or 1001 and
    raises `ConnectionClosed` otherwise.

    Attributes:
        url: What was connected to.
        subprotocol: The subprotocol that the server chose; None if it chose none.
        response_headers: Names, in lower case, and values of the server's answer, in order.
        is_compressed: Whether permessage-deflate was agreed to.
    """

    def __init__(self, url: str, options: Options, opened: Opened) -> None:
        connection, self.subprotocol, self.response_headers, deflate = opened
        self.url = url
        self.is_compressed = deflate is not None
        self._close_timeout = options.close_timeout
        self._connection = connection
        self._session = Session(connection)
        self._stream = make_stream(self._session, deflate, options.max_message_bytes)
        self._kept: deque[str | bytes] = deque()
        self._ending = threading.Lock()
        self._sent_close: tuple[int, str] | None = None
        self._closed: ConnectionClosed | None = None

    @property
    def remote_address(self) -> tuple[Any, ...]:
        """The server's address as `socket` has it; empty on a Unix socket."""
        return tuple(self._connection.remote_addr)

    @property
    def close_code(self) -> int | None:
        """The peer's close code, 1006 if it sent none; None while the connection is open."""
        return None if self._closed is None else self._closed.code

    @property
    def close_reason(self) -> str | None:
        """The peer's reason; None while the connection is open."""
        return None if self._closed is None else self._closed.reason

    def send(self, message: Data) -> None:
        """Send a message: text for a str, binary for bytes and the like.

        Blocks until the kernel has taken it, which it does when the server has read enough of what
        came before. An exception out of a signal's handler cuts the connection, since part of a
        frame may have been sent.

        Raises:
            ConnectionClosed: The connection is closed.
            TypeError: The message is of another type.
            UnicodeEncodeError: The str has lone surrogates.
        """
        if not isinstance(message, _DATA):
            kind = type(message).__name__
            raise TypeError(f"a message is str, bytes, bytearray or memoryview, not {kind}")
        binary = not isinstance(message, str)
        self._send(partial(self._stream.send_message, message, True, binary))

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Wait for the next message: str for text, bytes for binary.

        Args:
            timeout: Seconds to wait; None: no limit. 0 takes what has come.

        Raises:
            ConnectionClosed: The connection is closed.
            TimeoutError: No whole message came in time; what came of one is kept for the next call.
        """
        if self._kept:
            return self._kept.popleft()
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            try:
                message = self._receive(_left(deadline))
            except PongArrived:
                # For another thread, which looks when it has its turn.
                continue
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
            data: At most 125 bytes; None: four random ones. No other ping with the same may be
                under way.
            on_pong: Called when the pong has come, by whoever receives it.

        Returns:
            What becomes of the pong; `wait_pong` waits for it, and `recv` notices it.

        Raises:
            ConnectionClosed: The connection is closed.
            ValueError: The data is too long, or under way.
        """
        body = os.urandom(4) if data is None else data.encode() if isinstance(data, str) else data
        if len(body) > 125:
            raise ValueError(f"ping of {len(body)} bytes; the limit is 125")
        body = bytes(body)
        if body in self._session.pings:
            raise ValueError(f"a ping with {body!r} is under way; wait for its pong")
        pong = self._session.expect(body, on_pong)
        self._send(partial(self._stream.send_ping, body, True))
        return pong

    def wait_pong(self, pong: Pong, timeout: float | None = None) -> float:
        """Wait for the answer to a ping; messages that come before it are kept for `recv`.

        Returns:
            Seconds from the ping to the pong.

        Raises:
            ConnectionClosed: The connection is closed.
            FastwshError: More than 1024 messages came before the pong.
            TimeoutError: It did not come in time.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._session.awaited = pong
        try:
            while pong.round_trip is None:
                try:
                    message = self._receive(_left(deadline))
                except PongArrived:
                    continue
                if message is None:
                    raise TimeoutError(f"no pong came within {timeout:g} s")
                self._keep(message)
        finally:
            self._session.awaited = None
        return pong.round_trip

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake (RFC 6455 7.1.2) and end the connection; what comes is dropped.

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
        deadline = self._deadline()
        try:
            self._send_close(code, reason, deadline)
        except OSError:
            # Gone, or it takes nothing.
            self._end()
            return
        with suppress(OSError, *_STREAM_ERRORS):
            while _core.call_within(_left(deadline), self._stream.receive_message) is not None:
                pass
        self._end(deadline)

    def start_closing(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and go on receiving: `recv` raises when the peer's has come.

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
            self._hear_last_words()
            raise self._again() from None

    def disconnect(self) -> None:
        """End the TCP connection at once, without a closing handshake; whoever waits wakes up."""
        self._connection.disconnect()

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
        except _PEER_ERRORS as error:
            self._fail(error)
            raise self._again() from error
        except (OSError, *_STREAM_ERRORS):
            # Lost, or another thread has received the close frame.
            self._end()
        else:
            if message is not None:
                return message
            self._end(self._deadline())
        raise self._again()

    def _send(self, work: Callable[[], object]) -> None:
        if self._closed is not None:
            raise self._again()
        try:
            _core.call_within(None, work)
        except stream_exceptions.BadOperationException as error:
            if error.args and isinstance(error.args[0], UnicodeError):
                raise error.args[0] from None
            raise self._again() from None
        except OSError:
            self._hear_last_words()
            raise self._again() from None
        except BaseException:
            self._end()
            raise

    def _send_close(self, code: int, reason: str, deadline: float) -> None:
        if self._session.server_terminated:
            return
        closing = partial(self._stream.close_connection, code, reason, False)
        try:
            _core.call_within(_left(deadline), closing, cuts_sends=True)
        except stream_exceptions.BadOperationException as error:
            raise ValueError(f"cannot close with {code} and {reason!r}: {error}") from None
        self._sent_close = code, reason

    def _hear_last_words(self) -> None:
        """Read what the peer sent before it went, for its close frame and for `recv`."""
        with suppress(FastwshError):
            while (message := self._receive(0)) is not None:
                self._keep(message)
        self._end()

    def _keep(self, message: str | bytes) -> None:
        self._kept.append(message)
        if len(self._kept) > MAX_KEPT:
            raise FastwshError(f"more than {MAX_KEPT} messages wait to be received; call recv()")

    def _fail(self, error: Exception) -> None:
        """Fail the connection: the peer broke a rule (RFC 6455 7.1.7)."""
        utf8 = isinstance(error, stream_exceptions.InvalidUTF8Exception)
        code = getattr(error, "close_code", _INVALID_PAYLOAD if utf8 else _PROTOCOL_ERROR)
        reason = getattr(error, "close_reason", "")
        deadline = time.monotonic() + _END_SECONDS
        closing = partial(self._stream.close_connection, code, reason, False)
        with suppress(OSError, *_STREAM_ERRORS):
            _core.call_within(_left(deadline), closing, cuts_sends=True)
            self._sent_close = code, reason
        # The native texts name options of the server.
        self._end(deadline, reason or str(error))

    def _end(self, deadline: float | None = None, cause: str = "") -> None:
        """End the TCP connection: behind the server, if there is a deadline (RFC 6455 7.1.1)."""
        if deadline is not None:
            deadline = min(deadline, time.monotonic() + _END_SECONDS)
            read = partial(self._connection.read, _READ_BYTES)
            with suppress(OSError):
                while _core.call_within(_left(deadline), read):
                    pass
        self._connection.disconnect()
        with self._ending:
            if self._closed is None:
                self._closed = self._now(cause)

    def _now(self, cause: str = "") -> ConnectionClosed:
        received, sent = self._session.received, self._sent_close
        if sent is None and received is not None and self._session.server_terminated:
            sent = received[0], ""
        return ConnectionClosed(received, sent, cause)

    def _again(self) -> ConnectionClosed:
        """The reason why it is closed, as an exception without a history."""
        closed = self._closed
        return self._now() if closed is None else ConnectionClosed(*closed.args)

    def _deadline(self) -> float:
        timeout = self._close_timeout
        return math.inf if timeout is None else time.monotonic() + timeout


def code_after(kind: type[BaseException] | None) -> int:
    """Return the code to close with behind a block that this exception ended, or none."""
    if kind is None:
        return _NORMAL
    return _INTERNAL_ERROR if issubclass(kind, Exception) else _GOING_AWAY


def _left(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0, deadline - time.monotonic())
