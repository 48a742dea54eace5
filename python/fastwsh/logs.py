"""Logging as pywebsocket sets it up: one handler on the root logger, its format, its levels.

Owns both formats, log files that rotate and can be opened again, and the escaping of text from
outside: whatever a peer sends, a record stays one record.
"""

import contextlib
import json
import logging
import logging.handlers
import re
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from fastwsh import outlets
from fastwsh.config import ConfigError

__all__ = [
    "FINE",
    "LOG_FORMAT",
    "LogFile",
    "Relayed",
    "StreamLog",
    "ThreadMonitor",
    "configure",
    "format_time",
    "log_files",
    "open_log_file",
    "to_json",
]

FINE: Final = 9
"""The level below DEBUG at which every frame is logged."""

LOG_FORMAT: Final = "[%(asctime)s] [%(levelname)s] %(name)s: %(message)s"

_DEFLATE_LOGGERS: Final = ("pywebsocket3.util._Deflater", "pywebsocket3.util._Inflater")

# All characters that a terminal may take for a command or a viewer for a line end, and the marks
# that change the direction of the text around them.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# Put before all lines of a record but the first, so that no text can look like another record.
_CONTINUATION: Final = "\n    "


class _TextFormatter(logging.Formatter):
    """Writes pywebsocket's lines, with escapes for control characters and further lines indented.

    Log lines quote what peers and files contain; tracebacks, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).rstrip("\n").replace("\n", _CONTINUATION)
        return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


class _JsonFormatter(logging.Formatter):
    """Writes an object per line: time, level, logger, message, and exception if there is one.

    Args:
        worker: The number of the worker, which goes into each object.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": format_time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._worker is not None:
            entry["worker"] = self._worker
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        exception = "\n".join(filter(None, (record.exc_text, record.stack_info)))
        if exception:
            entry["exception"] = exception
        return to_json(entry)


def to_json(value: Any) -> str:
    """Return JSON of printable ASCII characters only, so that any reader can split it by lines."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def format_time(seconds: float) -> str:
    """Return a time in ISO 8601, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _CountsLost(logging.StreamHandler[Any]):
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


class StreamLog(_CountsLost):
    """A log on standard error or standard output, which does not wait for its reader.

    Args:
        stream: Where the lines go.
    """

    _reason = "they came faster than they were read"

    def __init__(self, stream: TextIO) -> None:
        outlet = outlets.of(stream)
        super().__init__(outlet)
        self._source = stream
        if isinstance(outlet, outlets.Outlet):
            outlet.when_empty(self._flows_again)
            outlet.when_failed(self._lose)

    def _tell_of_failure(self, error: OSError) -> None:
        # a worker's parent may have ended, and then the worker ends as well
        if self._source is sys.stdout:
            _complain("a log on standard output", error)

    def _flows_again(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._tell_of_lost()


class LogFile(_CountsLost, logging.handlers.RotatingFileHandler):
    """A log file that rotates by size, and that another program may rotate as well.

    If it cannot be written, for instance because the disk is full, one line on standard error says
    so, and later a record in the file says how many were lost. If the name is a pipe or a terminal,
    nothing waits for its reader.
    """

    _reason = "this file could not be written"

    def _open(self) -> Any:
        stream = super()._open()
        outlet = outlets.of(stream)
        if isinstance(outlet, outlets.Outlet):
            outlet.when_failed(self._lose)
        return outlet

    def _tell_of_failure(self, error: OSError) -> None:
        _complain(f"the log file {self.baseFilename!r}", error)

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


def _complain(log: str, error: OSError) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            outlets.of(sys.stderr).write(
                f"fastwsh: cannot write {log} ({error.strerror}); "
                "its lines are lost until that is possible again\n"
            )


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


def configure(options: Any) -> logging.Handler:
    """Send the root logger to stderr, or to a rotating file if `options.log_file` is set.

    Like pywebsocket's function for this, it keeps the handlers that exist already.

    Args:
        options: pywebsocket's; `log_format` may be missing. A `worker` writes to its parent.

    Returns:
        The handler that was added.

    Raises:
        ConfigError: The log file cannot be opened.
    """
    logging.addLevelName(FINE, "FINE")
    handler: logging.Handler
    worker = getattr(options, "worker", None)
    if worker is not None:
        handler = StreamLog(worker.log)
    elif options.log_file:
        handler = open_log_file(options.log_file, options, "--log-file")
    else:
        handler = StreamLog(sys.stderr)
    as_json = getattr(options, "log_format", "text") == "json"
    handler.setFormatter(_formatter(as_json, worker))
    root = logging.getLogger()
    root.setLevel(options.log_level.upper())
    root.addHandler(handler)
    for name in _DEFLATE_LOGGERS:
        logging.getLogger(name).setLevel(options.deflate_log_level.upper())
    return handler


def _formatter(as_json: bool, worker: Any) -> logging.Formatter:
    if worker is None:
        return _JsonFormatter() if as_json else _TextFormatter(LOG_FORMAT)
    text_format = LOG_FORMAT.replace("%(name)s", f"[worker {worker.number}] %(name)s")
    inner = _JsonFormatter(worker.number) if as_json else _TextFormatter(text_format)
    return Relayed("log", inner)


class Relayed(logging.Formatter):
    """Formats the lines of a worker for its parent, which writes them: one JSON array for each.

    Args:
        kind: The log that they belong to.
        inner: Formats what the parent writes.
    """

    def __init__(self, kind: str, inner: logging.Formatter) -> None:
        super().__init__()
        self._kind = kind
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the array: the log, the level and the text."""
        return to_json([self._kind, record.levelno, self._inner.format(record)])


def log_files() -> list[LogFile]:
    """Return the log files that `configure` has opened."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogFile)]


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
