"""Log files: they rotate by size, and can be opened again.

Only a server with such a file loads this module.
"""

import contextlib
import logging.handlers
import os
import stat
from pathlib import Path
from typing import Any, Final

from fastwsh.config_error import ConfigError
from fastwsh.output import outlets
from fastwsh.output.lost_lines import LossCountingHandler, complain

__all__ = ["LogFile", "open_log_file"]

# Where the names of devices are.
_DEVICES: Final = frozenset({"/dev", "/proc"})


class LogFile(LossCountingHandler, logging.handlers.RotatingFileHandler):
    """A log file that rotates by size, and that another program may rotate as well.

    If it cannot be written, for instance because the disk is full, one line on standard error says
    so, and later a record in the file says how many were lost. If the name is a pipe or a terminal,
    nothing waits for its reader.
    """

    _reason = "this file could not be written"

    def _open(self) -> Any:
        stream: Any = open(  # noqa: SIM115 (the handler closes it)
            self.baseFilename,
            self.mode,
            encoding=self.encoding,
            errors=self.errors,
            opener=_open_without_waiting,
        )
        outlet = outlets.of(stream)
        if isinstance(outlet, outlets.Outlet):
            outlet.when_failed(self._lose)
        return outlet

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 (logging's name)
        """Tell whether the file must be replaced before this record: never a pipe or a terminal."""
        # CPython 3.13 asks for the position first, which an outlet does not have
        is_file = not isinstance(self.stream, outlets.Outlet)
        return is_file and bool(super().shouldRollover(record)) and self._may_be_renamed()

    def _may_be_renamed(self) -> bool:
        # a name such as /dev/stderr is the system's, also where the output goes to a file
        folder = os.path.realpath(os.path.dirname(self.baseFilename))  # noqa: PTH120
        is_own = folder not in _DEVICES and not folder.startswith("/proc/")
        return is_own and not isinstance(self.stream, outlets.Outlet)

    def rotates_with(self, other: "LogFile") -> bool:
        """Tell whether both would rename the same file, so that lines get lost."""
        if self.maxBytes <= 0 or not (self._may_be_renamed() and other._may_be_renamed()):
            return False
        if self.stream is None or other.stream is None:
            return False
        own, others = self.stream.fileno(), other.stream.fileno()
        # what is no regular file, such as /dev/null, is not rotated
        return os.path.sameopenfile(own, others) and stat.S_ISREG(os.fstat(own).st_mode)

    def _tell_of_failure(self, error: OSError) -> None:
        complain(f"the log file {self.baseFilename!r}", error)

    def reopen(self) -> None:
        """Open the file of this name again.

        Raises:
            OSError: It cannot be opened; the file that was open stays in use.
        """
        self.acquire()
        try:
            former, self.stream = self.stream, self._open()
            if former is not None:
                former.close()
        finally:
            self.release()


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file as `open` does, and a named pipe without a wait for somebody who reads it."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISFIFO(Path(path).stat().st_mode):
            flags = flags & ~os.O_ACCMODE | os.O_RDWR
    return os.open(path, flags, 0o666)


def open_log_file(path: str, options: Any, option: str) -> LogFile:
    """Open a log file for appending; it rotates as the options say.

    Args:
        path: The file, relative to the current folder.
        options: `log_max` and `log_count`; pywebsocket's defaults replace missing ones.
        option: The option that names the file.

    Raises:
        ConfigError: It cannot be opened.
    """
    try:
        return LogFile(
            path,
            maxBytes=getattr(options, "log_max", 256 * 1024),
            backupCount=getattr(options, "log_count", 5),
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        raise ConfigError(
            f"cannot open the log file {error.filename!r} ({error.strerror}); "
            f"name one in an existing, writable folder with {option}"
        ) from error
