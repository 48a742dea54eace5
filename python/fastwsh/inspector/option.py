"""The option `--inspect`."""

from __future__ import annotations

from fastwsh import option_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final

__all__ = ["add_option"]

_YES: Final = frozenset({"", "true", "yes", "on"})
_NO: Final = frozenset({"false", "no", "off"})


def add_option(group: argparse._ArgumentGroup) -> None:
    """Add the option for the inspector."""
    group.add_argument(
        "--inspect",
        nargs="?",
        const=0,
        type=_port,
        metavar="PORT",
        help="watch the connections, those of all workers, and show them on a page of 127.0.0.1 at "
        "this port, which the log names with a token; 0, the default with the option, is any free "
        "one (default: no inspector)",
    )


def _port(text: str) -> int | None:
    word = text.strip().lower()
    if word in _NO:
        return None
    return 0 if word in _YES else option_values.port_number(text)
