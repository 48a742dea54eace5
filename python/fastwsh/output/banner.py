"""What the server prints for a person at a terminal: addresses, handlers, failures, hints.

Names of files and resources, and reasons of failures, come from outside: this module removes
control characters before it prints them. Only the module itself prints colours.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys

from fastwsh import __version__
from fastwsh.listening import listeners
from fastwsh.output import outlets, stdout
from fastwsh.paths import escape_resource, named_resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from typing import Any, Final, TextIO

__all__ = [
    "clean",
    "handler_file",
    "lines",
    "listing",
    "nearest",
    "say",
    "show",
    "write",
    "write_error",
]

_BOLD: Final = "\x1b[1m"
_RED: Final = "\x1b[31m"
_PLAIN: Final = "\x1b[0m"

# C0 and C1 controls, and the marks that change the direction of the text around them. Compiled when
# it is needed.
_UNPRINTABLE: Final = r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"

_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 (compared, not bound)


def clean(text: str) -> str:
    """Return `text` without control characters, so that it cannot control a terminal."""
    return re.sub(_UNPRINTABLE, "", text)


def write(lines: Iterable[str], status: int = 0) -> int:
    """Write lines to standard output, with escapes for characters that its encoding lacks.

    Args:
        lines: The lines; control characters are removed.
        status: What to return.

    Returns:
        The exit status: `status`, or another one if the reader has gone.

    Raises:
        stdout.OutputError: Standard output cannot be written.
    """
    text = "\n".join(map(clean, lines))
    try:
        stdout.write(sys.stdout, _encodable(sys.stdout, text))
    except BrokenPipeError:
        return stdout.GONE
    return status


def write_error(text: str) -> None:
    """Write a line to standard error in the same way; lose it if that cannot be written."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            sys.stderr.write(_encodable(sys.stderr, text))


def _encodable(stream: TextIO | None, text: str) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding) + "\n"


def nearest(resource: str, resources: Iterable[str]) -> list[str]:
    """Return at most three of `resources` that a client asking for `resource` may have meant.

    A query string does not count. The best match comes first; the list is empty if nothing is
    close. Letter case does not count either: `/Echo` is a common slip for `/echo`.
    """
    import difflib  # noqa: PLC0415 (for mistakes only)

    path = resource.partition("?")[0]
    path = (named_resource(path) or path).lower()
    by_lower: dict[str, str] = {}
    for name in resources:
        by_lower.setdefault(name.lower(), name)
    return [by_lower[match] for match in difflib.get_close_matches(path, by_lower)]


def handler_file(suite: Any) -> str:
    """Return the path of the file that a handler suite was loaded from."""
    path = getattr(suite, "path", None)
    return str(path) if path is not None else str(suite.transfer_data.__code__.co_filename)


def listing(suites: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each resource with its handler's file, in the order of the resources."""
    rows = []
    for resource, suite in sorted(suites.items()):
        below = ", and all paths below" if getattr(suite, "has_subpaths", False) else ""
        rows.append((resource, f"{handler_file(suite)}{below}"))
    return rows


def show(server: Any, options: argparse.Namespace) -> None:
    """Print where the server listens and what it serves, if there is a terminal.

    Prints to stderr if that is a terminal, else to stdout if that is one, else nothing, as
    pywebsocket starts silently. There are no colours if `NO_COLOR` is set (no-color.org).
    """
    if _terminal() is not None:
        for line in lines(server, options):
            say(line)


def lines(server: Any, options: argparse.Namespace) -> list[str]:
    """Return what `show` prints."""
    bold, red, plain = ("", "", "") if os.environ.get("NO_COLOR") else (_BOLD, _RED, _PLAIN)
    http, ws = _origins(server, options)
    handlers = listing(options.dispatcher._handler_suite_map)
    rows = [(f"{http}/", os.getcwd())]  # noqa: PTH109 (a string is what we show)
    rows += [(f"{ws}{escape_resource(resource)}", file) for resource, file in handlers]
    rows = [(clean(url), clean(source)) for url, source in rows]
    width = max(len(url) for url, _ in rows)
    shown = [f"{bold}fastwsh {__version__}{plain}"]
    shown += [f"  {bold}{url:{width}}{plain}  {source}" for url, source in rows]
    if listeners.are_named(options):
        places = [listeners.format_address(s.getsockname()) for s, _ in server._sockets]
        shown.append(f"  listening on {clean(', '.join(places))}")
    versions = ["HTTP/1.1"]
    if getattr(options, "http2", False):
        versions.insert(0, "HTTP/2")
    if (endpoint := getattr(server, "_http3", None)) is not None:
        versions.insert(0, f"HTTP/3 (UDP port {endpoint.port})")
    if len(versions) > 1:
        *others, last = versions
        shown.append(f"  {', '.join(others)} and {last}")
    if (worker := getattr(options, "worker", None)) is not None:
        shown.append(f"  {worker.count} workers")
    shown += [f"  metrics on {url}" for url in server.metrics_urls()]
    if not handlers:
        shown.append("  no handlers: files that end in _wsh.py are loaded from --websock-handlers")
    shown += [
        f"  {red}not loaded:{plain} {clean(_summary(warning))}"
        for warning in options.dispatcher.source_warnings()
    ]
    shown.append("Press Ctrl-C to stop.")
    return shown


def say(line: str) -> None:
    """Write a line if there is a terminal, without waiting for it."""
    stream = _terminal()
    if stream is not None:
        with contextlib.suppress(OSError):
            outlets.of(stream).write(f"{line}\n")


def _terminal() -> TextIO | None:
    streams = (sys.stderr, sys.stdout)
    return next((stream for stream in streams if stream is not None and stream.isatty()), None)


def _origins(server: Any, options: argparse.Namespace) -> tuple[str, str]:
    """Return the beginnings of the URLs of pages and handlers; nothing if there is no port."""
    host = options.server_host
    if listeners.are_named(options):
        hosts = [s.getsockname()[0] for s, _ in server._sockets if s.family != socket.AF_UNIX]
        if not hosts:
            return "", ""
        host = hosts[0]
    host = "localhost" if host in _WILDCARDS else host
    place = f"[{host}]" if ":" in host else host
    secure = "s" if options.use_tls else ""
    return (
        f"http{secure}://{place}:{server.server_port}",
        f"ws{secure}://{place}:{server.server_port}",
    )


def _summary(warning: str) -> str:
    """Return the file and the last line of a failure; the log has the whole traceback."""
    first, _, rest = warning.strip().partition("\n")
    last = rest.rpartition("\n")[2].strip()
    return f"{first} {last}" if last else first
