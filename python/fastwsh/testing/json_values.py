"""Values of JSON: whether two are the same, and which of their keys are of no interest."""

from collections.abc import Iterable
from typing import Any

__all__ = ["Keys", "are_equal", "to_keys", "without"]

Keys = list[tuple[str, ...]]
"""Keys that are ignored: a name anywhere, or names from the top on."""


def to_keys(ignore: Iterable[str]) -> Keys:
    """Return keys that are written with dots between names.

    Raises:
        TypeError: It is a str, or holds what is none.
    """
    if isinstance(ignore, str):
        raise TypeError(f"ignore must be a sequence of keys; write [{ignore!r}]")
    names = list(ignore)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"ignore has {name!r}; keys of JSON objects are str")
    return [tuple(name.split(".")) for name in names]


def without(value: Any, keys: Keys, place: tuple[str, ...] = ()) -> Any:
    """Return a value without the members that are to be ignored. Lists are looked through."""
    if isinstance(value, list | tuple):
        return [without(item, keys, place) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without(item, keys, (*place, key))
        for key, item in value.items()
        if (key,) not in keys and (*place, key) not in keys
    }


def are_equal(wanted: Any, value: Any) -> bool:
    """Tell whether a value is the wanted one; true is not 1, and a tuple is a list.

    What is wanted may have objects that decide for themselves, such as `unittest.mock.ANY`.
    """
    if isinstance(wanted, bool) or isinstance(value, bool):
        if type(wanted) in {int, float} or type(value) in {int, float}:
            return False
        return bool(wanted == value)
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(
            are_equal(item, value[key]) for key, item in wanted.items()
        )
    if isinstance(wanted, list | tuple) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(are_equal, wanted, value))
    return bool(wanted == value)
