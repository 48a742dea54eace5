"""The exceptions of the client.

FastwshError
├── ConnectError (a ConnectionError): there is no connection
│   ├── ConnectTimeoutError (a TimeoutError): not in time
│   ├── ConnectProxyError: the proxy does not lead to the server
│   └── ConnectRefusedError: the server answered with another status than 101
├── ConnectArgumentError (a ValueError): a URL, header, subprotocol or file cannot be used
└── ConnectionClosed: the connection is closed, or lost

The native module raises these very classes. Each text is one sentence with the remedy.
"""

__all__ = [
    "ConnectArgumentError",
    "ConnectError",
    "ConnectProxyError",
    "ConnectRefusedError",
    "ConnectTimeoutError",
    "ConnectionClosed",
    "FastwshError",
]

_ABNORMAL = 1006
_ENDED_WELL = (1000, 1001)


class FastwshError(Exception):
    """The base class of this package's own exceptions."""


class ConnectError(FastwshError, ConnectionError):
    """The connection could not be made, or could not be trusted."""


class ConnectTimeoutError(ConnectError, TimeoutError):
    """The connection was not open within `open_timeout`."""


class ConnectProxyError(ConnectError):
    """The proxy cannot be reached, or does not lead to the server.

    Attributes:
        status: What an HTTP proxy answered to CONNECT, such as 407; None if it did not answer, or
            speaks SOCKS.
    """

    status: int | None = None


class ConnectRefusedError(ConnectError):
    """The server answered with another HTTP status than 101 (RFC 6455 4.1).

    Attributes:
        status: The status, such as 404.
        headers: Names, in lower case, and values of the answer, in order.
        body: The first 4096 bytes of its body at most.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class ConnectArgumentError(FastwshError, ValueError):
    """A URL, header, subprotocol or file cannot be used; nothing was connected to."""


class ConnectionClosed(FastwshError):  # noqa: N818 (the name that users of websockets know)
    """The connection is closed, or lost.

    Args:
        received: Code and reason of the peer's close frame; None if none came. The code is 1005 if
            the frame had none (RFC 6455 7.1.5).
        sent: Code and reason of our close frame; None if none was sent.
        cause: What went wrong, if something did.

    Attributes:
        code: The peer's code; 1006 if no close frame came (RFC 6455 7.1.5).
        reason: The peer's reason; empty if there is none.
        received_code: The peer's code; None if no close frame came.
        sent_code: Our code; None if no close frame was sent.
    """

    def __init__(
        self,
        received: tuple[int, str] | None,
        sent: tuple[int, str] | None,
        cause: str = "",
    ) -> None:
        self.received_code = received[0] if received else None
        self.sent_code = sent[0] if sent else None
        self.code, self.reason = received or (_ABNORMAL, "")
        # The arguments, so that a copy and a pickle are the same.
        super().__init__(received, sent, cause)

    def __str__(self) -> str:
        received, sent, cause = self.args
        if received:
            text = f"the peer closed the connection with {_said(*received)}"
        elif sent:
            text = f"we closed the connection with {_said(*sent)}, and the peer sent no close frame"
        else:
            text = "the connection was lost, and no close frame was sent or received"
        return f"{text}: {cause}" if cause else text

    @property
    def is_normal(self) -> bool:
        """Whether the peer closed with 1000 or 1001."""
        return self.code in _ENDED_WELL


def _said(code: int, reason: str) -> str:
    return f"{code} ({reason})" if reason else str(code)
