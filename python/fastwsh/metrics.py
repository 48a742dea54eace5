"""Metrics: the port for Prometheus, and a collector for its Python client.

The numbers, their names and their text format are native; see `_core.Server.metrics`.
"""

from __future__ import annotations

import logging

from fastwsh import _core, option_values
from fastwsh.listening import listeners
from fastwsh.process import forks
from fastwsh.settings import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Iterator
    from typing import Any, Final

__all__ = ["Collector", "MetricsPort", "ServerMetrics", "add_options"]

# Metrics say something about clients, and every program that can reach the port gets them.
_DEFAULT_HOST: Final = "127.0.0.1"

_BACKLOG: Final = 16

_LOGGER: Final = logging.getLogger("fastwsh.server")


def add_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for the port of the metrics."""
    group.add_argument(
        *arguments.spelled("--metrics-port"),
        dest="metrics_port",
        type=option_values.port_number,
        metavar="PORT",
        help="answer /metrics (Prometheus' text format) and /healthz on this port, 0 for any free "
        "one (default: none)",
    )
    group.add_argument(
        *arguments.spelled("--metrics-host"),
        dest="metrics_host",
        default=_DEFAULT_HOST,
        metavar="HOST",
        help="name or address for --metrics-port; an empty one is every address (default: "
        "%(default)s)",
    )


class MetricsPort:
    """The sockets for a server's metrics; none if no port is named.

    Attributes:
        urls: The URLs of the metrics.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self.urls: list[str] = []

    def open(self, options: Any) -> None:
        """Listen on the port that the options name.

        Args:
            options: `metrics_port` and `metrics_host`; an embedder's options may have neither.

        Raises:
            ConfigError: The port cannot be used.
        """
        if (worker := getattr(options, "worker", None)) is not None:
            # the parent answers for all workers
            self.urls = list(worker.metrics_urls)
            return
        port = getattr(options, "metrics_port", None)
        if port is not None:
            from fastwsh.listening import places  # noqa: PLC0415 (few servers have such a port)

            host = getattr(options, "metrics_host", _DEFAULT_HOST)
            place = places.Tcp(host, port, "--metrics-port and --metrics-host")
            self._sockets = [entry for entry, _ in places.open_place(place, _BACKLOG)]
        for listener in self._sockets:
            # a handler may fork before `serve`
            forks.close_in_children(listener)
        addresses = [listeners.format_address(s.getsockname()) for s in self._sockets]
        self.urls = [f"http://{address}/metrics" for address in addresses]

    @property
    def listeners(self) -> list[socket.socket]:
        """The sockets."""
        return self._sockets

    def serve(self, core: _core.Server) -> None:
        """Let the native server answer, until it ends."""
        for listener, url in zip(self._sockets, self.urls, strict=False):
            core.listen_for_metrics(forks.duplicate(listener))
            _LOGGER.info("Metrics on %s", url)

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets:
            listener.close()


class ServerMetrics:
    """The part of a server that says how much it does."""

    _core: _core.Server | None
    _metrics_port: MetricsPort

    def metrics_urls(self) -> list[str]:
        """Return the URLs of `--metrics-port`; empty without it."""
        return self._metrics_port.urls

    def metrics(self) -> str:
        """Return the current metrics, in Prometheus' text format.

        This is the answer to `/metrics`. It is empty before `serve_forever`.
        """
        return "" if self._core is None else self._core.metrics()


class Collector:
    """Gives a server's metrics to the registry of the `prometheus_client` package.

    For a program that exports metrics of its own::

        prometheus_client.REGISTRY.register(fastwsh.metrics.Collector(server))

    Metrics of the process are left out, as that package has them itself.

    Args:
        server: A `WebSocketServer`, which need not run yet.
    """

    def __init__(self, server: Any) -> None:
        self._server = server

    def describe(self) -> Iterator[Any]:
        """Yield nothing: the registry need not ask for the metrics to know their names."""
        yield from ()

    def collect(self) -> Iterator[Any]:
        """Yield the current families of metrics.

        Raises:
            ImportError: prometheus_client is not installed.
        """
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

        for family in text_string_to_metric_families(self._server.metrics()):
            if family.name.startswith("fastwsh_"):
                yield family
