"""What is known of one stream of an HTTP/3 connection."""

import asyncio
from dataclasses import dataclass, field

from aioquic.h3.connection import ErrorCode

__all__ = ["Stream"]


@dataclass(eq=False)
class Stream:
    """A stream, with its numbers outside and inside."""

    outer: int
    inner: int
    waiting: bytearray = field(default_factory=bytearray)
    """What the native server has no room for yet."""
    has_received_all: bool = False
    is_end_told: bool = False
    is_answered: bool = False
    is_ended: bool = False
    """Whether our direction has ended."""
    owed: int = 0
    """Bytes of the inner window to give back when the client has taken more."""
    code: ErrorCode | None = None
    """What to reset it with, when the client has got everything."""
    timer: asyncio.TimerHandle | None = None
