"""The module in which pywebsocket 0.7 kept the exceptions and the base class of its streams.

Clients that vendored it name it.
"""

from fastwsh.pywebsocket._stream_exceptions import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    InvalidUTF8Exception,
    UnsupportedFrameException,
)
from fastwsh.pywebsocket.stream import Stream

__all__ = [
    "BadOperationException",
    "ConnectionTerminatedException",
    "InvalidFrameException",
    "InvalidUTF8Exception",
    "StreamBase",
    "UnsupportedFrameException",
]

# There is one kind of stream now.
StreamBase = Stream
