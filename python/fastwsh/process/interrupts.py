"""Interrupts while a program loads: it ends at once, with the status of an interrupt.

Knows nothing of what was loaded. `cli` handles the signals of a server that runs, and `program`
those of the small programs.
"""

from __future__ import annotations

# `signal` needs a tenth of the time for all modules, in which an interrupt would be a traceback
import _signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, NoReturn

__all__ = ["INTERRUPTED", "EndingAtInterrupts", "exit_with"]

INTERRUPTED: Final[int] = 128 + _signal.SIGINT
"""The exit status."""


class EndingAtInterrupts:
    """A context in which SIGINT ends the process, if it would raise KeyboardInterrupt otherwise.

    It is for importing the modules of a program: they have nothing yet that has to be cleaned up,
    and an exception in the middle of an import would be shown with a traceback.
    """

    def __enter__(self) -> None:
        """Begin."""
        self._is_default = _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
        if self._is_default:
            try:
                _signal.signal(_signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
            except ValueError:  # a thread that is not the main one gets no signals
                self._is_default = False

    def __exit__(self, *_: object) -> None:
        """Let SIGINT raise KeyboardInterrupt again."""
        if self._is_default:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that `main` returns, or that of an interrupt if one comes first."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
