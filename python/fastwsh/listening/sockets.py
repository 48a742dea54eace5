"""The listening sockets of a server, with the interface of `socketserver` and pywebsocket.

Programs that embed pywebsocket call these methods, override them, or read `_sockets`.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import socketserver
import time
import traceback

from fastwsh.pywebsocket._signatures import hide_annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from fastwsh.listening.listeners import AddressInfo

__all__ = ["SocketServer"]

# The addresses if no host is given: both families, if the system has them.
_ANY_HOST: Final = (
    (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::", 0)),
    (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("", 0)),
)

# The length of a label from which on a name may be refused (RFC 1035 2.3.4).
_LONG_LABEL: Final = 63

# pywebsocket writes these lines with a logger of this name.
_LOGGER: Final = logging.getLogger("pywebsocket3.websocket_server.WebSocketServer")


class SocketServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Binds sockets and listens on them; accepting is done elsewhere.

    If an address cannot be used, nothing is raised: it is left out of `_sockets`, and `bind_errors`
    says why.

    Attributes:
        bind_errors: Why addresses were left out.
        server_name: The requested host.
        server_port: The port; if 0 was requested, the one that the system has chosen.
    """

    request_queue_size = 128
    allow_reuse_address = True
    daemon_threads = True

    bind_errors: list[OSError]
    server_name: str
    server_port: int
    _sockets: list[tuple[socket.socket, AddressInfo]]

    def server_close(self) -> None:
        """Close the listening sockets; those that are closed stay so."""
        for listener, address_info in self._sockets:
            if listener.fileno() >= 0:
                _LOGGER.info("Close on: %r", address_info)
                listener.close()

    def fileno(self) -> int:
        """Return the descriptor of the first listening socket."""
        return self._sockets[0][0].fileno()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the same)
        """Log the exception that is being handled, as pywebsocket does."""
        _LOGGER.error(
            "Exception in processing request from: %r\n%s", client_address, traceback.format_exc()
        )

    def server_bind(self) -> None:
        """Bind the sockets; those that cannot be bound are dropped, and `bind_errors` says why."""
        for entry in list(self._sockets):
            listener, (*_, address) = entry
            _LOGGER.info("Bind on: %r", address)
            try:
                if self.allow_reuse_address:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address[0], self.server_port, *address[2:]))
            except OSError as error:
                self._drop(entry, error)
                continue
            if self.server_port == 0:
                # further sockets take the port that the system chose for the first
                self.server_port = listener.getsockname()[1]
                self.server_address = (self.server_name, self.server_port)
                _LOGGER.info("Port %r is assigned", self.server_port)

    def server_activate(self) -> None:
        """Listen on the sockets that are bound."""
        for entry in list(self._sockets):
            listener, address_info = entry
            _LOGGER.info("Listen on: %r", address_info)
            try:
                listener.listen(self.request_queue_size)
            except OSError as error:
                self._drop(entry, error)

    def get_request(self) -> Any:
        """Accept a connection from the first socket, for a program that serves it itself."""
        return self._sockets[0][0].accept()

    def handle_request(self) -> None:
        """Accept one connection, and return while it is served.

        As `socketserver` does: waits for it for `timeout` seconds, for ever if that is None, and
        then calls `handle_timeout`. `stop` ends what is served so, and `server_close` closes the
        sockets.

        Raises:
            ConfigError: As `WebSocketServer.start_up`.
            RuntimeError: The server has been stopped.
        """
        serve = self._begin_request()
        if (accepted := self._accept_one()) is None:
            self.handle_timeout()
        else:
            serve(accepted)

    def _begin_request(self) -> Callable[[int], None]:
        raise NotImplementedError

    def _accept_one(self) -> int | None:
        """Wait for a connection; return its descriptor, or None after `timeout` seconds."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        with selectors.DefaultSelector() as selector:
            for listener, _ in self._sockets:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, listener.accept)
            while True:
                left = None if deadline is None else max(0, deadline - time.monotonic())
                for key, _ in selector.select(left):
                    # another thread or process may have been quicker, or the peer has gone
                    with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                        connection: socket.socket = key.data()[0]
                        return connection.detach()
                if left == 0:
                    return None

    def _create_sockets(self) -> None:
        for address_info in self._addresses():
            _LOGGER.info("Create socket on: %r", address_info)
            try:
                self._sockets.append((socket.socket(*address_info[:2]), address_info))
            except OSError as error:
                self._skip(error)

    def _drop(self, entry: tuple[socket.socket, AddressInfo], error: OSError) -> None:
        entry[0].close()
        self._sockets.remove(entry)
        self._skip(error)

    def _addresses(self) -> Iterable[AddressInfo]:
        if not self.server_name:
            return _ANY_HOST
        # for a text, Python loads its tables of international names
        name = self.server_name
        host = name.encode() if name.isascii() and len(name) < _LONG_LABEL else name
        try:
            return socket.getaddrinfo(
                host,
                self.server_port,
                socket.AF_UNSPEC,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
            )
        except UnicodeError as error:
            # a name that no host can have, for instance with a label that is too long
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from error

    def _skip(self, error: OSError) -> None:
        _LOGGER.info("Skip by failure: %r", error)
        self.bind_errors.append(error)


hide_annotations(globals())
