"""The exceptions of a stream. The native module raises these classes.

ConnectionTerminatedException
├── ConnectionLostException, also a BrokenPipeError and a ConnectionResetError
│   ├── ConnectionEndedException, also a ValueError
│   └── ConnectionTimedOutException, also a TimeoutError
└── InvalidFrameException
BadOperationException
UnsupportedFrameException
InvalidUTF8Exception

Instances may have a `close_code`: the status code to fail the connection with, if it is not the
usual one of the class. `awaits_close` is False if the peer is in the middle of a frame, because its
close frame could not be distinguished from the payload.
"""

__all__ = [
    "BadOperationException",
    "ConnectionEndedException",
    "ConnectionLostException",
    "ConnectionTerminatedException",
    "ConnectionTimedOutException",
    "InvalidFrameException",
    "InvalidUTF8Exception",
    "UnsupportedFrameException",
]


class ConnectionTerminatedException(Exception):
    """The connection ended, or has to end, without a closing handshake."""


class ConnectionLostException(ConnectionTerminatedException, BrokenPipeError, ConnectionResetError):
    """A call found the peer gone, or our own side ended, so that nothing can be sent.

    Handlers for pywebsocket catch what `socket` raises there; the others catch the stream's own.
    """


class ConnectionEndedException(ConnectionLostException, ValueError):
    """A call would receive from a connection whose handler has ended.

    Python raises a ValueError for a file that is closed, and so does pywebsocket.
    """


class ConnectionTimedOutException(ConnectionLostException, TimeoutError):
    """The peer's machine has not answered for so long that the system has given it up."""


class InvalidFrameException(ConnectionTerminatedException):
    """The peer sent a frame that the protocol forbids."""


class BadOperationException(Exception):
    """The state of the connection, or the protocol, does not allow the call.

    For example sending after our close frame, or receiving after the peer's.
    """


class UnsupportedFrameException(Exception):
    """The peer sent a frame with a reserved bit or opcode.

    The frame was removed from the stream, so a handler that catches this can go on receiving.
    """


class InvalidUTF8Exception(Exception):
    """The peer sent a text message that is not UTF-8."""
