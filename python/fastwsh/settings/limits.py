"""Limits on the server's time and memory for a peer: each limit, its default and the reason.

Owns the command line's options for limits, and their values with `--strict-compat`: pywebsocket has
only those of `http.server`. The native server enforces the limits.
"""

from __future__ import annotations

from fastwsh import option_values
from fastwsh.settings.arguments import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any, Final

__all__ = ["LIMITS", "Limit", "add_limits", "fill_in", "of"]

_MIB: Final = 1 << 20


class Limit:
    """One limit. 0 means no limit.

    Args:
        name: The attribute of the options, and with dashes the option.
        default: Its value if the option is not given.
        help: What it limits; the help adds the default.
        reason: The reason for the default.
        strict: Its value with `--strict-compat`, pywebsocket's.
        kind: Parses the value.
        metavar: The name of the value in the help.
        shown: The default in words.
        like: The limit that provides the default.
    """

    def __init__(
        self,
        *,
        name: str,
        default: float,
        help: str,  # noqa: A002 (as argparse names it)
        reason: str,
        strict: float = 0,
        kind: Callable[[str], float] = option_values.whole_number,
        metavar: str = "N",
        shown: str = "",
        like: str = "",
    ) -> None:
        self.name = name
        self.default = default
        self.help = help
        self.reason = reason
        self.strict = strict
        self.kind = kind
        self.metavar = metavar
        self.shown = shown
        self.like = like

    @property
    def option(self) -> str:
        """The option's name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def default_in_words(self) -> str:
        """The default as the help and the documentation show it."""
        return self.shown or (f"{self.default:g}" if self.default else "none")


def _seconds(**arguments: Any) -> Limit:
    return Limit(kind=option_values.seconds, metavar="SECONDS", **arguments)


LIMITS: Final = (
    Limit(
        name="max_request_line_bytes",
        default=65536,
        strict=65536,
        help="longest request line",
        reason="pywebsocket's, from Python's http.server",
    ),
    Limit(
        name="max_header_bytes",
        default=256 * 1024,
        shown="262144, which is 256 KiB",
        help="size of a request's header lines together; each has 65536 at most",
        reason="four of the longest lines; browsers send a few KiB",
    ),
    Limit(
        name="max_header_lines",
        default=100,
        strict=100,
        help="header lines of a request",
        reason="pywebsocket's, from Python's http.client",
    ),
    _seconds(
        name="head_timeout",
        default=30,
        help="time for the TLS handshake and a request head",
        reason="enough for a modem; a port scan leaves nothing behind for longer",
    ),
    Limit(
        name="max_connections",
        default=0,
        help="connections at a time; more are answered 503 (with TLS: closed)",
        reason="the system's limit of descriptors is one already, and a test suite may need all",
    ),
    Limit(
        name="max_connections_per_address",
        default=0,
        help="connections at a time from one address (of IPv6: from one /64 network)",
        reason="all clients of a test suite have the same, and all behind a proxy unless "
        "--trusted-proxies names it",
    ),
    Limit(
        name="max_message_bytes",
        default=64 * _MIB,
        shown="67108864, which is 64 MiB",
        help="longest message that is received, before it is decompressed",
        reason="twice the largest message that web-platform-tests sends (32 MiB)",
    ),
    Limit(
        name="max_inflated_bytes",
        default=64 * _MIB,
        shown="as --max-message-bytes",
        like="max_message_bytes",
        help="longest message that is received, after it was decompressed",
        reason="as for messages that are not compressed",
    ),
    Limit(
        name="max_frame_bytes",
        default=0,
        help="longest data frame that is received",
        reason="a message may be one frame, and has a limit",
    ),
    Limit(
        name="max_fragments",
        default=_MIB,
        shown="1048576",
        help="frames of one received message",
        reason="64 MiB in pieces of 64 bytes, the smallest that the Autobahn test suite sends",
    ),
    Limit(
        name="max_pings",
        default=1024,
        help="pings of a handler that are remembered until their pong comes; then the oldest is "
        "forgotten",
        reason="128 KiB per connection at most, for a peer that never answers",
    ),
    _seconds(
        name="close_timeout",
        default=10,
        help="time that a peer has for answering a close frame, before it is cut off",
        reason="what the websockets library takes; a browser answers in a round trip",
    ),
    _seconds(
        name="ping_interval",
        default=0,
        help="send a ping to a peer that has sent nothing for this long",
        reason="pywebsocket sends none, and tests of clients count frames",
    ),
    _seconds(
        name="ping_timeout",
        default=20,
        strict=20,
        help="with --ping-interval: cut a peer off that has sent nothing, and taken nothing of "
        "what waits for it, for this long after a ping",
        reason="what the websockets library takes",
    ),
    _seconds(
        name="idle_timeout",
        default=0,
        help="close a connection on which nothing was sent or received for this long, pings of "
        "--ping-interval left out",
        reason="a WebSocket may be silent for days",
    ),
    Limit(
        name="max_http_body_bytes",
        default=64 * _MIB,
        shown="67108864, which is 64 MiB",
        help="longest request body that a CGI program is given; a longer one is answered 413",
        reason="as for messages",
    ),
    _seconds(
        name="http_timeout",
        default=60,
        help="time for which a client of plain HTTP may send nothing of its request's body, or "
        "take nothing of an answer",
        reason="what nginx takes",
    ),
    Limit(
        name="max_http2_streams",
        default=256,
        strict=256,
        help="with --http2: streams at a time on one connection, each a WebSocket or a request",
        reason="Chromium opens 255 WebSockets to one host at most",
    ),
    Limit(
        name="max_http2_resets",
        default=1000,
        strict=1000,
        help="with --http2: streams that a peer may reset before they are answered, beyond as many "
        "as were answered; then its connection is closed",
        reason="a browser that leaves a page resets what it waits for, at most 256 streams",
    ),
    Limit(
        name="max_http3_streams",
        default=256,
        strict=256,
        help="with --http3: streams at a time on one connection, each a WebSocket or a request",
        reason="as for HTTP/2",
    ),
    Limit(
        name="max_http3_resets",
        default=1000,
        strict=1000,
        help="with --http3: streams that a peer may reset before they are answered, beyond as many "
        "as were answered; then its connection is closed",
        reason="as for HTTP/2",
    ),
    Limit(
        name="topic_queue_bytes",
        default=_MIB,
        strict=_MIB,
        shown="1048576, which is 1 MiB",
        help="messages of topics that wait for one connection; see --slow-subscriber",
        reason="seconds of a busy chat; a thousand slow clients need 1 GiB at most",
    ),
)
"""In the order of a connection's life."""


def add_limits(group: argparse._ArgumentGroup) -> None:
    """Add an option for each limit; `fill_in` sets the defaults of those that are not given."""
    for limit in LIMITS:
        default = f"default: {limit.default_in_words}"
        if limit.default and not limit.strict:
            default += "; with --strict-compat none"
        group.add_argument(
            *spelled(limit.option),
            dest=limit.name,
            type=limit.kind,
            metavar=limit.metavar,
            help=f"{limit.help}; 0 for no limit ({default})"
            if limit.default
            else f"{limit.help} ({default})",
        )
    group.add_argument(
        *spelled("--pong-while-busy"),
        dest="pong_while_busy",
        action="store_true",
        help="answer pings also while a handler does something else than receive, unless unread "
        "data stands before them",
    )


def fill_in(options: Any) -> None:
    """Set the limits that were not given."""
    vars(options).update(of(options))


def of(options: Any) -> dict[str, float]:
    """Return all limits, and `pong_while_busy`.

    Args:
        options: pywebsocket's options; limits that an embedder leaves out, or sets to None, have
            their defaults.
    """
    is_strict = getattr(options, "strict_compat", False)
    values: dict[str, float] = {}
    for limit in LIMITS:
        value = getattr(options, limit.name, None)
        if value is None:
            value = limit.strict if is_strict else limit.default
            value = values.get(limit.like, value)
        values[limit.name] = value
    values["pong_while_busy"] = bool(getattr(options, "pong_while_busy", False))
    return values
