"""The scripts of one path, and which of them a connection plays."""

import threading
from typing import Any

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import HandshakeException
from fastwsh.testing.connection import Connection
from fastwsh.testing.recording import Recorder
from fastwsh.testing.script import Script
from fastwsh.testing.subprotocols import choose_subprotocol

__all__ = ["PathScripts"]


class PathScripts:
    """The scripts of a path: one for all connections, and others for some of them.

    A connection plays the script of its number if there is one, or else that of its subprotocol,
    or else that for all.

    Args:
        path: The path.
        recorder: Gets the failures.
    """

    def __init__(self, path: str, recorder: Recorder) -> None:
        self._path = path
        self._recorder = recorder
        self._lock = threading.Lock()
        self._for_all = Script(path, recorder)
        self._by_number: dict[int, Script] = {}
        self._by_subprotocol: dict[str, Script] = {}
        self._count = 0

    def all(self) -> list[Script]:
        """Return every script."""
        with self._lock:
            others = [*self._by_number.values(), *self._by_subprotocol.values()]
            return [self._for_all, *others]

    def of_all(self) -> Script:
        """Return the script of connections that have none of their own."""
        return self._for_all

    def of_number(self, number: int) -> Script:
        """Return the script of the n-th connection of the path."""
        with self._lock:
            if number not in self._by_number:
                whose = f"connection {number} of "
                self._by_number[number] = Script(self._path, self._recorder, whose)
            return self._by_number[number]

    def of_subprotocol(self, name: str) -> Script:
        """Return the script of connections that speak a subprotocol."""
        with self._lock:
            if name not in self._by_subprotocol:
                whose = f"subprotocol {name} at "
                self._by_subprotocol[name] = Script(self._path, self._recorder, whose)
            return self._by_subprotocol[name]

    def open(self, request: Any) -> None:
        """Choose the subprotocol, and give the connection its number.

        That is done before the client has its answer: clients that come one after the other have
        their numbers in that order.

        Raises:
            HandshakeException: There are only scripts for subprotocols that the client offers not.
        """
        offered = request.ws_requested_protocols or []
        with self._lock:
            preferred = [name for name in offered if name in self._by_subprotocol]
            has_others = self._by_number or not self._for_all.is_empty
            known = None if has_others or not self._by_subprotocol else [*self._by_subprotocol]
        if known is not None and not offered:
            raise HandshakeException(
                f"The client offers no subprotocol, and there are scripts for {known!r} only",
                common.HTTP_STATUS_BAD_REQUEST,
            )
        choose_subprotocol(request, preferred or known)
        with self._lock:
            self._count += 1
            request._script_number = self._count

    def play(self, connection: Connection) -> None:
        """Play the script of a connection; its handler."""
        with self._lock:
            script = self._by_number.get(connection._request._script_number)
            script = script or self._by_subprotocol.get(connection.subprotocol or "")
        (script or self._for_all).play(connection)
