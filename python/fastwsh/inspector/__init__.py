"""The inspector: a page that shows the connections of a server while it runs, and acts on them.

The native half watches, see `_core.Inspection`. This package has the page, the server that serves
it on 127.0.0.1 to browsers that know its token, and the feed that keeps it up to date. Importing
this package costs next to nothing; without `--inspect` nothing else of it is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from fastwsh.inspector.site import Site

__all__ = [
    "KEPT_BYTES",
    "ServerInspection",
    "is_wanted",
    "open_site",
    "open_site_of_workers",
    "settings",
]

KEPT_BYTES: Final = 32 << 20
"""The most bytes of frames that are kept. A connection that sends a kilobyte a thousand times a
second has half a minute of it."""


def is_wanted(options: Any) -> bool:
    """Tell whether the connections of a server are to be watched."""
    return getattr(options, "inspect", None) is not None


def settings(options: Any) -> tuple[int, int, int] | None:
    """Return what the native server is told: see `inspect` of `_core.Server`; None: nothing."""
    if not is_wanted(options):
        return None
    worker = getattr(options, "worker", None)
    return (KEPT_BYTES, 1, 1) if worker is None else worker.inspect


def open_site(server: Any, options: Any) -> Site | None:
    """Listen on the port of the inspector; None without `--inspect`, and in a worker.

    Args:
        server: The server to look at.
        options: Those of that server.

    Raises:
        ConfigError: The port cannot be used.
    """
    if not is_wanted(options) or getattr(options, "worker", None) is not None:
        return None
    from fastwsh.inspector.local import Local  # noqa: PLC0415 (few need it)
    from fastwsh.inspector.site import Site  # noqa: PLC0415

    return Site(Local(server), options.inspect)


def open_site_of_workers(options: Any, count: int) -> Site | None:
    """Listen likewise, in the parent of workers; `source` of the site is what asks them.

    Raises:
        ConfigError: The port cannot be used.
    """
    if not is_wanted(options):
        return None
    from fastwsh.inspector.all_workers import AllWorkers  # noqa: PLC0415 (few need it)
    from fastwsh.inspector.site import Site  # noqa: PLC0415

    return Site(AllWorkers(count, KEPT_BYTES), options.inspect)


class ServerInspection:
    """The part of a server that has an inspector, or none."""

    _inspector: Site | None = None

    @property
    def inspector_url(self) -> str | None:
        """The URL that opens the page of `--inspect`, once; None without it."""
        return None if self._inspector is None else self._inspector.url

    def _start_inspector(self) -> None:
        if self._inspector is not None:
            self._inspector.start()

    def _end_inspector(self) -> None:
        if self._inspector is not None:
            self._inspector.end()

    def _close_inspector(self) -> None:
        if self._inspector is not None:
            self._inspector.server_close()
