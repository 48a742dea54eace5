"""Lines that a log cannot write: they are counted, and reported once it can write again."""

from __future__ import annotations

import contextlib
import logging
import sys

from fastwsh.output import outlets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    _StreamHandler = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler

__all__ = ["LossCountingHandler", "complain"]


class LossCountingHandler(_StreamHandler):
    """A handler that reports afterwards how many lines could not be written."""

    _lost = 0
    _reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after a notice of those that were lost before it."""
        lost = self._lost
        super().emit(record)
        if lost and self._lost == lost:
            self._tell_of_lost()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Count records that cannot be written, instead of printing a traceback for each."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._lose(error)

    def _lose(self, error: OSError) -> None:
        with self.lock or contextlib.nullcontext():
            self._lost += 1
            if self._lost == 1:
                self._tell_of_failure(error)

    def _tell_of_failure(self, error: OSError) -> None:
        """Report that lines are being lost; called for the first of them."""

    def _tell_of_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if not lost:
            return
        super().emit(
            logging.makeLogRecord(
                {
                    "name": "fastwsh.logs",
                    "levelno": logging.WARNING,
                    "levelname": "WARNING",
                    "msg": "%d lines were lost: %s",
                    "args": (lost, self._reason),
                }
            )
        )
        if self._lost:  # the notice itself, which is none of the lines
            self._lost = lost


def complain(log: str, error: OSError) -> None:
    """Say on standard error that a log cannot be written.

    Args:
        log: The log, for people.
        error: Why.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            outlets.of(sys.stderr).write(
                f"fastwsh: cannot write {log} ({error.strerror}); "
                "its lines are lost until that is possible again\n"
            )
