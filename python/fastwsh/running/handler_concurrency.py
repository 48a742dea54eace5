"""What runs where: the handlers of one server, its hub, threads and event loop.

Owns what the native half is told of the handlers, and the event loop, which the first handler that
needs it starts. `concurrency.placement` decides where a handler runs.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from fastwsh import coroutines, embedding
from fastwsh.concurrency.placement import HUB, LOOP, THREADS, PlacementPolicy
from fastwsh.config_error import ConfigError
from fastwsh.output.events import EventLog
from fastwsh.paths import resource_bytes
from fastwsh.pywebsocket.dispatch import Dispatcher, DispatchException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    from fastwsh._core import Server
    from fastwsh.aio.loop import HandlerLoop
    from fastwsh.loading.handler_suite import HandlerSuite
    from fastwsh.loading.reload import Watcher
    from fastwsh.output.access import AccessLog
    from fastwsh.running.lifespan import App, Lifespan

__all__ = ["HandlerConcurrency"]

_IN_WORDS: Final = {HUB: "the hub", THREADS: "threads", LOOP: "the event loop"}

_LOGGER: Final = logging.getLogger("fastwsh.server")

# how often to check for methods that were replaced on a class
_LOOK_SECONDS: Final = 1.0


class HandlerConcurrency:
    """The part of a server that knows where its handlers run."""

    websocket_server_options: Any
    _core: Server | None
    _event_loop: HandlerLoop | None
    _event_loop_kind: str
    _known_dispatcher: Any
    _told_of: set[str]
    _overrides: tuple[bool, bool]
    _watcher: Watcher | None
    _log_thread: threading.Thread | None
    access_log: AccessLog | None
    _lifespan: Lifespan
    _placement: PlacementPolicy
    _reloads: bool
    _routes_lock: threading.Lock
    _stopped: threading.Event

    def _watch(self, dispatcher: Any) -> None:
        """Reload the handlers of this dispatcher, instead of those of the one before."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._reloads and isinstance(dispatcher, Dispatcher):
            from fastwsh.loading.reload import Watcher  # noqa: PLC0415 (few need it)

            self._watcher = Watcher(dispatcher)
            self._watcher.start()

    def _start_log(self, core: Server) -> None:
        """Start what runs beside the connections, once."""
        if self._log_thread is None:
            self._log_thread = threading.Thread(
                target=self._log_events, args=(core,), name="fastwsh-log", daemon=True
            )
            self._log_thread.start()
            self._watch(self.websocket_server_options.dispatcher)

    def _log_events(self, core: Server) -> None:
        """Make log lines of the events of the native threads."""
        log = EventLog(self.websocket_server_options, self.access_log)
        next_look = time.monotonic()
        while not log.has_ended:
            try:
                if (now := time.monotonic()) >= next_look and not self._stopped.is_set():
                    next_look = now + _LOOK_SECONDS
                    self._follow_program(core)
                for resource, suite, seconds in log.next(core):
                    self._placement.note_stall(resource, suite, seconds)
                    self._set_routes(core)
            except Exception:
                # such as a module that does not load while there is no descriptor left; whatever it
                # is, later events have their lines
                _LOGGER.exception("An event of the server has no line in the log")

    def _know_dispatcher(self, core: Server) -> None:
        """Follow the dispatcher of the options, which an embedder may have replaced."""
        with self._routes_lock:
            dispatcher = self.websocket_server_options.dispatcher
            if dispatcher is self._known_dispatcher:
                return
            self._known_dispatcher = dispatcher
        dispatcher._has_event_loop = True
        dispatcher._lifespan = self._lifespan
        if self._event_loop is not None:
            self._let_run_coroutines(self._event_loop)
        getattr(dispatcher, "_alias_listeners", []).append(lambda: self._set_routes(core))
        self._set_routes(core)
        if self._watcher is not None:
            self._watch(dispatcher)

    def _follow_program(self, core: Server) -> None:
        """Check what an embedding program has replaced: on an object, or on a class."""
        self._know_dispatcher(core)
        core.ask_for_admission(embedding.is_overridden(self, "verify_request"))
        with contextlib.suppress(AttributeError):  # the program is about to set the credential
            core.set_credential(embedding.credential(self.websocket_server_options))
        embedding.warn_of_overridden(self, self._told_of)
        dispatcher = self.websocket_server_options.dispatcher
        overrides = embedding.decides_itself(dispatcher), embedding.calls_itself(dispatcher)
        if overrides != self._overrides:
            self._set_routes(core)

    def _find_concurrency(self, resource: str) -> str | None:
        """Return where the handler of a resource runs, if no route says so, or None."""
        if (core := self._core) is None:
            return None
        self._know_dispatcher(core)
        try:
            suite = self.websocket_server_options.dispatcher.get_handler_suite(resource)
        except DispatchException:
            return THREADS  # where it is raised again, and answered
        if not suite:
            return None
        with self._routes_lock:
            self._start_needed_loop(core, [suite])
        was_decided = self._placement.place_unchecked(suite) is not None
        where = self._where(suite)
        if not was_decided:
            self._set_routes(core)
        return where

    def _where(self, suite: HandlerSuite) -> str:
        """Return where a handler runs: in a thread if the dispatcher overrides its calls."""
        where = self._placement.place(suite).where
        is_overridden = self.websocket_server_options.dispatcher._is_overridden
        return THREADS if where == LOOP and is_overridden else where

    def _log_concurrency(self) -> None:
        """Log where each handler runs, and why."""
        for path, suite in sorted(self._suites().items()):
            placement = self._placement.place(suite)
            where = _IN_WORDS[placement.where]
            _LOGGER.debug("Handler of %s runs in %s: %s", path, where, placement.reason)

    def _tell_of_unused_hubs(self) -> None:
        hubs = getattr(self.websocket_server_options, "hubs", 1)
        if hubs > 1 and self._placement.may_use_hub and not self._needs_hub():
            _LOGGER.warning("--hubs has no effect, as no handler runs in the hub; leave it out")

    def _needs_hub(self) -> bool:
        """Tell whether a handler may run in the hub, now or when it is loaded later."""
        if self._reloads:
            return self._placement.may_use_hub
        return not {HUB, None}.isdisjoint(self._routes().values())

    def _routes(self) -> dict[bytes, str | None]:
        """Return the resources that have handlers, as bytes, and where each runs.

        None means that the handler's source has to be checked for that. `_find_concurrency` does so
        at its first connection, since that takes a tenth of the time until the server listens.
        """
        routes: dict[bytes, str | None] = {}
        for resource, suite in self._suites().items():
            is_known = self._placement.place_unchecked(suite) is not None
            where = routes[resource_bytes(resource)] = self._where(suite) if is_known else None
            if getattr(suite, "has_subpaths", False):
                # all paths below it, in the form of the core
                routes[b"*" + resource_bytes(resource.rstrip("/") + "/")] = where
        return routes

    def _suites(self) -> dict[str, HandlerSuite]:
        # iterate over a copy, because an alias may be added meanwhile
        return dict(getattr(self.websocket_server_options.dispatcher, "_handler_suite_map", {}))

    def _set_routes(self, core: Server) -> None:
        """Pass the handlers to the core, and start the event loop for the first that needs it."""
        with self._routes_lock:
            self._start_needed_loop(core, self._suites().values())
            dispatcher = self.websocket_server_options.dispatcher
            decides = embedding.decides_itself(dispatcher)
            dispatcher._is_overridden = embedding.calls_itself(dispatcher)
            self._overrides = decides, dispatcher._is_overridden
            core.set_routes({} if decides else self._routes())
            core.ask_for_every_request(decides)

    def _start_needed_loop(self, core: Server, suites: Iterable[HandlerSuite]) -> None:
        if any(suite.is_async or suite.opens_async for suite in suites):
            self._start_loop(core)

    def _start_loop(self, core: Server) -> HandlerLoop | None:
        """Start the event loop if there is none; return it, or None if the server has stopped."""
        if self._event_loop is None and not self._stopped.is_set():
            event_loop = self._event_loop = self._make_event_loop()
            core.set_event_loop(event_loop.native)
            self._let_run_coroutines(event_loop)
        return self._event_loop

    def _let_run_coroutines(self, event_loop: HandlerLoop) -> None:
        dispatcher = self.websocket_server_options.dispatcher
        dispatcher._run_coroutine = event_loop.run_coroutine
        dispatcher._run_transfer = event_loop.run_transfer

    def _make_event_loop(self) -> HandlerLoop:
        try:
            from fastwsh.aio.loop import EventLoopThread  # noqa: PLC0415 (imports asyncio, which not all need)
        except RuntimeError as error:
            # thread pools of Python cannot be imported once the main program has ended
            if "shutdown" not in str(error):
                raise
            raise ConfigError(
                "The event loop for coroutine handlers cannot start while the program ends;"
                " start the server before."
            ) from None

        return EventLoopThread(self._event_loop_kind)

    def _run_for_app(self, function: Callable[[Any], Any], app: App) -> None:
        """Call a function of a handler that is for the app, where functions of its kind run."""
        if not coroutines.is_coroutine_function(function):
            coroutines.refuse(function(app))
            return
        with self._routes_lock:
            event_loop = None if self._core is None else self._start_loop(self._core)
        if event_loop is not None:
            event_loop.run_coroutine(function(app))
