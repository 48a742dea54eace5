"""Logging as pywebsocket sets it up: one handler on the root logger, its format, its levels.

Owns both formats, and the escaping of text from outside: whatever a peer sends, a record stays one
record. `log_file` owns files that rotate and can be opened again.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time

from fastwsh.output import outlets
from fastwsh.output.lost_lines import LossCountingHandler, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TextIO

    from fastwsh.output.log_file import LogFile

__all__ = [
    "FINE",
    "LOG_FORMAT",
    "Relayed",
    "StreamLog",
    "ThreadMonitor",
    "configure",
    "format_time",
    "load_modules",
    "log_files",
    "to_json",
]

FINE: Final = 9
"""The level below DEBUG at which every frame is logged."""

LOG_FORMAT: Final = "[%(asctime)s] [%(levelname)s] %(name)s: %(message)s"

_DEFLATE_LOGGERS: Final = ("pywebsocket3.util._Deflater", "pywebsocket3.util._Inflater")

# All characters that a terminal may take for a command or a viewer for a line end, and the marks
# that change the direction of the text around them. Compiled when it is needed.
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"

# Put before all lines of a record but the first, so that no text can look like another record.
_CONTINUATION: Final = "\n    "

# The system adds the time of its clock to it.
_LONGEST_SLEEP_SECONDS: Final = threading.TIMEOUT_MAX / 2


class _TextFormatter(logging.Formatter):
    """Writes pywebsocket's lines, with escapes for control characters and further lines indented.

    Log lines quote what peers and files contain; tracebacks, too.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).rstrip("\n").replace("\n", _CONTINUATION)
        return re.sub(_CONTROL, lambda match: ascii(match[0])[1:-1], text)


class _JsonFormatter(logging.Formatter):
    """Writes an object per line: time, level, logger, message, and exception if there is one.

    Args:
        worker: The number of the worker, which goes into each object.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        load_modules()
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
    import json  # noqa: PLC0415 (for JSON only)

    return json.dumps(value).replace("\x7f", "\\u007f")


def format_time(seconds: float) -> str:
    """Return a time in ISO 8601, UTC, to the millisecond."""
    from datetime import UTC, datetime  # noqa: PLC0415 (for JSON and the access log only)

    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load_modules() -> None:
    """Load what a line needs: later there may be no descriptor left to do so."""
    to_json(format_time(0))


class StreamLog(LossCountingHandler):
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
            complain("a log on standard output", error)

    def _flows_again(self) -> None:
        with self.lock or contextlib.nullcontext():
            self._tell_of_lost()


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
        from fastwsh.output.log_file import open_log_file  # noqa: PLC0415 (loads the modules for rotation)

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
    module: Any = sys.modules.get("fastwsh.output.log_file")
    handlers = logging.getLogger().handlers
    return [handler for handler in handlers if module and isinstance(handler, module.LogFile)]


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
            time.sleep(min(self._interval_in_sec, _LONGEST_SLEEP_SECONDS))
