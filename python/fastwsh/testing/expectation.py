"""Expected messages: compares them with received ones, and describes the difference."""

import copy
import difflib
import json as json_module
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from fastwsh.testing.functions import call, check_function
from fastwsh.testing.json_values import are_equal, to_keys, without

__all__ = ["MISSING", "CloseExpectation", "Expectation", "Expected", "Message", "show"]

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
        json: A value that the message must be the JSON of, however it is written. It may have
            objects that decide for themselves, such as `unittest.mock.ANY`.
        ignore: Keys of JSON objects whose values may differ or be missing: "id" anywhere,
            "meta.id" from the top on. Lists are looked through.

    Raises:
        TypeError: Both are given, `expected` is none of these, or `ignore` is no sequence of keys.
        ValueError: There is something to ignore, and no JSON.
    """

    def __init__(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        ignore: Iterable[str] = (),
    ) -> None:
        self._keys = to_keys(ignore)
        if self._keys and json is MISSING:
            raise ValueError("ignore= is for json=; give the value that the message is the JSON of")
        if expected is not None and json is not MISSING:
            raise TypeError("expect a message or json=, not both")
        if not (expected is None or isinstance(expected, str | bytes | re.Pattern)) and (
            not callable(expected)
        ):
            raise TypeError(
                f"{expected!r} is no message; give str, bytes, a compiled pattern, a function, "
                "or json="
            )
        if callable(expected):
            check_function(expected, "expect")
        self._expected = expected
        # what the test does with its value afterwards does not count
        self._json = json if json is MISSING else copy.deepcopy(json)

    def __str__(self) -> str:
        if self._json is not MISSING:
            left_out = ", ".join(".".join(key) for key in self._keys)
            but = f" (without {left_out})" if left_out else ""
            return f"the JSON of {_cut(repr(self._json))}{but}"
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
            return None if call(expected, message) else came
        except AssertionError as error:
            return f"{came}: {error}" if str(error) else came

    def _json_mismatch(self, message: Message) -> str | None:
        try:
            value = without(json_module.loads(message), self._keys)
        except (RecursionError, ValueError) as error:
            return f"expected {self}, but got {show(message)}, which is no JSON ({error})"
        pair = without(self._json, self._keys), value
        if are_equal(*pair):
            return None
        wanted, got = map(_indented, pair)
        came = f"expected {self}, but got {show(message)}"
        return came + _diff(wanted.splitlines(), got.splitlines())


class CloseExpectation:
    """The end of a connection by the client's close frame.

    Args:
        code: Its code; None: any, or none. 1005: none.
        reason: Its reason; None: any.
    """

    def __init__(self, code: int | None = None, reason: str | None = None) -> None:
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        parts = [] if self.code is None else [str(self.code)]
        if self.reason is not None:
            parts.append(f"the reason {self.reason!r}")
        return "a close frame" + (f" with {' and '.join(parts)}" if parts else "")

    def mismatch(self, code: int | None, reason: str | None) -> str | None:
        """Say how a close frame differs from the expected one; None if it does not."""
        is_reason = self.reason in (None, reason or "")
        if self.code in (None, code) and is_reason:
            return None
        got = f"expected {self}, but got one with {code}"
        return got if is_reason else f"{got} and the reason {reason or ''!r}"


def show(message: Message | None) -> str:
    """Return a message as it stands in a sentence: quoted, and cut in the middle if it is long."""
    if message is None:
        return "nothing"
    return f"{_cut(repr(message))}"


def _indented(value: Any) -> str:
    try:
        return json_module.dumps(value, indent=2, sort_keys=True, default=repr)
    except TypeError:
        # keys that are no str, or of several types
        return repr(value)


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
