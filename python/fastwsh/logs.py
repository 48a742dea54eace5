"""Logging as pywebsocket sets it up: one handler on the root logger, its format, its levels."""

import argparse
import logging
import logging.handlers
import re
import threading
import time
from typing import Final

from fastwsh.config import ConfigError

__all__ = ["FINE", "LOG_FORMAT", "ThreadMonitor", "configure"]

FINE: Final = 9
"""The level below DEBUG at which every frame is logged."""

LOG_FORMAT: Final = "[%(asctime)s] [%(levelname)s] %(name)s: %(message)s"

_DEFLATE_LOGGERS: Final = ("pywebsocket3.util._Deflater", "pywebsocket3.util._Inflater")

# Everything that a terminal may take for a command; tabs and line ends are text.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Formatter(logging.Formatter):
    """Writes control characters as escapes: log lines quote what peers and files contain."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def configure(options: argparse.Namespace) -> None:
    """Send the root logger to stderr, or to a rotating file if `options.log_file` is set.

    Like pywebsocket's function of this purpose it adds to handlers that are already there.

    Raises:
        ConfigError: The log file cannot be opened.
    """
    logging.addLevelName(FINE, "FINE")
    handler: logging.Handler
    if options.log_file:
        try:
            handler = logging.handlers.RotatingFileHandler(
                options.log_file,
                maxBytes=options.log_max,
                backupCount=options.log_count,
                encoding="utf-8",
                errors="backslashreplace",
            )
        except OSError as error:
            raise ConfigError(
                f"cannot open the log file {error.filename!r} ({error.strerror}); "
                "name one in an existing, writable folder with --log-file"
            ) from error
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(LOG_FORMAT))
    root = logging.getLogger()
    root.setLevel(options.log_level.upper())
    root.addHandler(handler)
    for name in _DEFLATE_LOGGERS:
        logging.getLogger(name).setLevel(options.deflate_log_level.upper())


class ThreadMonitor(threading.Thread):
    """Logs the names of the running threads at regular intervals, at level INFO."""

    def __init__(self, interval_in_sec: float) -> None:
        super().__init__(name="ThreadMonitor", daemon=True)
        self._interval_in_sec = interval_in_sec
        self._logger = logging.getLogger("pywebsocket3.server_util.ThreadMonitor")

    def run(self) -> None:
        """Log until the process ends."""
        while True:
            names = [thread.name for thread in threading.enumerate()]
            self._logger.info("%d active threads: %s", len(names), ", ".join(names))
            time.sleep(self._interval_in_sec)
