"""What a message is expected to be, and the words for one that is something else.

Owns the comparison, the way messages are shown, and the difference between two of them.
"""

import difflib
import json as json_module
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["MISSING", "Expectation", "Expected", "Message", "show"]

Message = str | bytes
"""A message: text, or the bytes of a binary one."""

Expected = str | bytes | re.Pattern[str] | re.Pattern[bytes] | Callable[[Any], object]
"""A message, a pattern that matches all of it, or a function that says whether it will do."""

# Longer texts are compared by a diff, and cut where they stand in a sentence.
_SHORT: Final = 60
_MAX_DIFF_LINES: Final = 60
_MAX_LINE: Final = 160
_HEX_WIDTH: Final = 16

MISSING: Final[Any] = object()
"""Stands for an argument that was left out, where None is a value."""


class Expectation:
    """One message that is expected.

    Args:
        expected: A text or bytes to be equal to, a compiled pattern that must match the whole
            message, or a function that gets the message and returns whether it will do; an
            AssertionError that it raises says why not. If left out, any message will do.
        json: A value that the message must be the JSON of, however it is written.

    Raises:
        TypeError: Both are given, or `expected` is none of these.
    """

    def __init__(self, expected: Expected | None = None, *, json: Any = MISSING) -> None:
        if expected is not None and json is not MISSING:
            raise TypeError("expect a message or json=, not both")
        if not (expected is None or isinstance(expected, str | bytes | re.Pattern)) and (
            not callable(expected)
        ):
            raise TypeError(
                f"{expected!r} is no message; give str, bytes, a compiled pattern, a function, "
                "or json="
            )
        self._expected = expected
        self._json = json

    def __str__(self) -> str:
        if self._json is not MISSING:
            return f"the JSON of {_cut(repr(self._json))}"
        if self._expected is None:
            return "any message"
        if isinstance(self._expected, re.Pattern):
            return f"a match of {self._expected.pattern!r}"
        if isinstance(self._expected, str | bytes):
            return show(self._expected)
        return f"what {getattr(self._expected, '__qualname__', repr(self._expected))} accepts"

    def accepts(self, message: Message) -> bool:
        """Tell whether a message is the expected one."""
        return self.mismatch(message) is None

    def mismatch(self, message: Message) -> str | None:
        """Say how a message differs from the expected one; None if it does not.

        Raises:
            Exception: What a function that is expected raises, except AssertionError.
        """
        if self._json is not MISSING:
            return self._json_mismatch(message)
        expected = self._expected
        if expected is None:
            return None
        came = f"expected {self}, but got {show(message)}"
        if isinstance(expected, re.Pattern):
            same_type = isinstance(message, type(expected.pattern))
            pattern: re.Pattern[Any] = expected
            return None if same_type and pattern.fullmatch(message) else came
        if isinstance(expected, str | bytes):
            return None if expected == message else came + _difference(expected, message)
        try:
            return None if expected(message) else came
        except AssertionError as error:
            return f"{came}: {error}" if str(error) else came

    def _json_mismatch(self, message: Message) -> str | None:
        try:
            value = json_module.loads(message)
        except ValueError as error:
            return f"expected {self}, but got {show(message)}, which is no JSON ({error})"
        if value == self._json:
            return None
        wanted, got = (
            json_module.dumps(item, indent=2, sort_keys=True, default=repr)
            for item in (self._json, value)
        )
        came = f"expected {self}, but got {show(message)}"
        return came + _diff(wanted.splitlines(), got.splitlines())


def show(message: Message | None) -> str:
    """Return a message as it stands in a sentence: quoted, and cut in the middle if it is long."""
    if message is None:
        return "nothing"
    return f"{_cut(repr(message))}"


def _cut(text: str) -> str:
    if len(text) <= 2 * _SHORT:
        return text
    return f"{text[:_SHORT]}...{text[-_SHORT:]} ({len(text)} characters)"


def _difference(expected: Message, message: Message) -> str:
    if isinstance(expected, str) and isinstance(message, str):
        if max(len(expected), len(message)) <= _SHORT and "\n" not in expected + message:
            return ""
        first = _first_difference(expected, message)
        note = f"\nThe first difference is at character {first}."
        return note + _diff(expected.split("\n"), message.split("\n"))
    if isinstance(expected, bytes) and isinstance(message, bytes):
        if max(len(expected), len(message)) <= _SHORT:
            return ""
        note = f"\nThe first difference is at byte {_first_difference(expected, message)}."
        return note + _diff(list(_hex_lines(expected)), list(_hex_lines(message)))
    kinds = ["text" if isinstance(item, str) else "binary" for item in (expected, message)]
    return f" ({kinds[0]} was expected, and it is {kinds[1]})"


def _first_difference(expected: Message, message: Message) -> int:
    for place, (ours, theirs) in enumerate(zip(expected, message, strict=False)):
        if ours != theirs:
            return place
    return min(len(expected), len(message))


def _diff(expected: list[str], message: list[str]) -> str:
    lines = list(difflib.unified_diff(expected, message, "expected", "received", lineterm=""))
    if len(lines) > _MAX_DIFF_LINES:
        left_out = len(lines) - _MAX_DIFF_LINES
        lines = [*lines[:_MAX_DIFF_LINES], f"... and {left_out} lines more"]
    return "".join(f"\n{line[:_MAX_LINE]}" for line in lines)


def _hex_lines(data: bytes) -> Iterable[str]:
    for start in range(0, len(data), _HEX_WIDTH):
        yield f"{start:08x}  {data[start : start + _HEX_WIDTH].hex(' ')}"
