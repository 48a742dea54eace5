"""What an inspector asks of a server in its own process."""

from collections.abc import Sequence
from typing import Any, Protocol

from fastwsh.output import banner
from fastwsh.paths import resource_bytes

__all__ = ["Local", "Source"]


class Source(Protocol):
    """A server that is looked at: one process, or several workers.

    Attributes:
        workers: The numbers of the workers; empty if the server is one process.
        log: The lines of a server of tests, which keeps them for itself; None for others.
    """

    workers: Sequence[int]
    log: Any

    @property
    def inspection(self) -> Any:
        """What is known of connections, with the methods of `_core.Inspection`; None: nothing."""

    def metrics(self) -> dict[int, str]:
        """Return the metrics of all together by 0, and of each worker by its number."""

    def facts(self, worker: int) -> dict[str, Any]:
        """Return handlers, latency and memory of a worker; 0 stands for all together."""

    def states(self) -> list[dict[str, Any]]:
        """Return number, process, state and starts of each worker."""


class Local:
    """A server in this process.

    Args:
        server: A `WebSocketServer`.
    """

    workers: Sequence[int] = ()

    def __init__(self, server: Any) -> None:
        self._server = server

    @property
    def log(self) -> Any:
        """The lines of a server of tests."""
        return getattr(self._server, "log", None)

    @property
    def inspection(self) -> Any:
        """The native half, once the server has begun."""
        core = self._server._core
        return None if core is None else core.inspection

    def metrics(self) -> dict[int, str]:
        """Return the metrics by 0, once the server has begun."""
        core = self._server._core
        return {} if core is None else {0: core.metrics()}

    def facts(self, worker: int) -> dict[str, Any]:
        """Return what the overview shows beside metrics."""
        del worker
        inspection = self.inspection
        used, limit, dropped = (0, 0, 0) if inspection is None else inspection.memory()
        dispatcher = self._server.websocket_server_options.dispatcher
        return {
            "handlers": self._handlers(),
            "failed": [banner.clean(text) for text in dispatcher.source_warnings()],
            "latency": [] if inspection is None else inspection.latency(),
            "kept": {"used": used, "limit": limit, "dropped": dropped},
        }

    def states(self) -> list[dict[str, Any]]:
        """Return nothing: there are no workers."""
        return []

    def _handlers(self) -> list[dict[str, Any]]:
        """Return the handlers, with where they run and why."""
        server = self._server
        found = []
        for resource, suite in sorted(server._suites().items()):
            placement = server._placement.place(suite)
            where = server._where(suite)
            why = placement.reason if where == placement.where else "its dispatcher calls it"
            try:
                file = banner.handler_file(suite)
            except AttributeError:
                file = ""
            found.append(
                {
                    "path": resource_bytes(resource).decode(errors="replace"),
                    "file": banner.clean(file),
                    "where": where,
                    "why": why,
                    "below": bool(getattr(suite, "has_subpaths", False)),
                }
            )
        return found
