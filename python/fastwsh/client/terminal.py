"""The terminal of the console: text from a peer cannot control it.

Messages that arrive while a line is being typed are shown above it.
"""

import io
import os
import shutil
import sys
import threading
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final, TextIO

from fastwsh.client.typed import TypedLine, above
from fastwsh.output import stdout

__all__ = ["ShownErrors", "Terminal", "elide", "escape", "hex_of"]

_PROMPT: Final = "> "
_HISTORY_LINES: Final = 1000
# Controls, invisible formatting such as bidirectional overrides, surrogates, line separators.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# The part of a payload that fits into a few lines.
_SHOWN: Final = 256
_COLORS: Final = {"<": "36", ">": "32", "!": "31"}


def escape(text: str, *, keep: str = "") -> str:
    r"""Return `text` with `\n`, `\x1b`, `\u202e` for what a terminal would obey.

    Args:
        text: A text from a peer.
        keep: Characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _OBEYED
        else character.encode("unicode_escape").decode()
        for character in text
    )


def elide(text: str, limit: int = _SHOWN) -> str:
    """Return `text` without its middle if it is long."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} … {text[-half:]}"


def hex_of(data: bytes, limit: int = _SHOWN // 4) -> str:
    """Return the bytes in hex, without the middle if they are many."""
    if len(data) <= limit:
        return data.hex(" ")
    half = limit // 2
    return f"{data[:half].hex(' ')} … {data[-half:].hex(' ')}"


class Terminal:
    """Reads lines, and shows others above the one being typed; any thread may show.

    Args:
        out: The stream to show them on.

    Raises:
        OutputError: There is no standard output, or it cannot be written.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        # typeshed does not know that it may be closed.
        stdout.write(self._out, "")
        # a finalizer may report an error while a line is shown
        self._lock = threading.RLock()
        self._is_prompting = False
        self._is_terminal = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._has_color = self._is_terminal and not os.environ.get("NO_COLOR")
        self._readline = _import_readline() if self._is_terminal else None
        self._typed = None if self._readline is None else TypedLine(self._readline)
        self._history = _history_path()
        if self._readline is not None:
            with suppress(OSError):
                self._readline.read_history_file(self._history)

    def show(self, mark: str, text: str) -> None:
        """Show a line: `<` before what came, `>` what was sent, `!` what went wrong, `#` the rest.

        Args:
            mark: One of these.
            text: Without control characters.
        """
        color = _COLORS.get(mark)
        line = f"{mark} {text}"
        if self._has_color and color:
            line = f"\x1b[{color}m{line}\x1b[0m"
        with self._lock:
            if self._is_prompting and self._typed is not None:
                before, behind = self._typed.around_cursor(_PROMPT)
                self._write(above(line, before, behind, self._columns()))
            else:
                self._write(f"{line}\n")

    def _columns(self) -> int:
        columns = 0
        with suppress(OSError):
            # Asked as readline asks, which ignores an outdated COLUMNS.
            columns = os.get_terminal_size(self._out.fileno()).columns
        return columns or shutil.get_terminal_size().columns

    def _write(self, text: str) -> None:
        encoding = self._out.encoding or "utf-8"
        stdout.write(self._out, text.encode(encoding, "backslashreplace").decode(encoding))

    def read_line(self) -> str:
        """Read a line.

        Raises:
            EOFError: There is no more.
            KeyboardInterrupt: The user pressed Ctrl-C.
        """
        with self._lock:
            self._is_prompting = True
        try:
            return input(_PROMPT if self._is_terminal else "")
        except (EOFError, KeyboardInterrupt):
            self._leave_line()
            raise
        finally:
            with self._lock:
                self._is_prompting = False

    def _leave_line(self) -> None:
        """Let what follows begin below the prompt and what was typed."""
        if self._is_terminal:
            with self._lock, suppress(BrokenPipeError, stdout.OutputError):
                self._is_prompting = False
                self._write("\n")

    def close(self) -> None:
        """Keep the history, if it can be kept."""
        if self._readline is None:
            return
        with suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True)
            # It may contain text that others must not read.
            os.close(os.open(self._history, os.O_CREAT | os.O_WRONLY, 0o600))
            self._readline.set_history_length(_HISTORY_LINES)
            self._readline.write_history_file(self._history)


class ShownErrors(io.TextIOBase):
    """Standard error while a terminal is in use: shows lines, as warnings of the protocol are.

    Args:
        terminal: Where to show them.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._begun = ""

    def write(self, text: str) -> int:
        """Show the lines that are complete with this text."""
        *lines, self._begun = (self._begun + text).split("\n")
        with suppress(BrokenPipeError, stdout.OutputError):
            for line in filter(None, lines):
                self._terminal.show("!", escape(line))
        return len(text)


def _history_path() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    with suppress(RuntimeError):
        return Path(state).expanduser() / "fastwsh" / "client_history"
    return Path(os.devnull)


def _import_readline() -> ModuleType | None:
    try:
        import readline  # noqa: PLC0415 (not everywhere, and it takes the terminal over)
    except ImportError:
        return None
    return readline
