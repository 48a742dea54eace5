"""The faults that connections of a test server show when it is asked to."""

from fastwsh.testing.arguments import check_count, check_path, check_seconds
from fastwsh.testing.recording import Recorder
from fastwsh.testing.server_handshakes import ServerHandshakes

__all__ = ["ServerFaults"]


class ServerFaults(ServerHandshakes):
    """The faults of a test server."""

    _recorder: Recorder

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
