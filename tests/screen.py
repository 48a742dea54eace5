"""A terminal as its user sees it: what xterm does with what readline and the console write.

Widths are those of the C library, by which readline goes as well, and marks of no width join the
cell before them, which terminal emulators for tests do not do.
"""

import codecs
import ctypes
import re

__all__ = ["Screen"]

_wcwidth = ctypes.CDLL(None).wcwidth
_CONTROL = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z@])")
# A control sequence that has not come whole.
_BEGUN = re.compile(r"\x1b(\[\??\d*)?\Z")


class Screen:
    """Rows of cells: a character with its marks, a space, or nothing behind a wide one."""

    def __init__(self, columns: int, rows: int = 24) -> None:
        self.columns = columns
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0
        self._rest = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode

    @property
    def rows(self) -> list[str]:
        """What is shown, from the first row to the last that has something."""
        rows = ["".join(row).rstrip() for row in self._cells]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def cursor(self) -> tuple[int, int]:
        """Row and column of the cursor; behind the last column when a row has just been filled."""
        return self._row, self._column

    def feed(self, data: bytes) -> None:
        text = self._rest + self._decode(data)
        begun = _BEGUN.search(text)
        self._rest = begun[0] if begun else ""
        text = text[: begun.start()] if begun else text
        while text:
            if control := _CONTROL.match(text):
                self._obey(control[1], int(control[2] or 1), control[3], control[2])
                text = text[control.end() :]
            else:
                self._draw(text[0])
                text = text[1:]

    def _draw(self, character: str) -> None:
        match character:
            case "\r":
                self._column = 0
            case "\n":
                self._feed_line()
            case "\b":
                self._column = max(0, min(self._column, self.columns - 1) - 1)
            case "\a":
                pass
            case _:
                width = _wcwidth(ord(character))
                assert width >= 0, f"no terminal shows {character!r}"
                self._put(character, width)

    def _put(self, character: str, width: int) -> None:
        if width == 0:
            place = self._column - 1
            if place >= 0 and self._cells[self._row][place] == "":
                place -= 1
            # At the beginning of a row, readline has moved on and the mark has nothing to join.
            if place >= 0:
                self._cells[self._row][place] += character
            return
        if self._column + width > self.columns:
            # The row is full, and no character has come since.
            self._column = 0
            self._feed_line()
        row = self._cells[self._row]
        if row[self._column] == "":
            row[self._column - 1] = " "
        row[self._column] = character
        if width == 2:
            row[self._column + 1] = ""
        behind = self._column + width
        if behind < self.columns and row[behind] == "":
            row[behind] = " "
        self._column = behind

    def _feed_line(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells = [*self._cells[1:], [" "] * self.columns]
            self._row -= 1

    def _obey(self, private: str, count: int, final: str, given: str) -> None:
        name = private + final
        if name in {"m", "?h", "?l"}:
            # Colors, and bracketed paste.
            return
        column = min(self._column, self.columns - 1)
        moves = {
            "A": (max(0, self._row - count), self._column),
            "C": (self._row, min(self.columns - 1, column + count)),
            "D": (self._row, max(0, column - count)),
            "G": (self._row, min(self.columns, count) - 1),
        }
        if name in moves:
            self._row, self._column = moves[name]
            return
        row = self._cells[self._row]
        rows = {
            "J": [*row[:column]],
            "K": [*row[:column]],
            "P": row[:column] + row[column + count :],
            "@": row[:column] + [" "] * count + row[column:],
        }
        assert name in rows, f"this terminal does not know CSI {given}{name}"
        assert not (given and name in {"J", "K"})
        row[:] = (rows[name] + [" "] * self.columns)[: self.columns]
        if name == "J":
            for below in self._cells[self._row + 1 :]:
                below[:] = [" "] * self.columns
