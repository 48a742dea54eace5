"""What a stream raises. The native module raises these very classes.

ConnectionTerminatedException
└── InvalidFrameException
BadOperationException
UnsupportedFrameException
InvalidUTF8Exception

Instances may have a `close_code`: the status code to fail the connection with, where it is not the
one that `dispatch.Dispatcher.transfer_data` has for the class. `awaits_close` is False if the peer
is in the middle of a frame, so that its close frame could not be told from the payload.
"""

__all__ = [
    "BadOperationException",
    "ConnectionTerminatedException",
    "InvalidFrameException",
    "InvalidUTF8Exception",
    "UnsupportedFrameException",
]


class ConnectionTerminatedException(Exception):
    """The connection ended, or has to end, without a closing handshake."""


class InvalidFrameException(ConnectionTerminatedException):
    """The peer sent a frame that the protocol forbids."""


class BadOperationException(Exception):
    """The caller asked for what the state of the connection, or the protocol, does not allow.

    For example sending after our close frame, or receiving after the peer's.
    """


class UnsupportedFrameException(Exception):
    """The peer sent a frame with a reserved bit or opcode.

    The frame was taken off the stream: who catches this may go on receiving.
    """


class InvalidUTF8Exception(Exception):
    """The peer sent a text message that is not UTF-8."""
