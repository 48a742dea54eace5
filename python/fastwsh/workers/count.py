"""How many workers there are: the option, and the variable that counts in its place."""

from __future__ import annotations

import argparse

from fastwsh import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

__all__ = ["CountError", "add_option", "find", "parse"]

_VARIABLE: Final = "WEB_CONCURRENCY"
# Far more than processors; a larger number is a mistake that would bring the machine down.
_MOST: Final = 1024


class CountError(Exception):
    """A variable with a value that is no number of workers; `str()` is a sentence."""


def add_option(group: argparse._ArgumentGroup) -> None:
    """Add the option."""
    group.add_argument(
        "--workers",
        type=parse,
        metavar="N",
        help="serve with this many processes, auto for one for each processor that the server may "
        f"use; the variables of handlers are those of one process (default: {_VARIABLE}, without "
        "it 1)",
    )


def parse(text: str) -> int:
    """Parse a number of workers, 1 to 1024 or `auto`; raises ArgumentTypeError if it is none."""
    word = text.strip()
    if word == "auto":
        return min(_core.available_parallelism(), _MOST)
    if not word.isdecimal() or not word.isascii() or not 1 <= int(word[:9]) <= _MOST:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of workers (1 to {_MOST}, or auto)"
        )
    return int(word)


def find(options: Any, environ: Mapping[str, str]) -> int:
    """Return the number of workers: that of the options, else of WEB_CONCURRENCY, else 1.

    Raises:
        CountError: The variable cannot be used.
    """
    if options.workers is not None:
        return int(options.workers)
    text = environ.get(_VARIABLE, "")
    try:
        return parse(text) if text.strip() else 1
    except argparse.ArgumentTypeError as error:
        raise CountError(f"{_VARIABLE}: {error}") from error
