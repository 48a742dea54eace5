"""Recorded WebSocket connections, and the HAR files that hold them.

A HAR file is JSON. Chromium's developer tools began to put the messages of a connection into it,
under `_webSocketMessages`, and others followed. `read` takes the files of all of them, and of
`python -m fastwsh.record`; `write` makes one that all of them can show.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastwsh import __version__

__all__ = [
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "REDACTED",
    "TEXT",
    "Conversation",
    "End",
    "HarError",
    "Headers",
    "Message",
    "dumps",
    "read",
    "write",
]

# RFC 6455 5.2
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

REDACTED: Final = "[redacted]"
"""Stands where a secret was."""

_SWITCHING_PROTOCOLS: Final = 101

Headers = list[tuple[str, str]]
"""Names and values, in order."""


class HarError(ValueError):
    """A file is no HAR file, or not one that can be used; the text names it and says why."""


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


def read(path: str | os.PathLike[str]) -> list[Conversation]:
    """Return the WebSocket connections of a HAR file, in order.

    Files of Chromium, Firefox, mitmproxy, Playwright and our own recorder are known. Entries that
    are no WebSocket connections are passed over.

    Raises:
        HarError: The file cannot be read, or is no HAR file.
    """
    from fastwsh.testing import har_entries  # noqa: PLC0415 (which needs the classes above)

    try:
        # Windows' tools put a byte order mark in front
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HarError(f"cannot read {os.fspath(path)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HarError(f"{os.fspath(path)} is no HAR file: it is not in UTF-8") from error
    try:
        return har_entries.conversations_of(json.loads(text))
    except (RecursionError, ValueError) as error:
        raise HarError(f"{os.fspath(path)} is no HAR file: {error}") from error


def write(path: str | os.PathLike[str], conversations: Iterable[Conversation]) -> None:
    """Write a HAR file, in place of one that is there; nobody sees half of it.

    Raises:
        OSError: The file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(dumps(conversations), encoding="utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def dumps(conversations: Iterable[Conversation]) -> str:
    """Return the text of a HAR file."""
    from fastwsh.testing import har_entries  # noqa: PLC0415 (as above)

    entries = [har_entries.entry_of(one) for one in conversations]
    creator = {"name": "fastwsh", "version": __version__}
    log = {"version": "1.2", "creator": creator, "pages": [], "entries": entries}
    return json.dumps({"log": log}, ensure_ascii=False, indent=1) + "\n"
