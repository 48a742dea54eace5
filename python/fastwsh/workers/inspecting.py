"""The inspector of all workers, which the parent serves, if `--inspect` asks for it."""

import argparse
import asyncio
import json
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fastwsh import inspector

if TYPE_CHECKING:
    from fastwsh.workers.metrics_server import MetricsServer
    from fastwsh.workers.worker import Worker

__all__ = ["WorkersInspector"]

# What the text format puts before the number of the worker: the page shows it by itself.
_BEFORE: Final = re.compile(r"\[[^\]]*\] \[[A-Z]+\] (?=\[worker )")


class WorkersInspector:
    """An inspector, or nothing without the option.

    Args:
        options: They have the port.
        count: How many workers there are.

    Raises:
        ConfigError: The port cannot be used.
    """

    def __init__(self, options: argparse.Namespace, count: int) -> None:
        self._site = inspector.open_site_of_workers(options, count)

    def settings(self, worker: int) -> tuple[int, int, int] | None:
        """Return what a new process of a worker is told."""
        return None if self._site is None else self._site.source.settings(worker)

    def attach(self, workers: Sequence["Worker"], metrics: "MetricsServer") -> None:
        """Begin to ask the workers; called in the event loop."""
        if self._site is not None:
            self._site.source.attach(workers, metrics)

    async def start(self) -> None:
        """Serve the page, and log its URL."""
        if self._site is not None:
            await asyncio.to_thread(self._site.start)

    def write(self, level: int, text: str) -> None:
        """Show a line of a worker's log, if it is a warning or an error."""
        if self._site is not None and level >= logging.WARNING:
            self._site.watcher.note(logging.getLevelName(level).lower(), _without_prefix(text))

    async def end(self) -> None:
        """Serve no more. The event loop must run meanwhile, for a page may be asking."""
        if self._site is not None:
            await asyncio.to_thread(self._site.end)
            self._site.source.detach()

    def close(self) -> None:
        """Close the port."""
        if self._site is not None:
            self._site.server_close()


def _without_prefix(text: str) -> str:
    """Return a line of either format without time and level."""
    if text.startswith("{"):
        try:
            entry = json.loads(text)
            line = f"[worker {entry['worker']}] {entry['logger']}: {entry['message']}"
        except (KeyError, TypeError, ValueError):
            return text
        return f"{line}\n{entry['exception']}" if "exception" in entry else line
    return _BEFORE.sub("", text, count=1)
