"""Turns what a server sent into lines that can be compared.

What does not matter is left out: ports, FIN or RST, how a compressor chose to compress, and of an
answer of plain HTTP everything but the status, the headers that say something of WebSockets or
authentication, and the contents of a file.
"""

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from wire import CONTINUATION

_KEPT_HEADERS = (b"sec-websocket-", b"www-authenticate:")
_SHOWN_BYTES = 400


@dataclass(frozen=True)
class Reading:
    """What one step received, and whether the connection had ended then."""

    data: bytes
    closed: bool


def describe(readings: Iterable[Reading], port: int) -> list[str]:
    """Describe readings, a line or more for each."""
    lines: list[str] = []
    frames: _CompressedFrames | None = None
    refused = False
    for reading in readings:
        data = reading.data.replace(str(port).encode(), b"<port>")
        if frames is not None:
            lines += frames.describe(reading.data)
        elif data.startswith(b"HTTP/1.") and not data.startswith(b"HTTP/1.1 101 "):
            lines += _describe_refusal(data)
            refused = True
        elif data and not refused:
            lines.append(_show(data))
            if b"\r\nsec-websocket-extensions: permessage-deflate" in data.lower():
                frames = _CompressedFrames()
        if not refused:
            lines.append("closed" if reading.closed else "open")
    if frames is not None:
        lines += frames.rest()
    return lines


def _show(data: bytes) -> str:
    if len(data) <= _SHOWN_BYTES:
        return repr(data)
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"{data[:40]!r}... {len(data)} bytes, {digest}"


def _describe_refusal(data: bytes) -> list[str]:
    head, _, body = data.partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    kept = [field for field in fields if field.lower().startswith(_KEPT_HEADERS)]
    is_page = body.startswith(b"<") or not body
    shown = [f"status {status.split()[1].decode()}", *map(repr, kept)]
    return shown if is_page else [*shown, _show(body)]


class _CompressedFrames:
    """The server's frames on a connection with permessage-deflate, their messages inflated."""

    def __init__(self) -> None:
        self._buffer = b""
        self._inflater = zlib.decompressobj(wbits=-15)
        self._message: bytes | None = None

    def describe(self, data: bytes) -> list[str]:
        """Describe the frames that are whole now."""
        self._buffer += data
        lines = []
        while (frame := self._next_frame()) is not None:
            lines.append(self._describe_frame(*frame))
        return lines

    def rest(self) -> list[str]:
        """Describe what is no whole frame."""
        return [f"rest {_show(self._buffer)}"] if self._buffer else []

    def _next_frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < 2:
            return None
        length, start = self._buffer[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(self._buffer[2:start])
        if len(self._buffer) < start + length:
            return None
        first, payload = self._buffer[0], self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return first, payload

    def _describe_frame(self, first: int, payload: bytes) -> str:
        is_start = first & 0x40 and first & 0x0F
        if is_start:
            self._message = b""
        if self._message is None or first & 0x08:
            return f"frame {first:02x} {_show(payload)}"
        self._message += payload
        if not first & 0x80:
            return f"compressed frame {first:02x}"
        message, self._message = self._message, None
        kind = "" if first & 0x0F != CONTINUATION else " with the last part of"
        return f"compressed frame {first:02x}{kind} {_show(self._inflate(message))}"

    def _inflate(self, message: bytes) -> bytes:
        try:
            data = self._inflater.decompress(message + b"\x00\x00\xff\xff")
            while self._inflater.eof:
                rest = self._inflater.unused_data
                self._inflater = zlib.decompressobj(wbits=-15)
                data += self._inflater.decompress(rest)
        except zlib.error as error:
            return f"<{error} in {message.hex()}>".encode()
        return data
