"""Addresses that are kept while no server listens on them, so that clients are refused there."""

import contextlib
import os
import socket
from typing import Any, Final

from fastwsh.listening.listeners import AddressInfo
from fastwsh.listening.places import UnixListener

__all__ = ["Reservation"]

_V6ONLY: Final = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


class Reservation:
    """Sockets that are bound and do not listen.

    A client that connects is refused, as by a machine on which no server runs. No other program
    gets the port: a system that is asked for any free one gives those that are not bound.

    Args:
        listeners: The sockets whose addresses are kept; they are closed.
    """

    def __init__(self, listeners: list[tuple[socket.socket, AddressInfo]]) -> None:
        wanted = [(_Address(listener), info) for listener, info in listeners]
        for listener, _ in listeners:
            listener.close()
        self._sockets: list[tuple[socket.socket, AddressInfo]] = []
        for address, info in wanted:
            # if another program has taken the port meanwhile, listening again reports it
            with contextlib.suppress(OSError):
                self._sockets.append((address.bind(), info))

    def take(self) -> list[tuple[socket.socket, AddressInfo]]:
        """Return the sockets, to listen on them."""
        taken, self._sockets = self._sockets, []
        return taken

    def release(self) -> None:
        """Keep the addresses no more."""
        for held, _ in self.take():
            held.close()


class _Address:
    """Where a socket is bound, and how."""

    def __init__(self, listener: socket.socket) -> None:
        self._kind = listener.family, listener.type, listener.proto
        self._name: Any = listener.getsockname()
        self._is_v6 = listener.family == socket.AF_INET6
        self._v6only = listener.getsockopt(*_V6ONLY) if self._is_v6 else 0

    def bind(self) -> socket.socket:
        if self._kind[0] == socket.AF_UNIX:
            return UnixListener(os.fsdecode(self._name))
        bound = socket.socket(*self._kind)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._is_v6:
                bound.setsockopt(*_V6ONLY, self._v6only)
            bound.bind(self._name)
        except BaseException:
            bound.close()
            raise
        return bound
