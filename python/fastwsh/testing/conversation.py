"""A recorded WebSocket connection: its opening handshake, its messages and its end."""

import http
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "REDACTED",
    "TEXT",
    "Conversation",
    "End",
    "Headers",
    "Message",
]

# RFC 6455 5.2
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

REDACTED: Final = "[redacted]"
"""Stands where a secret was."""

_SWITCHING_PROTOCOLS: Final = http.HTTPStatus.SWITCHING_PROTOCOLS.value

Headers = list[tuple[str, str]]
"""Names and values, in order."""


@dataclass
class Message:
    """A message, or a control frame: a ping, a pong, or a close frame.

    Attributes:
        from_client: Who sent it.
        time: When it was whole, in seconds since 1970.
        opcode: `TEXT`, `BINARY`, `CLOSE`, `PING` or `PONG`.
        data: str for a text message, else bytes: for a close frame what it carries, which is two
            bytes of code and a reason. bytes for a text message that is not UTF-8.
        fragments: The sizes of its frames in bytes as they passed, maybe compressed; empty if it
            was one frame, or if that is not known.
    """

    from_client: bool
    time: float
    opcode: int
    data: str | bytes
    fragments: tuple[int, ...] = ()

    @property
    def is_control(self) -> bool:
        """Whether it is a control frame."""
        return self.opcode >= CLOSE

    @property
    def close_code(self) -> int | None:
        """The code of a close frame; None without, or if it is none."""
        if self.opcode != CLOSE or not isinstance(self.data, bytes) or len(self.data) < 2:
            return None
        return int.from_bytes(self.data[:2])

    @property
    def close_reason(self) -> str:
        """The reason of a close frame."""
        if self.opcode != CLOSE or not isinstance(self.data, bytes):
            return ""
        return self.data[2:].decode(errors="replace")


@dataclass(frozen=True)
class End:
    """An end without the closing handshake.

    Attributes:
        by_client: Who ended the connection; None if the file does not say.
        was_reset: Whether by a reset (RST), not by the end of what is sent (FIN).
        time: When, in seconds since 1970.
    """

    by_client: bool | None
    was_reset: bool
    time: float


@dataclass
class Conversation:
    """A connection from its opening handshake to its end.

    Attributes:
        url: What was connected to, with `ws://` or `wss://`.
        started: When, in seconds since 1970.
        status: The status of the answer: 101 if the connection was opened, 0 if none came.
        status_text: The words behind it.
        request_headers: Names and values, in order.
        response_headers: Names and values of the answer, in order.
        body: The body of an answer that refuses.
        messages: Messages and control frames of both sides, in order. Browsers and mitmproxy do
            not write control frames.
        end: How it ended without the closing handshake, if that is known.
        has_messages: Whether the file has a place for messages: Firefox's have none.
    """

    url: str
    started: float = 0.0
    status: int = _SWITCHING_PROTOCOLS
    status_text: str = "Switching Protocols"
    request_headers: Headers = field(default_factory=list)
    response_headers: Headers = field(default_factory=list)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)
    end: End | None = None
    has_messages: bool = True

    @property
    def is_open(self) -> bool:
        """Whether the server accepted the connection."""
        return self.status == _SWITCHING_PROTOCOLS

    @property
    def resource(self) -> str:
        """The path of the URL with its query."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path or "/"

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose."""
        return self.header("Sec-WebSocket-Protocol")

    def header(self, name: str) -> str | None:
        """Return the first value of a header of the answer; its case does not matter."""
        wanted = name.lower()
        return next((text for key, text in self.response_headers if key.lower() == wanted), None)
