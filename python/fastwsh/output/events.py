"""Events of the native threads: lines for the log, and handlers that block others."""

from __future__ import annotations

import logging
import sys
import time

from fastwsh.output import banner, loggers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from fastwsh import _core
    from fastwsh.loading.handler_suite import HandlerSuite
    from fastwsh.output.access import AccessLog

__all__ = ["EventLog"]

_POLL_SECONDS: Final = 1.0
# Finding similar names takes milliseconds, and any client may request unknown names.
_HINT_SECONDS: Final = 0.2

_LOGGER: Final = logging.getLogger("fastwsh.server")


class EventLog:
    """Makes log lines of the events of one server.

    Args:
        options: Have the dispatcher, which a program may replace.
        access_log: Gets the requests that have reached no handler; may be None.

    Attributes:
        has_ended: Whether the server has ended, so that there are no more events.
    """

    def __init__(self, options: Any, access_log: AccessLog | None) -> None:
        self._options = options
        self._access_log = access_log
        self.has_ended = False
        self._next_hint = 0.0
        self._parent = logging.getLogger("pywebsocket3")

    def next(self, core: _core.Server) -> Iterator[tuple[str, HandlerSuite | None, float]]:
        """Wait for an event, for a second at most, and log it.

        Yields:
            A handler that blocks others: its resource in printable form, the handler itself if it
            still exists, and for how many seconds it has blocked them.
        """
        core.set_log_level(min(self._parent.getEffectiveLevel(), 250))
        match core.next_event(_POLL_SECONDS):
            case ("line", level, name, text):
                loggers.get(f"pywebsocket3.{name}").log(level, "%s", text)
            case ("no_handler", resource, upgrade):
                self._log_missing_handler(resource, upgrade)
            case ("refused", peer, resource, status, http_version):
                if self._access_log is not None:
                    self._access_log.write_refusal(peer, resource, status, http_version)
            case ("end",):
                self.has_ended = True
            case ("stall", resource, seconds):
                suite = self._options.dispatcher.get_handler_suite(resource.partition("#")[0])
                yield banner.clean(resource), suite, seconds
        if lost := core.take_lost_events():
            _LOGGER.warning("%d log lines were dropped: too many at once", lost)

    def _suites(self) -> Any:
        return self._options.dispatcher._handler_suite_map

    def _log_missing_handler(self, resource: str, upgrade: bool) -> None:
        logger = logging.getLogger("pywebsocket3.request_handler.WebSocketRequestHandler")
        logger.info("No handler for resource: %r", resource)
        if not upgrade:
            return
        # a person at a terminal wants to know this; in a log file there is no more than pywebsocket
        # writes
        level = logging.WARNING if sys.stderr.isatty() else logging.INFO
        now = time.monotonic()
        if not _LOGGER.isEnabledFor(level) or now < self._next_hint:
            return
        self._next_hint = now + _HINT_SECONDS
        nearest = banner.nearest(resource, self._suites())
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        _LOGGER.log(level, "No handler for %s%s", banner.clean(resource), hint)
