"""The socket of a connection, for handlers that reach for it by `request._request_handler`."""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress

from fastwsh import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ConnectionSocket"]

_LOGGER = logging.getLogger("fastwsh.request")


class _NoSocketError(OSError):
    """The connection is a stream among others."""


class ConnectionSocket:
    """A connection with the methods of a socket that handlers of pywebsocket use.

    What is sent and received goes the way of `request.connection`, also with TLS. Options and
    addresses are the socket's. A stream of HTTP/2 or HTTP/3 has no socket: options that are set
    have no effect there, the addresses are those of the connection, and the rest raises OSError.
    Everything else is that of the connection.

    Args:
        connection: The native connection.
    """

    def __init__(self, connection: _core.Connection) -> None:
        self._connection = connection
        self._descriptor: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __del__(self) -> None:
        if (descriptor := self.__dict__.get("_descriptor")) is not None:
            os.close(descriptor)

    def fileno(self) -> int:
        """Return a descriptor for `select`; it shows nothing of bytes that were read ahead.

        When the handler has ended it is -1.
        """
        if self._connection.has_ended():
            return -1
        if self._descriptor is None:
            self._descriptor = _core.duplicate_socket(self._connection)
        return self._descriptor

    def send(self, data: Any, flags: int = 0) -> int:  # noqa: ARG002 (as of sockets)
        """Send raw bytes; return how many, which is all."""
        return self._connection.write(data)

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ARG002
        """Send raw bytes."""
        self._connection.write(data)

    def recv(self, size: int, flags: int = 0) -> bytes:  # noqa: ARG002
        """Wait for raw bytes; return at most `size` of them, none at the end."""
        return self._connection.read(size)

    def shutdown(self, how: int) -> None:
        """End one direction, or both."""
        with self._socket() as own:
            own.shutdown(how)

    def close(self) -> None:
        """Do nothing: the socket is closed when the handler has ended, as in pywebsocket."""

    def settimeout(self, seconds: float | None) -> None:
        """Say in the log that this has no effect, unless it is None."""
        if self._connection.has_ended():
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if seconds is not None:
            _LOGGER.warning(
                "settimeout(%g) of a handler has no effect; see --idle-timeout and --ping-interval",
                seconds,
            )

    def gettimeout(self) -> None:
        """Return None: calls wait as long as it takes."""

    def setsockopt(self, *args: Any) -> None:
        """Set an option of the socket."""
        with suppress(_NoSocketError), self._socket() as own:
            own.setsockopt(*args)

    def getsockopt(self, *args: Any) -> int | bytes:
        """Return an option of the socket."""
        with self._socket() as own:
            option: int | bytes = own.getsockopt(*args)
            return option

    def getpeername(self) -> Any:
        """Return the address of the other end of the socket."""
        with suppress(_NoSocketError), self._socket() as own:
            return own.getpeername()
        return self._connection.remote_addr

    def getsockname(self) -> Any:
        """Return our address."""
        with suppress(_NoSocketError), self._socket() as own:
            return own.getsockname()
        return self._connection.local_addr

    @property
    def family(self) -> int:
        """The socket's address family."""
        with self._socket() as own:
            return own.family

    def _socket(self) -> socket.socket:
        try:
            descriptor = _core.duplicate_socket(self._connection)
        except OSError as error:
            if error.errno == errno.ENOTSOCK:
                raise _NoSocketError(*error.args) from None
            raise
        # with a default timeout of the process, Python would end the connection's blocking mode
        blocks = os.get_blocking(descriptor)
        own = socket.socket(fileno=descriptor)
        os.set_blocking(descriptor, blocks)
        return own
