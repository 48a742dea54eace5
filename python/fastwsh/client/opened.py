"""The common part of open connections, for threads and for asyncio: state, and how they end.

Nothing here waits.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from fastwsh.client.options import Options
from fastwsh.client.session import Opened, Pong, Session, make_stream
from fastwsh.errors import ConnectionClosed, FastwshError
from fastwsh.pywebsocket import _stream_exceptions as stream_exceptions

__all__ = [
    "END_SECONDS",
    "MAX_KEPT",
    "PEER_ERRORS",
    "READ_BYTES",
    "STREAM_ERRORS",
    "Data",
    "OpenConnection",
    "check_timeout",
    "code_after",
]

Data = str | bytes | bytearray | memoryview
_DATA: Final[tuple[type, ...]] = (str, bytes, bytearray, memoryview)

# The most messages to keep for `recv` while a call waits for something else.
MAX_KEPT: Final = 1024
# RFC 6455 5.5
_MAX_CONTROL_BYTES: Final = 125
# RFC 6455 7.4.1
_PROTOCOL_ERROR: Final = 1002
_INVALID_PAYLOAD: Final = 1007
_INTERNAL_ERROR: Final = 1011
_GOING_AWAY: Final = 1001
_NORMAL: Final = 1000

# The time for the server to end TCP after the close frames, and, if it has broken a rule, to read
# our close frame.
END_SECONDS: Final = 1.0

# How much to read at a time of what is thrown away.
READ_BYTES: Final = 64 * 1024

PEER_ERRORS: Final = (
    stream_exceptions.InvalidFrameException,
    stream_exceptions.UnsupportedFrameException,
    stream_exceptions.InvalidUTF8Exception,
)
STREAM_ERRORS: Final = (
    *PEER_ERRORS,
    stream_exceptions.BadOperationException,
    stream_exceptions.ConnectionTerminatedException,
)


class OpenConnection:
    """An open connection.

    Attributes:
        url: The URL of the server.
        subprotocol: The subprotocol that the server chose; None if it chose none.
        response_headers: Names, in lower case, and values of the server's answer, in order.
        is_compressed: Whether permessage-deflate was negotiated.
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

    def disconnect(self) -> None:
        """End the TCP connection at once, without a closing handshake; waiting calls wake up."""
        self._connection.disconnect()

    def _check(self, message: object) -> None:
        """Raise the exception of `send` for this message, if there is one."""
        if not isinstance(message, _DATA):
            kind = type(message).__name__
            raise TypeError(f"a message is str, bytes, bytearray or memoryview, not {kind}")
        if self._closed is not None:
            raise self._again()

    def _expect_pong(
        self, data: bytes | str | None, on_pong: Callable[[Pong], object] | None
    ) -> Pong:
        """Check a ping that is about to be sent, and remember it."""
        body = os.urandom(4) if data is None else self._control_body(data)
        if body in self._session.pings:
            raise ValueError(f"a ping with {body!r} is under way; wait for its pong")
        if self._closed is not None:
            raise self._again()
        return self._session.expect(body, on_pong)

    def _check_pong(self, pong: object) -> None:
        """Raise the exception of `wait_pong` for this object, if there is one."""
        if not isinstance(pong, Pong):
            kind = type(pong).__name__
            raise TypeError(f"wait_pong takes what ping() has returned, not {kind}")
        if not pong._is_of(self._session):
            raise ValueError("this ping was sent on another connection; wait for its pong there")

    @staticmethod
    def _control_body(data: bytes | str) -> bytes:
        """Return the body of a ping or a pong."""
        if not isinstance(data, _DATA):
            kind = type(data).__name__
            raise TypeError(f"the data of a ping is str or bytes, not {kind}")
        body = data.encode() if isinstance(data, str) else bytes(data)
        if len(body) > _MAX_CONTROL_BYTES:
            raise ValueError(
                f"ping or pong of {len(body)} bytes; the limit is {_MAX_CONTROL_BYTES}"
            )
        return body

    def _keep(self, message: str | bytes) -> None:
        self._kept.append(message)
        if len(self._kept) > MAX_KEPT:
            raise FastwshError(f"more than {MAX_KEPT} messages wait to be received; call recv()")

    def _refused(self, error: Exception) -> Exception:
        """Return the exception of `send` for a BadOperationException of the stream."""
        if error.args and isinstance(error.args[0], UnicodeError):
            return error.args[0]
        return self._again()

    @staticmethod
    def _check_close(code: object, reason: object) -> None:
        """Raise TypeError for a close code that is no number, or a reason that is no text.

        None as a code is none.
        """
        if code is not None and not isinstance(code, int):
            raise TypeError(f"close code {code!r}; give a number from 1000 to 4999")
        if not isinstance(reason, str):
            raise TypeError(f"close reason {reason!r}; give a str")

    @staticmethod
    def _failure(error: Exception) -> tuple[int, str]:
        """Return code and reason to close with if the peer has broken a rule (RFC 6455 7.1.7)."""
        utf8 = isinstance(error, stream_exceptions.InvalidUTF8Exception)
        code = getattr(error, "close_code", _INVALID_PAYLOAD if utf8 else _PROTOCOL_ERROR)
        return code, getattr(error, "close_reason", "")

    @contextmanager
    def _ending_if_broken_off(self, cause: str = "") -> Iterator[None]:
        """End the TCP connection if the block is cancelled or interrupted: no caller would."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self._end(cause)
            raise

    def _end(self, cause: str = "") -> None:
        """End the TCP connection, and remember how it ended."""
        self._connection.disconnect()
        self._remember_end(cause)

    def _remember_end(self, cause: str) -> None:
        with self._ending:
            if self._closed is None:
                self._closed = self._now(cause)

    def _now(self, cause: str = "") -> ConnectionClosed:
        received, sent = self._session.received, self._sent_close
        if sent is None and received is not None and self._session.server_terminated:
            sent = received[0], ""
        return ConnectionClosed(received, sent, cause)

    def _again(self) -> ConnectionClosed:
        """The reason why the connection is closed, as an exception without a traceback."""
        closed = self._closed
        return self._now() if closed is None else ConnectionClosed(*closed.args)


def code_after(kind: type[BaseException] | None) -> int:
    """Return the code to close with after a block that this exception has ended, or None."""
    if kind is None:
        return _NORMAL
    return _INTERNAL_ERROR if issubclass(kind, Exception) else _GOING_AWAY


def check_timeout(timeout: object) -> None:
    """Raise the exception for a time limit that is none."""
    if timeout is None:
        return
    if not hasattr(timeout, "__float__"):
        raise TypeError(f"timeout is {timeout!r}; give seconds, or None")
    if timeout != timeout:  # noqa: PLR0124 (NaN)
        raise ValueError("timeout is not a number; give seconds, or None")
