"""Compares the messages of a client with those that were recorded."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from fastwsh.testing.expectation import Expectation, Message, show
from fastwsh.testing.functions import call, check_function
from fastwsh.testing.har import REDACTED
from fastwsh.testing.json_values import Keys, are_equal, to_keys, without

__all__ = ["Match", "Mismatch", "make_mismatch"]

Match = str | re.Pattern[str] | re.Pattern[bytes] | Callable[[Any, Any], object]
"""How messages are compared: "exact", "json", a pattern for what may differ, or a function."""

Mismatch = Callable[[Message, Message], str | None]
"""Says how the second message differs from the first, which was recorded; None if it does not."""

_EXACT: Final = "exact"
_JSON: Final = "json"


def make_mismatch(match: Match, ignore: Iterable[str]) -> Mismatch:
    """Return a function that compares messages.

    Args:
        match: "exact": equal, text as text and bytes as bytes. "json": equal as JSON, or exactly
            if the recorded message is none. A pattern: what it matches may differ. A function: it
            gets both messages, the recorded one first, and returns whether they match; an
            AssertionError that it raises says why not.
        ignore: Keys of JSON objects, whose values may differ or be missing: a name anywhere, or
            names with dots between them from the top on. Lists are looked through.

    Raises:
        TypeError: `match` is none of these, or `ignore` is a str.
        ValueError: `match` is another word, or there are keys to be ignored in what is no JSON.
    """
    keys = to_keys(ignore)
    if keys and match not in (_EXACT, _JSON):
        raise ValueError(f"ignore= is for JSON; leave match={match!r} out, or ignore=")
    if match == _JSON or (keys and match == _EXACT):
        return lambda expected, got: _json(expected, got, keys)
    if match == _EXACT:
        return _exact
    if isinstance(match, str):
        raise ValueError(  # noqa: TRY004 (it may be a str)
            f'match={match!r}; it is "exact", "json", a pattern or a function'
        )
    if isinstance(match, re.Pattern):
        return lambda expected, got: _masked(match, expected, got)
    if callable(match):
        check_function(match, "match")
        return lambda expected, got: _checked(match, expected, got)
    raise TypeError(f'match={match!r}; it is "exact", "json", a pattern or a function')


def _exact(expected: Message, got: Message) -> str | None:
    if isinstance(expected, str) and isinstance(got, str) and REDACTED in expected:
        # where a secret was, anything may be
        pattern = ".*".join(map(re.escape, expected.split(REDACTED)))
        if re.fullmatch(pattern, got, re.DOTALL):
            return None
    if expected == got:
        return None
    return _said(expected, got)


def _masked(pattern: re.Pattern[Any], expected: Message, got: Message) -> str | None:
    """Compare the parts that the pattern does not match."""
    if not isinstance(expected, type(pattern.pattern)) or type(expected) is not type(got):
        return _exact(expected, got)
    same = (
        pattern.split(expected) == pattern.split(got)
        if not pattern.groups
        else (pattern.sub(_blank(pattern), expected) == pattern.sub(_blank(pattern), got))
    )
    if same:
        return None
    return f"{_said(expected, got)}\nWhat {pattern.pattern!r} matches may differ."


def _blank(pattern: re.Pattern[Any]) -> Callable[[re.Match[Any]], Any]:
    # no message has it: it is no character of a text that could be sent
    blank = "\udfff" if isinstance(pattern.pattern, str) else b"\xff\x00\xff\x00\xff"
    return lambda _: blank


def _checked(accepts: Callable[[Any, Any], object], expected: Message, got: Message) -> str | None:
    try:
        if call(accepts, expected, got):
            return None
        why = f"{getattr(accepts, '__qualname__', repr(accepts))} does not accept it"
    except AssertionError as error:
        why = str(error) or f"{getattr(accepts, '__qualname__', repr(accepts))} does not accept it"
    return f"{_said(expected, got)}\n{why}"


def _json(expected: Message, got: Message, keys: Keys) -> str | None:
    try:
        wanted = without(json.loads(expected), keys)
    except (RecursionError, ValueError):
        return _exact(expected, got)
    if type(expected) is not type(got):
        return _said(expected, got)
    try:
        value = without(json.loads(got), keys)
    except (RecursionError, ValueError):
        return _said(expected, got)
    wanted = _filled(wanted, value)
    if are_equal(wanted, value):
        return None
    told = Expectation(json=wanted).mismatch(json.dumps(value, ensure_ascii=False))
    return told or _said(expected, got)


def _filled(wanted: Any, value: Any) -> Any:
    """Return the wanted message, with the received text in place of each redacted secret."""
    if wanted == REDACTED:
        return value
    if isinstance(wanted, dict) and isinstance(value, dict):
        return {key: _filled(item, value.get(key, item)) for key, item in wanted.items()}
    if isinstance(wanted, list) and isinstance(value, list) and len(wanted) == len(value):
        return [_filled(one, other) for one, other in zip(wanted, value, strict=True)]
    return wanted


def _said(expected: Message, got: Message) -> str:
    """Say what was expected and what came, with the difference line by line."""
    both = _as_json(expected), _as_json(got)
    if all(isinstance(one, dict | list) for one in both):
        told = Expectation(json=both[0]).mismatch(json.dumps(both[1], ensure_ascii=False))
        if told is not None:
            return told
    told = Expectation(expected).mismatch(got) or f"expected {show(expected)}, but got {show(got)}"
    if "\n" in told or type(expected) is not type(got):
        return told
    return f"{told}\n- {show(expected)}\n+ {show(got)}"


def _as_json(message: Message) -> Any:
    try:
        return json.loads(message) if isinstance(message, str) else None
    except (RecursionError, ValueError):
        return None
