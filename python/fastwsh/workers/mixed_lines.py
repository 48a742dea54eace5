"""Log lines of the parent and of its workers in one log."""

import logging
from typing import Final

__all__ = ["MixedFormatter"]


class MixedFormatter(logging.Formatter):
    """Formats the parent's own records, and leaves lines of workers as they are.

    Args:
        own: For the parent's own.
    """

    NAME: Final = "fastwsh.workers.line"

    def __init__(self, own: logging.Formatter | None) -> None:
        super().__init__()
        self._own = own or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a worker as it is, and a record of the parent formatted."""
        return record.msg if record.name == self.NAME else self._own.format(record)
