"""Writes messages to standard output, without a console."""

import base64
import json
import sys
import time
from typing import Any

from fastwsh.client.terminal import escape
from fastwsh.output import stdout

__all__ = ["Output"]


class Output:
    """Writes messages and lines, each at once. Raises the exceptions of `stdout.write`.

    Args:
        json_lines: Whether to write each message as a JSON object on its own line.
    """

    def __init__(self, *, json_lines: bool = False) -> None:
        self._json_lines = json_lines
        self._out: Any = sys.stdout
        self._is_terminal = self._out is not None and self._out.isatty()

    def message(self, message: str | bytes) -> None:
        """Write a message and a line end; escape it only for JSON or for a terminal."""
        if self._json_lines:
            self.line(self._as_json(message))
        elif not self._is_terminal:
            data = message.encode() if isinstance(message, str) else message
            stdout.write(self._out, data + b"\n")
        elif isinstance(message, str):
            self.line(escape(message, keep="\n\t"))
        else:
            self.line(f"{len(message)} bytes: {message.hex(' ')}")

    def line(self, text: str) -> None:
        """Write a line without control characters."""
        encoding = (self._is_terminal and self._out.encoding) or "utf-8"
        stdout.write(self._out, text.encode(encoding, "backslashreplace") + b"\n")

    def _as_json(self, message: str | bytes) -> str:
        if isinstance(message, str):
            kind, data = "text", message
        else:
            kind, data = "binary", base64.b64encode(message).decode()
        line = {"type": kind, "time": time.time(), "data": data}
        # A terminal must not get control characters; all other readers get UTF-8.
        return json.dumps(line, ensure_ascii=self._is_terminal)
