"""Exponential backoff: the pause before something that has failed is tried again."""

from typing import Final

__all__ = ["pause_after"]

_SHORTEST: Final = 0.1
_LONGEST: Final = 10.0


def pause_after(failures: int) -> float:
    """Return the pause in seconds after so many failures in a row: 0.1, doubled up to 10."""
    return min(_SHORTEST * 2.0 ** min(failures - 1, 30), _LONGEST) if failures else 0.0
