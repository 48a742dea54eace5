"""Keeps the loggers of the server and of streams enabled, whatever a handler configures."""

from __future__ import annotations

import logging
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

__all__ = ["divert", "get", "keep_enabled"]

_ROOTS: Final = frozenset({"fastwsh", "pywebsocket3"})
# Loggers that are not the server's: of handlers, named after their modules, and of the recorder,
# whose lines are for its user and not for the log of the server that it uses.
_OTHERS: Final = ("fastwsh.handlers.", "fastwsh.record")


class _Kept(logging.Logger):
    """A logger that `logging.config` does not disable if a configuration does not name it.

    `dictConfig` and `fileConfig` disable such loggers by default, and then the log would not show
    any mistake of a handler. Setting `disabled` directly still works.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        # not a property, as each line that is not logged reads the attribute
        if name == "disabled" and sys._getframe(1).f_globals.get("__name__") == "logging.config":
            return
        super().__setattr__(name, value)


def divert(
    takes: Callable[[], bool] | None = None,
    call_handlers: Callable[[logging.Logger, logging.LogRecord], object] | None = None,
) -> None:
    """Pass what the server logs to another handler, from INFO on, whatever the loggers' levels are.

    This costs a server nothing when it is off: the methods exist only while it is on.

    Args:
        takes: Tells whether records of the calling context are to be passed; None: stop passing.
        call_handlers: Called with a record in such a context, in place of the logger's handlers.
    """
    changed = ("isEnabledFor", "getEffectiveLevel", "callHandlers")
    if takes is None or call_handlers is None:
        for name in changed:
            if name in vars(_Kept):
                delattr(_Kept, name)
        return
    keep_enabled()
    plain = logging.Logger

    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        return (level >= logging.INFO and takes()) or plain.isEnabledFor(self, level)

    def effective_level(self: logging.Logger) -> int:
        level = plain.getEffectiveLevel(self)
        return min(level, logging.INFO) if takes() else level

    def hand_over(self: logging.Logger, record: logging.LogRecord) -> None:
        if takes():
            call_handlers(self, record)
        else:
            plain.callHandlers(self, record)

    methods: tuple[Callable[..., Any], ...] = (is_enabled_for, effective_level, hand_over)
    for name, method in zip(changed, methods, strict=True):
        setattr(_Kept, name, method)


def get(name: str) -> logging.Logger:
    """Return a logger, which stays enabled if it is one of the server's."""
    logger = logging.getLogger(name)
    is_ours = name.partition(".")[0] in _ROOTS and not name.startswith(_OTHERS)
    if type(logger) is logging.Logger and is_ours:
        logger.__class__ = _Kept
    return logger


def keep_enabled() -> None:
    """Keep configurations of handlers from disabling the existing loggers."""
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            get(name)
