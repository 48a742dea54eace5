"""The server under a test server: a `WebSocketServer` whose handlers are recorded."""

import argparse
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastwsh import _core
from fastwsh.config_error import ConfigError
from fastwsh.listening import listeners
from fastwsh.process import forks
from fastwsh.running import handler_failures, session
from fastwsh.server import WebSocketServer
from fastwsh.testing.clock import monotonic
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.log import ServerLog
from fastwsh.testing.recording import Recorder
from fastwsh.testing.reservation import Reservation

if TYPE_CHECKING:
    from fastwsh.aio.loop import HandlerLoop
    from fastwsh.record.proxy import Proxy

__all__ = ["RecordedServer"]

# Starting takes milliseconds.
_START_SECONDS: Final = 30.0


def _run(connection: _core.Connection) -> None:
    server: RecordedServer = connection.server
    with server._around_connection():
        proxy = server.proxy_of(connection.resource)
        serve: Callable[[_core.Connection], object]
        if server._dispatcher.answers_http(connection):
            serve = server._dispatcher.http.serve
        elif proxy is not None:
            serve = proxy.serve
        else:
            session.run(connection)
            return
        try:
            serve(connection)
        except ConnectionError:
            # the client has gone
            return
        except Exception as error:  # noqa: BLE001 (told to the operator; the thread goes on)
            handler_failures.report(connection, error)
        finally:
            connection.flush()


class RecordedServer(WebSocketServer):
    """Serves in a thread of its own.

    Args:
        options: The options.
        dispatcher: Calls the handlers.
        recorder: Gets what happens.
        log: Gets what the server and its handlers log.
        reservation: Sockets to listen on, in place of those that the options name.

    Raises:
        ConfigError: The address cannot be listened on, or an option cannot be used.
    """

    _run_connection = staticmethod(_run)

    def __init__(
        self,
        options: argparse.Namespace,
        dispatcher: RecordingDispatcher,
        recorder: Recorder,
        log: ServerLog,
        reservation: Reservation | None = None,
    ) -> None:
        self._reserved = [] if reservation is None else reservation.take()
        self.recorder = recorder
        self.log = log
        self._dispatcher = dispatcher
        self.proxy: Proxy | None = None
        self._is_serving = threading.Event()
        self._error: BaseException | None = None
        # files are served only if the test names a folder; a device has none
        root = options.document_root
        self._root = os.devnull if root == "." else str(Path(root).resolve())
        self._thread = threading.Thread(target=self._serve, name="fastwsh-test-server", daemon=True)
        try:
            with log.here():
                super().__init__(options)
        except socket.gaierror as error:
            raise self._cannot_listen(options, error) from error
        if not self._sockets:
            raise self._cannot_listen(options, self.bind_errors[0])
        self._listen_listeners.append(self._is_serving.set)

    @property
    def port(self) -> int:
        """The port; 0 of a Unix socket."""
        return listeners.first_port(self._sockets) or 0

    def proxy_of(self, resource: str) -> "Proxy | None":
        """Return what serves a resource if no handler does."""
        proxy = self.proxy
        if proxy is None or self._dispatcher.serves(resource.partition("?")[0]):
            return None
        return proxy

    def start(self) -> None:
        """Serve, from here on.

        Raises:
            ConfigError: An option cannot be used.
        """
        try:
            with self.log.here():
                self.start_up()
        except ConfigError as error:
            self.end(0)
            raise ConfigError(f"the test server cannot start: {error}") from error
        self._thread.start()
        self._is_serving.wait(_START_SECONDS)
        if self._error is not None:
            self.end(0)
            raise ConfigError(f"the test server cannot start: {self._error}") from self._error

    def end(self, timeout: float) -> None:
        """Close every connection with 1001, and let go of everything.

        Connections that are left after so many seconds are cut.
        """
        self._end(timeout)
        with self.log.here():
            self.server_close()

    def end_and_keep(self, timeout: float) -> Reservation:
        """Do what `end` does, and keep the addresses."""
        self._end(timeout)
        return self._reserve()

    def _end(self, timeout: float) -> None:
        with self.log.here():
            if self._core is not None:
                self._core.stop_listening()
            self.stop(timeout)
            if self._thread.ident is not None:
                self._thread.join()

    def refuse(self) -> Reservation:
        """Accept no more connections, and keep the addresses; those that are open stay."""
        assert self._core is not None  # noqa: S101 (it serves)
        self._core.stop_listening()
        if self._http3 is not None:
            self._http3.accepts = False
        return self._reserve()

    def accept_again(self, reservation: Reservation) -> None:
        """Accept connections on what was kept by `refuse`."""
        assert self._core is not None  # noqa: S101 (it serves)
        self._sockets = reservation.take()
        with self.log.here():
            self.server_activate()
        for listener, _ in self._sockets:
            self._core.listen(forks.duplicate(listener))
        if self._http3 is not None:
            self._http3.accepts = True

    def _reserve(self) -> Reservation:
        sockets, self._sockets = self._sockets, []
        return Reservation(sockets)

    def _create_sockets(self) -> None:
        if self._reserved:
            self._sockets = self._reserved
            self.server_port = self.port
        else:
            super()._create_sockets()

    def server_bind(self) -> None:
        """Bind the sockets; those that were kept are bound."""
        if not self._reserved:
            super().server_bind()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve; what is logged is the server's."""
        with self.log.here():
            super().serve_forever(poll_interval)

    def _serve(self) -> None:
        try:
            self.serve_forever()
        except BaseException as error:  # noqa: BLE001 (raised where the start is awaited)
            self._error = error
        finally:
            self._is_serving.set()

    @contextlib.contextmanager
    def _around_connection(self) -> Iterator[None]:
        with self.recorder.session(), self.log.here():
            yield

    def _load_dispatcher(self, options: Any) -> RecordingDispatcher:
        del options
        return self._dispatcher

    def _document_root(self) -> str:
        return self._root

    def _make_event_loop(self) -> "HandlerLoop":
        from fastwsh.aio.loop import EventLoopThread  # noqa: PLC0415 (imports asyncio, which few tests need)

        return EventLoopThread(self._event_loop_kind, monotonic)

    def _set_routes(self, core: _core.Server) -> None:
        super()._set_routes(core)
        core.set_body_paths(self._dispatcher.http.paths())

    def _log_events(self, core: _core.Server) -> None:
        with self.log.here():
            super()._log_events(core)

    @staticmethod
    def _cannot_listen(options: argparse.Namespace, error: OSError) -> ConfigError:
        if options.uds:
            return ConfigError(f"the test server cannot listen on {options.uds!r} ({error})")
        return ConfigError(
            f"the test server cannot listen on port {options.port} of {options.server_host!r} "
            f"({error.strerror}); give an address of this machine, and port 0 for any free one"
        )
