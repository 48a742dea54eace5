"""Functions with the meaning of Python 2: dividing, rounding, sorting, decoding.

`semantics` makes translated handlers call them.
"""

from __future__ import annotations

import functools
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

__all__ = ["FUNCTIONS"]


def _divide(x: Any, y: Any) -> Any:
    """Divide; two ints to an int, rounded down."""
    return x // y if isinstance(x, int) and isinstance(y, int) else x / y


def _round(number: Any, ndigits: int = 0) -> float:
    """Round to a float; a half goes away from zero."""
    scale = 10.0**ndigits
    scaled = abs(float(number)) * scale
    if not math.isfinite(scaled):
        return float(number)
    return math.copysign(math.floor(scaled + 0.5) / scale, number)


def _sorted(
    iterable: Iterable[Any],
    cmp: Callable[[Any, Any], int] | None = None,
    key: Callable[[Any], Any] | None = None,
    reverse: Any = False,
) -> list[Any]:
    """Sort, with a comparison function if there is one."""
    return sorted(iterable, key=_key(cmp, key), reverse=bool(reverse))


def _sort(sort: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Call a `sort` method with the arguments of Python 2."""

    def call(cmp: Any = None, key: Any = None, reverse: Any = False) -> None:
        sort(key=_key(cmp, key), reverse=bool(reverse))

    call(*args, **kwargs)


def _key(
    cmp: Callable[[Any, Any], int] | None, key: Callable[[Any], Any] | None
) -> Callable[[Any], Any] | None:
    if cmp is None:
        return key
    compare = functools.cmp_to_key(cmp)
    return compare if key is None else lambda item: compare(key(item))


def _decode(text: Any, *how: str) -> str:
    """Decode bytes; text is returned unchanged."""
    return text if isinstance(text, str) else str(text, *how)


# By the name in a handler's tree, which cannot occur in a source.
FUNCTIONS: Final = {
    "<divide>": _divide,
    "<round>": _round,
    "<sorted>": _sorted,
    "<sort>": _sort,
    "<decode>": _decode,
}
