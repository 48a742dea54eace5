"""The faults that a test server shows when it is asked to: of opening handshakes, and resets."""

from collections.abc import Callable
from typing import Any

from fastwsh.testing.arguments import check_count, check_path, check_seconds
from fastwsh.testing.connection import Connection
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.faults import HandshakeFaults
from fastwsh.testing.recording import Recorder

__all__ = ["ServerFaults"]


class ServerFaults:
    """The faults of a test server."""

    _dispatcher: RecordingDispatcher
    _recorder: Recorder
    _added: set[str]

    def __init__(self) -> None:
        self._faults = HandshakeFaults()

    def reject(self, status: int, *, path: str | None = None, times: int | None = None) -> None:
        """Refuse opening handshakes with this status.

        This and the other faults of the handshake are for the handlers of files as well. Faults
        have their turn in the order of the calls.

        Args:
            status: 200 to 599.
            path: The path; one without a handler gets one that takes everything and says nothing.
                None: all paths that have a handler, and `/`.
            times: For how many handshakes; None: all, until `clear`.
        """
        self._add_fault(self._faults.rejection(status), path, times)

    def raw(self, data: bytes, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes with these bytes, which may be none, and close."""
        self._add_fault(self._faults.raw(data), path, times)

    def wrong_accept(self, *, path: str | None = None, times: int | None = None) -> None:
        """Answer with a Sec-WebSocket-Accept that does not belong to the client's key."""
        self._add_fault(self._faults.wrong_accept(), path, times)

    def delay(self, seconds: float, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes so many seconds late."""
        self._add_fault(self._faults.delay(seconds), path, times)

    def hang(self, *, path: str | None = None, times: int | None = None) -> None:
        """Do not answer opening handshakes; they end with `clear` or `stop`."""
        self._add_fault(self._faults.hang(), path, times)

    def accept(self, count: int, *, then: int = 503, path: str | None = None) -> None:
        """Accept so many opening handshakes, and refuse the others with the status `then`."""
        self._add_fault(self._faults.acceptance(count, then), path, None)

    def _add_fault(self, fault: Callable[[Any], None], path: str | None, times: int | None) -> None:
        place = None if path is None else check_path(path)
        self._listen_at(place or "/")
        self._faults.add(fault, place, times)

    def no_pong(self, *, path: str | None = None) -> None:
        """Answer no ping, as a server that hangs, on connections that are open or come.

        Args:
            path: The path of the connections; None: all. `delay_pong(0)` ends it.
        """
        self._recorder.delay_pongs(None, None if path is None else check_path(path))

    def delay_pong(self, seconds: float, *, path: str | None = None) -> None:
        """Answer pings late, on connections that are open or come.

        Args:
            seconds: How late, each ping by itself; 0: at once.
            path: The path of the connections; None: all.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        check_seconds(seconds, "delay_pong")
        self._recorder.delay_pongs(seconds, None if path is None else check_path(path))

    def drop_at(self, count: int, *, path: str | None = None) -> None:
        """Reset every connection when the message after `count - 1` others is received.

        Messages are counted from this call on, over all connections. The last one is recorded, but
        no handler gets it. It happens once: clients that connect again are served.

        Args:
            count: The number of the message, 1 for the next one.
            path: Count messages, and reset connections, of this path only; None: of all.
        """
        check_count(count, "drop at message")
        place = None if path is None else check_path(path)
        self._listen_at(place or "/")
        self._recorder.drop_at(count, place)

    def _listen_at(self, path: str) -> None:
        if not self._dispatcher.serves(path):
            self._dispatcher.add_function(path, _take_everything)
            self._added.add(path)


def _take_everything(connection: Connection) -> None:
    for _ in connection:
        pass
