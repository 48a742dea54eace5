"""The life of a test server: it starts, stops, comes back, and refuses connections meanwhile."""

import argparse
import copy
import threading
from typing import TYPE_CHECKING, Final, Literal, Self

from fastwsh.testing.arguments import check_seconds
from fastwsh.testing.blocking import in_thread, refuse_in_event_loop
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.faults import HandshakeFaults
from fastwsh.testing.log import ServerLog
from fastwsh.testing.recording import Recorder
from fastwsh.testing.recordings import Recordings
from fastwsh.testing.serving import RecordedServer

if TYPE_CHECKING:
    from fastwsh.testing.reservation import Reservation

__all__ = ["HANDLER_SECONDS", "ServerLife"]

# A live client answers a close frame in a millisecond; one whose event loop has ended, or
# that nobody reads, never does.
_CLOSE_SECONDS: Final = 1.0

HANDLER_SECONDS: Final = 5.0
"""For handlers that do something else than wait for their client."""

_State = Literal["bound", "running", "refusing", "stopped"]


class ServerLife(Recordings):
    """The life of a test server."""

    _dispatcher: RecordingDispatcher
    _faults: HandshakeFaults
    _log: ServerLog
    _recorder: Recorder
    _port: int

    def __init__(self, settings: argparse.Namespace) -> None:
        super().__init__()
        self._settings = settings
        self._life = threading.RLock()
        self._state: _State = "bound"
        self._is_entered = False
        self._reservation: Reservation | None = None
        self._return: threading.Timer | None = None
        self._server = self._make_server()
        self._port = self._server.port
        # it keeps its port when it comes back
        self._settings.port = self._port

    def __enter__(self) -> Self:
        self._is_entered = True
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_entered = False
        self._end()

    async def __aenter__(self) -> Self:
        self._is_entered = True
        await in_thread(self.start)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_entered = False
        await in_thread(self._end)

    @property
    def is_running(self) -> bool:
        """Whether clients can connect."""
        return self._state == "running"

    def start(self) -> None:
        """Serve: at first, and after `stop` or `refuse` on the same address.

        Handlers, scripts, faults and the record are as they were; connections go on counting. A
        server that runs is left alone.

        Raises:
            ConfigError: An option cannot be used, or another program has taken the port.
        """
        with self._life:
            self._forget_return()
            if self._state == "running":
                return
            if self._state == "refusing":
                assert self._reservation is not None  # noqa: S101 (refuse has made it)
                self._server.accept_again(self._reservation)
            else:
                if self._state == "stopped":
                    self._server = self._make_server()
                try:
                    self._server.start()
                except BaseException:
                    self._state = "stopped"
                    self._log.detach()
                    self._leave()
                    raise
            self._reservation = None
            self._recorder.is_closing = False
            self._state = "running"

    def stop(self) -> None:
        """Close the connections with 1001, wait for the handlers, and listen no more.

        A client that does not answer is cut after a second. A handler that goes on for five more is
        an error for `check`. `start` lets the server serve again, on the same port: within `with`,
        as in the fixtures, nobody else gets it until then.

        Raises:
            RuntimeError: An event loop runs in the calling thread; it has `aio.stop` for that.
        """
        refuse_in_event_loop("stop()", "await wsserver.aio.stop() there")
        self._end()

    def _end(self) -> None:
        with self._life:
            self._forget_return()
            if self._state == "stopped":
                if not self._is_entered:
                    self._leave()
                return
            if self._state == "refusing":
                self._release()
            self._stop()

    def refuse(self) -> None:
        """Refuse connections, as a machine does on which no server runs, until `start`.

        Connections that are open stay. The port stays the server's.

        Raises:
            ValueError: The server has not been started.
        """
        with self._life:
            self._forget_return()
            if self._state == "running":
                self._reservation = self._server.refuse()
                self._state = "refusing"
            elif self._state == "bound":
                raise ValueError("a server that has not been started refuses nothing")

    def restart(self, *, after: float = 0.0) -> None:
        """Stop, as a server does that is deployed anew, and come back on the same port.

        Connections are closed with 1001; scripts that they were playing are over for them. The
        scripts and everything else stay: the next connection plays from its first step on.

        Args:
            after: Seconds during which connections are refused. With 0 the server is back when the
                call returns, otherwise the call returns when it is down, and it comes back by
                itself.

        Raises:
            ConfigError: It cannot come back; without `after`.
            TypeError, ValueError: `after` is no number of seconds.
            RuntimeError: An event loop runs in the calling thread; it has `aio.restart` for that.
        """
        refuse_in_event_loop("restart()", "await wsserver.aio.restart() there")
        check_seconds(after, "restart after")
        with self._life:
            self._forget_return()
            self._recorder.is_interrupting = True
            try:
                if self._state != "stopped":
                    if self._state == "refusing":
                        self._release()
                    self._stop(keeps=True)
            finally:
                self._recorder.is_interrupting = False
            if not after:
                self.start()
                return
            self._return = threading.Timer(after, self._come_back)
            self._return.daemon = True
            self._return.start()

    def _come_back(self) -> None:
        with self._life:
            if self._return is not threading.current_thread():
                return
            try:
                self.start()
            except Exception as error:  # noqa: BLE001 (noted as a failure)
                self._recorder.note_error("/", error, f"the test server did not restart: {error}")

    def _forget_return(self) -> None:
        if self._return is not None:
            self._return.cancel()
            self._return = None

    def _stop(self, *, keeps: bool = False) -> None:
        self._state = "stopped"
        self._await_replays(_CLOSE_SECONDS)
        self._recorder.is_closing = True
        self._faults.release()
        for connection in self._recorder.running():
            connection.release()
        self._end_recording()
        if keeps or self._is_entered:
            self._reservation = self._server.end_and_keep(_CLOSE_SECONDS)
        else:
            self._server.end(_CLOSE_SECONDS)
        # those of the server that has ended
        self._dispatcher._alias_listeners.clear()
        for connection in self._recorder.wait_idle(HANDLER_SECONDS):
            sentence = (
                f"the handler of {connection.path} has not ended {HANDLER_SECONDS:g} s after its "
                "connection did; it must not wait for anything else for so long"
            )
            self._recorder.note_error(connection.path, TimeoutError(sentence), sentence)
        self._log.detach()
        if not (keeps or self._is_entered):
            self._leave()

    def _leave(self) -> None:
        """Have nothing in the process that others may want."""
        self._release()
        self._dispatcher.close()

    def _release(self) -> None:
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    def _make_server(self) -> RecordedServer:
        settings = copy.copy(self._settings)
        if self._reservation is not None:
            settings.uds = None
        self._log.attach()
        try:
            return RecordedServer(
                settings, self._dispatcher, self._recorder, self._log, self._reservation
            )
        except BaseException:
            self._log.detach()
            if self._state == "bound":
                self._dispatcher.close()
            raise
