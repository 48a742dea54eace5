"""What is known of one stream of an HTTP/3 connection, and how much of it may wait."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aioquic.h3.connection import ErrorCode

__all__ = ["Stream", "is_control_stream", "is_too_large"]

# A head may be this much longer than its limit, so that the native server answers it with 431.
_MORE_HEAD_BYTES: Final = 4096

# The longest frame on a client's control stream; those that we know have some 100 bytes.
_MAX_CONTROL_BYTES: Final = 16 * 1024


@dataclass(eq=False)
class Stream:
    """A stream, with its numbers in QUIC and in the inner connection."""

    outer: int
    inner: int
    waiting: bytearray = field(default_factory=bytearray)
    """What the native server has no room for yet."""
    has_received_all: bool = False
    has_reported_end: bool = False
    is_answered: bool = False
    is_ended: bool = False
    """Whether our direction has ended."""
    owed: int = 0
    """Bytes of the inner window to give back when the client has taken more."""
    code: ErrorCode | None = None
    """What to reset it with, when the client has got everything."""
    timer: asyncio.TimerHandle | None = None


def is_control_stream(stream_id: int) -> bool:
    """Tell a stream of HTTP/3 itself from one with a request (RFC 9114 6.1)."""
    return stream_id % 4 != 0


def is_too_large(stream_id: int, size: int, header_bytes: int | None) -> bool:
    """Tell whether more of a frame waits for its end than any frame has that is served.

    Args:
        stream_id: The stream.
        size: How many bytes wait.
        header_bytes: The longest head of a request; None for no limit.
    """
    if is_control_stream(stream_id):
        return size > _MAX_CONTROL_BYTES
    return header_bytes is not None and size > header_bytes + _MORE_HEAD_BYTES
