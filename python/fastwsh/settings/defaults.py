"""Defaults of options that servers without a command line have too."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


__all__ = [
    "DEFAULT_CLEANUP_TIMEOUT",
    "DEFAULT_DEFLATE_LEVEL",
    "DEFAULT_SHUTDOWN_TIMEOUT",
    "DEFAULT_SLOW_SUBSCRIBER",
    "PYWEBSOCKET_DEFLATE_LEVEL",
    "SLOW_SUBSCRIBER_CHOICES",
]

DEFAULT_DEFLATE_LEVEL: Final = 1
"""The quickest level: a message of 1 KiB takes a seventh of the time of zlib's usual level 6, and
becomes 40 % longer."""

PYWEBSOCKET_DEFLATE_LEVEL: Final = 6
"""zlib's usual level, which makes compressed messages byte for byte those of pywebsocket."""

DEFAULT_SLOW_SUBSCRIBER: Final = "close"
"""A client that misses messages without knowing it shows what is not true; one that is closed
connects again and begins anew."""

SLOW_SUBSCRIBER_CHOICES: Final = (DEFAULT_SLOW_SUBSCRIBER, "drop-newest", "drop-oldest")

DEFAULT_SHUTDOWN_TIMEOUT: Final = 10.0
"""10 s: service managers wait at least this long before they kill."""

DEFAULT_CLEANUP_TIMEOUT: Final = 5.0
"""Enough for a database or a file."""
