"""Decides where each handler runs: in the hub, a thread of its own, or an event loop.

Owns the order of the reasons: that the handler has blocked the hub, a debugger, the operator's
choice, the handler's own choice, the check of its source, which `check` owns.
"""

from __future__ import annotations

import importlib
import logging

from fastwsh.concurrency import tracing
from fastwsh.loading.handler_suite import AUTO, HUB, LOOP, THREADS, HandlerSuite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["AUTO", "CHOICES", "HUB", "LOOP", "THREADS", "Placement", "PlacementPolicy"]

CHOICES: Final = (AUTO, THREADS, HUB)
"""The values of --concurrency."""

_LOGGER: Final = logging.getLogger("fastwsh.server")


class Placement:
    """Where a handler runs.

    Attributes:
        where: `HUB`, `THREADS` or `LOOP`.
        reason: The reason of the decision, for people.
    """

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason


class PlacementPolicy:
    """Decides for the handlers of one server.

    Args:
        concurrency: The operator's choice, one of `CHOICES`.
    """

    def __init__(self, concurrency: str = AUTO) -> None:
        self._concurrency = concurrency
        self._missing = None if concurrency == THREADS else _missing_greenlet()
        if self._missing is not None:
            _LOGGER.warning("All handlers run in threads of their own: %s", self._missing)

    @property
    def may_use_hub(self) -> bool:
        """Whether any handler, loaded now or later, may run in the hub."""
        return self._concurrency != THREADS and self._missing is None

    def place(self, suite: HandlerSuite) -> Placement:
        """Decide where a handler runs; this may change when it stalls."""
        return self.place_unchecked(suite) or _place_by_check(suite)

    def place_unchecked(self, suite: HandlerSuite) -> Placement | None:
        """Decide where a handler runs; return None if its source has to be checked for that."""
        if suite.is_async:
            return Placement(LOOP, "its web_socket_transfer_data is a coroutine function")
        if self._missing is not None:
            return Placement(THREADS, self._missing)
        if suite.stall is not None:
            return Placement(THREADS, suite.stall)
        if tracing.is_active():
            # such a function belongs to a thread, and would take the handlers of the hub for one
            # that calls the others
            return Placement(THREADS, "a trace or profile function is set (threading.settrace)")
        if self._concurrency != AUTO:
            return Placement(self._concurrency, f"--concurrency is {self._concurrency}")
        if suite.concurrency != AUTO:
            reason = f"its web_socket_concurrency is {suite.concurrency!r}"
            return Placement(suite.concurrency, reason)
        return _place_by_check(suite) if suite.check.is_done else None

    def note_stall(self, resource: str, suite: Any, seconds: float) -> None:
        """Note that a handler has blocked the hub; its next connections get threads.

        Args:
            resource: The requested resource.
            suite: Its handler, or None if it has been unloaded.
            seconds: For how long it has blocked the hub so far.
        """
        stall = f"it has kept others waiting for {seconds * 1000:.0f} ms"
        _LOGGER.warning(
            "Handler of %s stalls: %s; its next connections run in threads of their own "
            '(web_socket_concurrency = "threads" in the handler says so from the start)',
            resource,
            stall,
        )
        if suite is not None:
            suite.stall = stall


def _place_by_check(suite: HandlerSuite) -> Placement:
    why = suite.check.why_threads()
    if why is not None:
        return Placement(THREADS, why)
    return Placement(HUB, "it waits only in calls of its stream")


def _missing_greenlet() -> str | None:
    """Return why the hub cannot run, or None if it can."""
    try:
        importlib.import_module("greenlet")
    except ImportError as error:
        return f"greenlet cannot be imported ({error})"
    return None
