"""`WebSocketServer`: binds sockets in Python; everything else is native.

The constructor, the attributes and the methods are those of pywebsocket's class of this name,
because programs embed it; `stop` is new.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socketserver
import threading

from fastwsh import _core, coroutines, embedding, http3, inspector, native_server
from fastwsh.concurrency.placement import AUTO, PlacementPolicy
from fastwsh.config_error import ConfigError
from fastwsh.listening import listeners
from fastwsh.listening.sockets import SocketServer
from fastwsh.loading.map_file import load_handlers
from fastwsh.metrics import MetricsPort, ServerMetrics
from fastwsh.output import loggers
from fastwsh.process import exits, forks
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.running import session
from fastwsh.running.handler_concurrency import HandlerConcurrency
from fastwsh.running.lifespan import Lifespan
from fastwsh.server_topics import ServerTopics
from fastwsh.settings import private_files, tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Final

    from fastwsh.aio.loop import HandlerLoop
    from fastwsh.http3.endpoint import Endpoint
    from fastwsh.loading.reload import Watcher
    from fastwsh.output.access import AccessLog
    from fastwsh.pywebsocket.dispatch import Dispatcher

__all__ = ["WebSocketServer", "load_handlers"]

# The time for the last log lines at the end; a log may go to a pipe without a reader.
_LOG_SECONDS: Final = 2.0

_FOR_GOOD: Final = "the server has been stopped: make a new one to serve again"

_LOGGER: Final = logging.getLogger("fastwsh.server")
# pywebsocket writes this line with a logger of this name.
_OLD_LOGGER: Final = logging.getLogger("pywebsocket3.websocket_server.WebSocketServer")


class _Unset(socketserver.BaseRequestHandler):
    """Stands in for the request handler class until the constructor of the base class is done."""


class WebSocketServer(
    HandlerConcurrency, ServerTopics, ServerMetrics, inspector.ServerInspection, SocketServer
):
    """A server for the handlers of a folder and the files of the current one.

    Constructing it binds and listens; connections are accepted by `serve_forever`. A port that
    cannot be bound does not raise: `_sockets` is empty then and `bind_errors` says why.

    Args:
        options: As `fastwsh.options.parse_args_and_config` returns them, or any object with
            pywebsocket's attributes.

    Raises:
        ConfigError: An option asks for something that the server cannot do, or a TLS file, a log
            file, or a place of `--bind`, `--uds`, `--fd` or `--metrics-port` cannot be used.
        DispatchException: The scan directory is not in the handlers' root.
        OSError: The host is not known, or the map file cannot be read.
    """

    RequestHandlerClass: Any = embedding.RequestHandlerClass()

    _run_connection = staticmethod(session.run)  # called with each connection

    @property
    def _tells_addresses(self) -> bool:
        """Whether to log where it listens; the parent of a worker does that."""
        return getattr(self.websocket_server_options, "worker", None) is None

    def __init__(self, options: Any) -> None:
        socketserver.BaseServer.__init__(self, (options.server_host, options.port), _Unset)
        del self.RequestHandlerClass  # so that the class's counts
        loggers.keep_enabled()
        embedding.refuse_workers(options)
        options.dispatcher = self._load_dispatcher(options)
        for warning in options.dispatcher.source_warnings():
            logging.warning("Warning in source loading: %s", warning)  # noqa: LOG015 (its logger)
        self.websocket_server_options = options
        self.request_queue_size = options.request_queue_size
        self.server_name = options.server_host
        self.server_port = options.port
        self.bind_errors = []
        self._sockets = []
        self._known_dispatcher: Any = None
        self._overrides = (False, False)
        self._told_of: set[str] = set()
        embedding.refuse_overridden(self)
        self._stopped = threading.Event()
        self._serving_thread: int | None = None
        self._not_serving = threading.Event()
        self._not_serving.set()
        self._core: _core.Server | None = None
        self._lock = threading.Lock()
        self._is_configured = False
        self._is_listening = False
        self._listen_listeners: list[Callable[[], object]] = []
        # locked while the core gets the handlers; must be taken after _lock
        self._routes_lock = threading.Lock()
        self.access_log: AccessLog | None = None
        self._event_loop: HandlerLoop | None = None
        self._event_loop_kind: str = getattr(options, "event_loop", coroutines.ASYNCIO)
        if self._event_loop_kind == coroutines.UVLOOP:
            coroutines.import_uvloop()
        self._watcher: Watcher | None = None
        self._log_thread: threading.Thread | None = None
        self._reloads = bool(getattr(options, "reload", False))
        self._lifespan = Lifespan(self._run_for_app)
        self._placement = PlacementPolicy(getattr(options, "concurrency", AUTO))
        self._metrics_port = MetricsPort()
        self._http3: Endpoint | None = None
        forks.forget_in_children(self)
        if getattr(options, "access_log", None):
            from fastwsh.output import access  # noqa: PLC0415 (few need it)

            self.access_log = access.AccessLog(options.access_log, options)
        self._open_sockets(options)
        try:
            self._metrics_port.open(options)
            self._http3 = http3.open_endpoint(options, [listener for listener, _ in self._sockets])
            self._inspector = inspector.open_site(self, options)
            if getattr(options, "use_tls", False):
                # wrong files must end the start here; everything else is read when serving begins
                self._core = native_server.make(self)
        except (ConfigError, ValueError) as error:
            self.server_close()
            raise ConfigError(str(error)) from error

    def _open_sockets(self, options: Any) -> None:
        """Listen where the options say; a worker takes the sockets that its parent has opened."""
        worker = getattr(options, "worker", None)
        if worker is not None:
            self._sockets = worker.sockets
        elif listeners.are_named(options):
            from fastwsh.listening import places  # noqa: PLC0415 (few servers listen at one)

            self._sockets = places.open_all(options)
        else:
            self._create_sockets()
            self.server_bind()
            self.server_activate()
            return
        self.server_port = listeners.first_port(self._sockets) or options.port

    def start_up(self) -> None:
        """Run what handlers do before the first connection, `web_socket_startup`, once.

        `serve_forever` does this first; called before, it tells of a failure before all else. The
        functions run in the calling thread, coroutine functions in the event loop.

        Raises:
            ConfigError: One has failed, or an option asks for what the server cannot do. The server
                cannot be used any more.
        """
        with self._lock:
            if self._stopped.is_set() or self._is_configured:
                return
            embedding.refuse_overridden(self)
            core = self._core = self._core or native_server.make(self)
            self._configure_core(core)
            self._is_configured = True
            exits.end_at_exit(self)
            forks.forget_in_children(self)
            self._begin_topics(core)
        try:
            self._lifespan.start(self._suites().values())
        except BaseException:
            WebSocketServer.stop(self, 0)
            raise

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Accept connections until `shutdown` or `stop` is called.

        Args:
            poll_interval: Seconds until the main thread notices a signal that came just before it
                began to wait; other threads do not poll.
        """
        if not self._sockets:
            _OLD_LOGGER.critical("No sockets activated. Use info log level to see the reason.")
        if self._stopped.is_set() and self._is_listening:
            self._begin_again()
        self.start_up()
        with self._lock:
            core = self._core
            if self._stopped.is_set() or core is None:
                return
            self._start_log(core)
            addresses = []
            for listener, _ in self._sockets:
                # asked here, because the next thread that stops the server may close its sockets
                addresses.append(listeners.format_address(listener.getsockname()))
                core.listen(forks.duplicate(listener))
            self._serving_thread = threading.get_ident()
            self._not_serving.clear()
        try:
            self._serve_http3(core)
            if self._tells_addresses:
                for address in addresses:
                    _LOGGER.info("Listening on %s", address)
            self._metrics_port.serve(core)
            self._start_inspector()
            self._is_listening = True
            for listen in self._listen_listeners:
                listen()
            is_main = threading.current_thread() is threading.main_thread()
            while not self._stopped.wait(poll_interval if is_main else None):
                pass
        except BaseException:  # a KeyboardInterrupt, usually
            WebSocketServer.stop(self, 0)
            raise
        finally:
            self._serving_thread = None
            self._not_serving.set()

    def _begin_again(self) -> None:
        """Get ready to serve after `shutdown`, as servers of `socketserver` can."""
        if self._http3 or self._inspector or self._metrics_port.listeners:
            raise RuntimeError(_FOR_GOOD)
        self._not_serving.wait()
        with self._lock:
            self._core = self._known_dispatcher = self._watcher = self._log_thread = None
            self._is_configured = self._is_listening = False
            self._lifespan = Lifespan(self._run_for_app)
            self._stopped.clear()

    def _begin_request(self) -> Callable[[int], None]:
        """Get ready for one connection; return the function that serves it."""
        self.start_up()
        with self._lock:
            core = self._core
            if self._stopped.is_set() or core is None:
                raise RuntimeError(_FOR_GOOD)
            self._start_log(core)
        self._follow_program(core)
        return core.serve_accepted

    def shutdown(self) -> None:
        """Stop accepting, send close frames, and let `serve_forever` end.

        Waits for the end of `serve_forever`, but not for the handlers. If it is called before
        `serve_forever`, that does not start.
        """
        # do not call self.stop: Chromium's test server sets an attribute of that name
        WebSocketServer.stop(self, 0)
        if threading.get_ident() != self._serving_thread:
            self._not_serving.wait()

    def stop(self, timeout: float, cleanup_timeout: float = 0) -> bool:
        """Stop accepting, close every connection with 1001 and wait for the handlers.

        Args:
            timeout: Seconds to wait; connections that are still open then are cut.
            cleanup_timeout: Seconds that handlers have to clean up once they are cut.

        Returns:
            Whether all handlers have ended.
        """
        with self._lock:
            core = self._core
            finished = True
            if self._watcher is not None:
                self._watcher.stop()
            if core is not None and not self._stopped.is_set():
                if self._http3 is not None:
                    self._http3.go_away()
                core.close()
                if self._event_loop is not None:
                    self._event_loop.note_server_close()
                finished = core.wait_closed(timeout) or (
                    cleanup_timeout > 0 and core.wait_handlers(cleanup_timeout)
                )
                self._lifespan.stop()
            with self._routes_lock:
                self._stopped.set()
                event_loop, self._event_loop = self._event_loop, None
        if self._watcher is not None:
            self._watcher.join()
        if event_loop is not None:
            event_loop.stop()
        if self._http3 is not None:
            self._http3.stop()
        self._end_inspector()
        if core is not None:
            self._end_topics(core)
            core.end()
        if self._log_thread is not None and self._log_thread is not threading.current_thread():
            self._log_thread.join(_LOG_SECONDS)
        return finished

    def server_close(self) -> None:
        """Close the listening sockets; those that are closed stay so."""
        self._metrics_port.close()
        if self._http3 is not None:
            self._http3.close()
        self._close_inspector()
        super().server_close()

    def _forget(self) -> bool:
        """Detach from the server of the parent process; called after a fork.

        Returns:
            False if it had done no more than open sockets: then the child may serve.
        """
        self._lock, self._routes_lock = threading.Lock(), threading.Lock()
        if not (self._is_configured or self._metrics_port.listeners or self._http3):
            self._core = None
            return False
        self._stopped.set()
        self._lifespan.forget()
        self._leave_topics()
        self._core = self._event_loop = self._watcher = self._log_thread = self._http3 = None
        self._inspector = None
        self._sockets = []
        self._metrics_port = MetricsPort()
        self._not_serving.set()
        return True

    def reload_certificates(self) -> None:
        """Read the TLS files again, for new connections.

        Logs the result. If the files cannot be used, nothing changes.
        """
        core = self._core
        if core is None or not getattr(self.websocket_server_options, "use_tls", False):
            return
        try:
            core.reload_tls()
            if self._http3 is not None:
                self._http3.reload()
        except (ConfigError, ValueError) as error:
            _LOGGER.error("Certificates stay as they were: %s", error)  # noqa: TRY400
        else:
            tls.warn(self.websocket_server_options)
            _LOGGER.info("Certificates reloaded")

    def _load_dispatcher(self, options: Any) -> Dispatcher:
        return load_handlers(options)

    def _document_root(self) -> str:
        return os.getcwd()  # noqa: PTH109 (a string is what the core takes)

    def _configure_core(self, core: _core.Server) -> None:
        options = self.websocket_server_options
        private_files.warn(options, self._document_root())
        tls.warn(options)
        core.ask_for_admission(embedding.is_overridden(self, "verify_request"))
        self._know_dispatcher(core)
        self._tell_of_unused_hubs()
        if _LOGGER.isEnabledFor(logging.DEBUG):
            self._log_concurrency()
        if self.access_log is not None:
            core.report_refusals()
        core.set_credential(embedding.credential(options))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an own `verify_request` is called from the next connection on."""
        super().__setattr__(name, value)
        if name == "verify_request" and (core := vars(self).get("_core")) is not None:
            core.ask_for_admission(True)

    def _serve_http3(self, core: _core.Server) -> None:
        if self._http3 is not None:
            self._http3.start(core, functools.partial(embedding.admits_http3, self))

    def _admits(self, descriptor: int, client_address: Any) -> bool:
        """Ask `verify_request`; called for each connection if it is overridden."""
        return embedding.admits(self, descriptor, client_address)

    @contextlib.contextmanager
    def _around_connection(self) -> Iterator[None]:
        """Return the context manager for a connection with a coroutine function."""
        yield


hide_annotations(globals())
