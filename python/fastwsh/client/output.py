"""How messages are written to standard output without a console."""

import base64
import json
import sys
import time
from typing import Any

from fastwsh.client import stdout
from fastwsh.client.terminal import escape

__all__ = ["Output"]


class Output:
    """Writes messages and lines, each at once. What it raises is that of `stdout.write`.

    Args:
        json_lines: Whether a message is a JSON object on a line of its own.
    """

    def __init__(self, *, json_lines: bool = False) -> None:
        self._json_lines = json_lines
        self._out: Any = sys.stdout
        self._is_terminal = self._out is not None and self._out.isatty()

    def message(self, message: str | bytes) -> None:
        """Write a message and a line end: as it is, unless as JSON or to a terminal."""
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
        """Write a line that has nothing for a terminal to obey."""
        encoding = (self._is_terminal and self._out.encoding) or "utf-8"
        stdout.write(self._out, text.encode(encoding, "backslashreplace") + b"\n")

    def _as_json(self, message: str | bytes) -> str:
        if isinstance(message, str):
            kind, data = "text", message
        else:
            kind, data = "binary", base64.b64encode(message).decode()
        line = {"type": kind, "time": time.time(), "data": data}
        # A terminal must obey nothing; everything else reads UTF-8.
        return json.dumps(line, ensure_ascii=self._is_terminal)
