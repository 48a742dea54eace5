"""The line being typed: how readline shows it, and how to write something above it.

Widths are those of wcwidth(3), by which readline places its cursor.
"""

import ctypes
import locale
import time
import unicodedata
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

__all__ = ["TypedLine", "above", "cells", "shown"]

_TAB_COLUMNS: Final = 8
# Far longer than readline needs to show a key, and far shorter than the time between two.
_MOMENT_SECONDS: Final = 0.002
_MOMENTS: Final = 5
# Marks in the same cell as the character before them, and invisible characters.
_NO_CELL: Final = frozenset({"Mn", "Me", "Cf"})
_SOFT_HYPHEN: Final = "\xad"
# Vowels and final consonants of Hangul, which join the consonant before them.
_JOINING: Final = (("\u1160", "\u11ff"), ("\ud7b0", "\ud7ff"))


def cells(character: str) -> int:
    """Return how many cells of a terminal a printable character takes: 0, 1 or 2."""
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    if any(first <= character <= last for first, last in _JOINING):
        return 0
    hidden = unicodedata.category(character) in _NO_CELL and character != _SOFT_HYPHEN
    return 0 if hidden else 1


def shown(text: str, prompt: str = "") -> str:
    r"""Return `text` as readline shows it after a prompt: `^A`, tabs as spaces, `\377`."""
    line = ""
    column = sum(map(cells, prompt))
    for character in text:
        part = _shown(character, column)
        column += sum(map(cells, part))
        line += part
    return line


def _shown(character: str, column: int) -> str:
    code = ord(character)
    if character == "\t":
        return " " * (_TAB_COLUMNS - column % _TAB_COLUMNS)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\{code - 0xDC00:03o}"
    # Other characters that would control a terminal.
    return "?" if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} else character


def _laid_out(text: str, columns: int) -> tuple[str, int, int]:
    """Return a text as readline writes it from the left, and the row and column after it."""
    row = column = 0
    line = ""
    for character in text:
        width = cells(character)
        if column + width > columns:
            # Terminals differ in what they do with a wide one that does not fit.
            line += " " * (columns - column)
            row, column = row + 1, 0
        line += character
        column += width
        if column >= columns:
            row, column = row + 1, 0
    return line, row, column


def above(line: str, before: str, behind: str, columns: int) -> str:
    """Return the output that writes a line above the one being typed, and restores the cursor.

    Args:
        line: The line to write.
        before: What the terminal shows before the cursor, the prompt included.
        behind: What it shows after the cursor.
        columns: The width of the terminal.
    """
    columns = max(2, columns)
    _, row, column = _laid_out(before, columns)
    typed, last_row, last_column = _laid_out(before + behind, columns)
    # Terminals wrap when the next character comes; readline's cursor is there already.
    wrap = "\n" if last_row and not last_column else ""
    back = _up(last_row - row) + "\r" + (f"\x1b[{column}C" if column else "")
    return f"\r{_up(row)}\x1b[J{line}\n{typed}{wrap}{back if behind else ''}"


def _up(rows: int) -> str:
    return f"\x1b[{rows}A" if rows else ""


class TypedLine:
    """The line being typed, from readline.

    Args:
        readline: The module.
    """

    def __init__(self, readline: ModuleType) -> None:
        self._readline = readline
        self._encoding = locale.getencoding()
        self._point = _point_of(readline)
        self._settled: tuple[str, int | None] = ("", 0)

    def around_cursor(self, prompt: str) -> tuple[str, str]:
        """Return what is shown before the cursor, including the prompt, and after it."""
        text, point = self._settle()
        whole = shown(text, prompt)
        if point is None:
            return prompt + whole, ""
        data = text.encode(self._encoding, "surrogateescape")
        head = data[:point].decode(self._encoding, "surrogateescape")
        length = len(shown(head, prompt))
        return prompt + whole[:length], whole[length:]

    def _settle(self) -> tuple[str, int | None]:
        """Return the line and the cursor's place when readline has shown them, if it can be known.

        readline shows a key a moment after its line has changed, in a thread that takes no lock of
        ours.
        """
        state = self._read()
        for _ in range(_MOMENTS):
            if state == self._settled:
                break
            time.sleep(_MOMENT_SECONDS)
            before, state = state, self._read()
            if state == before:
                break
        self._settled = state
        return state

    def _read(self) -> tuple[str, int | None]:
        line: str = self._readline.get_line_buffer()
        return line, None if self._point is None else self._point()


def _point_of(readline: ModuleType) -> Callable[[], int] | None:
    """Return a function for the cursor's position in bytes, which the module does not offer.

    None: it is unknown. libedit counts differently, and not while it waits.
    """
    if "libedit" in (readline.__doc__ or ""):
        return None
    try:
        library: Any = ctypes.CDLL(getattr(readline, "__file__", None))
        point = ctypes.c_int.in_dll(library, "rl_point")
    except (OSError, ValueError):
        return None
    return lambda: max(0, point.value)
