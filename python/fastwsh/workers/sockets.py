"""The listening sockets of all workers, which the parent opens and keeps open.

While a worker is away, connections wait in the backlog of its sockets, and its successor gets them.
"""

import argparse
import contextlib
import socket
import sys
from typing import Any, Final

from fastwsh.config_error import ConfigError
from fastwsh.listening import listeners, places
from fastwsh.listening.sockets import SocketServer
from fastwsh.process import start_failures

__all__ = ["SocketSets"]

# Linux shares connections out among the sockets of an address. Other systems with this option give
# all of them to one.
_SHARES_OUT: Final = sys.platform in {"linux", "android"} and hasattr(socket, "SO_REUSEPORT")

_Entry = tuple[socket.socket, listeners.AddressInfo]


class SocketSets:
    """A set of sockets for each worker.

    Each worker has a socket of its own for an address, so that the system shares connections out
    evenly. Unix sockets, inherited sockets, and all sockets on systems that do not share out, are
    the same for all workers.

    Args:
        options: They say where to listen.
        count: How many workers there are.

    Raises:
        ConfigError: A place cannot be used, or there is none. Nothing listens then.
    """

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        inherited = set(options.fd or ())
        self._sets: list[list[_Entry]] = [[] for _ in range(count)]
        self._owned: list[socket.socket] = []
        for listener, info in _open(options):
            self._owned.append(listener)
            shares = (
                _SHARES_OUT
                and listener.family != socket.AF_UNIX
                and listener.fileno() not in inherited
            )
            more = self._spread(listener, count - 1, options.request_queue_size) if shares else []
            self._owned += more
            for number, entries in enumerate(self._sets):
                entries.append(((listener, *more)[number] if more else listener, info))

    @property
    def addresses(self) -> list[str]:
        """Where the workers listen."""
        return [listeners.format_address(s.getsockname()) for s, _ in self._sets[0]]

    def of(self, number: int) -> list[_Entry]:
        """Return the sockets of a worker, which are numbered from 1."""
        return self._sets[number - 1]

    def share(self, number: int, other: int) -> None:
        """Close the sockets that a worker has for itself, and give it those of another.

        Connections that have waited for it are reset, so that their clients try again.
        """
        theirs = self._sets[other - 1]
        for entry, other_entry in zip(self._sets[number - 1], theirs, strict=True):
            if entry[0] is not other_entry[0] and self._users(entry[0]) == 1:
                entry[0].close()
        self._sets[number - 1] = theirs

    def _users(self, listener: socket.socket) -> int:
        return sum(any(entry[0] is listener for entry in entries) for entries in self._sets)

    def close(self) -> None:
        """Stop listening, and remove the files of Unix sockets."""
        for listener in self._owned:
            listener.close()

    @staticmethod
    def _spread(listener: socket.socket, count: int, backlog: int) -> list[socket.socket]:
        """Open more sockets for the address of one.

        The first was bound without SO_REUSEPORT: that fails if another server listens there.
        """
        opened: list[socket.socket] = []
        with contextlib.ExitStack() as undo:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for _ in range(count):
                other = socket.socket(listener.family, listener.type, listener.proto)
                undo.callback(other.close)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if listener.family == socket.AF_INET6:
                    only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                    other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
                other.bind(listener.getsockname())
                other.listen(backlog)
                opened.append(other)
            undo.pop_all()
        return opened


class _Plain(SocketServer):
    """Opens the sockets of pywebsocket's host and port, as `WebSocketServer` does."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.request_queue_size = options.request_queue_size
        self.server_name, self.server_port = options.server_host, options.port
        self.bind_errors, self._sockets = [], []
        self._create_sockets()
        self.server_bind()
        self.server_activate()

    def _begin_request(self) -> Any:
        raise NotImplementedError


def _open(options: argparse.Namespace) -> list[_Entry]:
    if listeners.are_named(options):
        return places.open_all(options)
    try:
        opened = _Plain(options)
    except OSError as error:
        raise ConfigError(start_failures.explain(error, options)) from error
    if not opened._sockets:
        reasons = [start_failures.explain_bind(error, options) for error in opened.bind_errors]
        raise ConfigError(reasons[0] if reasons else "no address to listen on")
    return opened._sockets
