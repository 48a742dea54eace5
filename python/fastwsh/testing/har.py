"""Recorded WebSocket connections, and the HAR files that hold them.

A HAR file is JSON. Chromium's developer tools began to put the messages of a connection into it,
under `_webSocketMessages`, and others followed. `read` takes the files of all of them, and of
`python -m fastwsh.record`; `write` makes one that all of them can show.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from fastwsh import __version__
from fastwsh.testing import har_entries
from fastwsh.testing.conversation import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REDACTED,
    TEXT,
    Conversation,
    End,
    Headers,
    Message,
)

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


class HarError(ValueError):
    """A file is no HAR file, or not one that can be used; the text names it and says why."""


def read(path: str | os.PathLike[str]) -> list[Conversation]:
    """Return the WebSocket connections of a HAR file, in order.

    Files of Chromium, Firefox, mitmproxy, Playwright and our own recorder are known. Entries that
    are no WebSocket connections are passed over.

    Raises:
        HarError: The file cannot be read, or is no HAR file.
    """
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
    entries = [har_entries.entry_of(one) for one in conversations]
    creator = {"name": "fastwsh", "version": __version__}
    log = {"version": "1.2", "creator": creator, "pages": [], "entries": entries}
    return json.dumps({"log": log}, ensure_ascii=False, indent=1) + "\n"
