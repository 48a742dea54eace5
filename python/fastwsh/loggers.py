"""Keeps the loggers of the server and of streams enabled, whatever a handler configures."""

import logging
import sys
from typing import Final

__all__ = ["get", "keep_enabled"]

_ROOTS: Final = frozenset({"fastwsh", "pywebsocket3"})
# The loggers of handlers, which are named after their modules.
_HANDLERS: Final = "fastwsh.handlers."


class _Kept(logging.Logger):
    """A logger that `logging.config` does not disable if a configuration does not name it.

    `dictConfig` and `fileConfig` disable such loggers by default, and then the log would not show
    any mistake of a handler. Setting `disabled` directly still works.
    """

    _is_disabled = False

    @property
    def disabled(self) -> bool:
        return self._is_disabled

    @disabled.setter
    def disabled(self, value: bool) -> None:
        if sys._getframe(1).f_globals.get("__name__") != "logging.config":
            self._is_disabled = value


def get(name: str) -> logging.Logger:
    """Return a logger, which stays enabled if it is one of the server's."""
    logger = logging.getLogger(name)
    is_ours = name.partition(".")[0] in _ROOTS and not name.startswith(_HANDLERS)
    if type(logger) is logging.Logger and is_ours:
        was_disabled = vars(logger).pop("disabled", False)
        logger.__class__ = _Kept
        logger.disabled = was_disabled
    return logger


def keep_enabled() -> None:
    """Keep configurations of handlers from disabling the existing loggers."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            get(name)
