"""The HAR file while it is recorded.

Entries and messages are only ever added, before the brackets that end the file. Only the last entry
of the file can get messages. If several connections alternate, each turn is an entry that continues
an earlier one, and `close` joins them into one.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any, Final

from fastwsh import __version__
from fastwsh.record.whole_file import WholeFile
from fastwsh.testing import har_entries
from fastwsh.testing.har import Conversation, End, HarError, Message

__all__ = ["HarWriter"]

_END_OF_FILE: Final = b"\n]}}\n"
_END_OF_ENTRY: Final = b"\n]}"


class HarWriter:
    """A HAR file that grows. All methods may be called from any thread.

    An existing file is continued: its content is kept.

    Args:
        path: The file.
        overwrite: Whether to replace it instead.

    Raises:
        HarError: The file exists and is not a HAR file, or another process is recording it.
        OSError: The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        # for a link, the file that it leads to
        self._path = Path(path).resolve()
        self._lock = threading.Lock()
        # the connection with the last entry; the number of its messages
        self._last: str | None = None
        self._count = 0
        self._continued = False
        self._open: dict[str, Conversation] = {}
        self._error: OSError | None = None
        is_new = overwrite or not self._path.exists() or not self._path.stat().st_size
        log = _new_log() if is_new else _load(self._path)
        self._numbers = len(log["entries"])
        self._has_entries = bool(log["entries"])
        try:
            self._file: WholeFile | None = WholeFile(self._path, _begin(log), _END_OF_FILE)
        except BlockingIOError as error:
            raise HarError(f"{self._path} is recorded by another process") from error

    @property
    def error(self) -> OSError | None:
        """Why writing has stopped, or None."""
        return self._error

    def begin(self, conversation: Conversation) -> str:
        """Add a connection; returns its name for the other methods."""
        with self._lock:
            self._numbers += 1
            identity = f"fastwsh-{self._numbers}"
            self._open[identity] = conversation
            entry = har_entries.entry_of(conversation, identity)
            self._add_entry(identity, entry)
        return identity

    def add(self, identity: str, message: Message | End) -> None:
        """Add a message to a connection, or its unclean end."""
        if isinstance(message, End):
            value = har_entries.value_of_end(message)
        else:
            value = har_entries.message_of(message)
        with self._lock:
            if identity != self._last:
                self._continue(identity)
            comma = b"," if self._count else b""
            if self._append(comma + b"\n" + _dump(value), _END_OF_ENTRY):
                self._count += 1

    def end(self, identity: str) -> None:
        """Note that a connection has ended."""
        with self._lock:
            self._open.pop(identity, None)

    def close(self) -> None:
        """Stop writing, and make one entry of each connection. May be called once."""
        with self._lock:
            if self._file is None:
                return
            self._file.close()
            self._file = None
            if self._continued:
                log = _load(self._path)
                temporary = self._path.with_name(f".{self._path.name}.0")
                temporary.touch(0o600)
                temporary.chmod(self._path.stat().st_mode & 0o777)
                temporary.write_bytes(_begin(log) + _END_OF_FILE)
                temporary.replace(self._path)

    def _continue(self, identity: str) -> None:
        """Begin a further entry of a connection."""
        self._continued = True
        whole = self._open[identity]
        short = Conversation(whole.url, whole.started, whole.status, whole.status_text)
        entry = har_entries.entry_of(short, identity)
        messages = entry.pop("_webSocketMessages")
        self._add_entry(identity, {**entry, "_continues": True, "_webSocketMessages": messages})

    def _add_entry(self, identity: str, entry: dict[str, Any]) -> None:
        # the list of messages comes last, so that it can grow
        text = _dump(entry).removesuffix(b"]}")
        before = b"" if self._last is None else _END_OF_ENTRY
        comma = b"," if self._has_entries else b""
        if self._append(before + comma + b"\n" + text, _END_OF_ENTRY):
            self._has_entries = True
            self._last, self._count = identity, len(entry["_webSocketMessages"])

    def _append(self, text: bytes, end: bytes) -> bool:
        """Write before the brackets at the end; return whether that was possible."""
        if self._error is not None or self._file is None:
            return False
        try:
            self._file.append(text, end + _END_OF_FILE)
        except OSError as error:
            # most often the disk is full
            self._error = error
            return False
        return True


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _new_log() -> dict[str, Any]:
    creator = {"name": "fastwsh", "version": __version__}
    return {"version": "1.2", "creator": creator, "pages": [], "entries": []}


def _load(path: Path) -> dict[str, Any]:
    try:
        har = json.loads(path.read_text(encoding="utf-8-sig"))
        log: dict[str, Any] = har["log"]
        if not isinstance(entries := log.pop("entries"), list):
            raise TypeError(entries)  # noqa: TRY301 (one of several ways to be none)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise HarError(
            f"{path} is there, and is no HAR file; name another one, or write over it"
        ) from error
    # last, so that messages can be added
    return {**log, "entries": _joined(entries)}


def _joined(entries: list[Any]) -> list[Any]:
    """Make one entry of each connection."""
    begun: dict[str, dict[str, Any]] = {}
    whole: list[Any] = []
    for entry in entries:
        identity = str(entry.get("_connectionId", "")) if isinstance(entry, dict) else ""
        if identity in begun and entry.get("_continues"):
            begun[identity]["_webSocketMessages"] += entry["_webSocketMessages"]
            continue
        whole.append(entry)
        if identity and isinstance(entry.get("_webSocketMessages"), list):
            begun[identity] = entry
    return whole


def _begin(log: dict[str, Any]) -> bytes:
    """Return the text of a file up to the brackets at its end."""
    head = _dump({"log": {key: value for key, value in log.items() if key != "entries"}})
    body = b",".join(b"\n" + _dump(entry) for entry in log["entries"])
    return head.removesuffix(b"}}") + b',"entries":[' + body
