"""The inspector: a page that shows the connections of a server while it runs, and acts on them.

The native half watches, see `_core.Inspection`. Here are the page, the server that serves it on
127.0.0.1 to whoever knows its token, and the feed that keeps it up to date. Importing this package
costs next to nothing; without `--inspect` nothing else of it is imported.
"""

import argparse
from typing import TYPE_CHECKING, Any, Final

from fastwsh import config
from fastwsh.config import ConfigError

if TYPE_CHECKING:
    from fastwsh.inspector.site import Site

__all__ = ["KEPT_BYTES", "Inspected", "add_option", "check", "kept_bytes", "open_site"]

KEPT_BYTES: Final = 32 << 20
"""The most bytes of frames that are kept. A connection that sends a kilobyte a thousand times a
second has half a minute of it."""

_YES: Final = frozenset({"", "true", "yes", "on"})
_NO: Final = frozenset({"false", "no", "off"})


def add_option(group: argparse._ArgumentGroup) -> None:
    """Add the option for the inspector."""
    group.add_argument(
        "--inspect",
        nargs="?",
        const=0,
        type=_port,
        metavar="PORT",
        help="watch the connections, and show them on a page of 127.0.0.1 at this port, which the "
        "log names with a token; 0, the default with the option, is any free one (default: no "
        "inspector)",
    )


def _port(text: str) -> int | None:
    word = text.strip().lower()
    if word in _NO:
        return None
    return 0 if word in _YES else config.port_number(text)


def check(options: Any, workers: int) -> None:
    """Raise ConfigError if there are several workers: the inspector shows those of one process."""
    if workers > 1 and getattr(options, "inspect", None) is not None:
        raise ConfigError(
            f"--inspect shows the connections of one process, and there are {workers} workers; "
            "leave out --inspect, or add --workers 1"
        )


def kept_bytes(options: Any) -> int | None:
    """Return how many bytes of frames the native server keeps; None: it watches nothing."""
    return None if getattr(options, "inspect", None) is None else KEPT_BYTES


def open_site(server: Any, options: Any) -> "Site | None":
    """Listen on the port of the inspector; None without `--inspect`.

    Args:
        server: The server to look at.
        options: Those of that server.

    Raises:
        ConfigError: The port cannot be used.
    """
    port = getattr(options, "inspect", None)
    if port is None:
        return None
    from fastwsh.inspector.site import Site  # noqa: PLC0415 (few need it)

    return Site(server, port)


class Inspected:
    """The part of a server that has an inspector, or none."""

    _inspector: "Site | None" = None

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
