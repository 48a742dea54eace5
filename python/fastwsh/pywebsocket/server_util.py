"""Logging and thread monitoring, for programs that start a server of their own."""

from typing import Any

from fastwsh.output import logs
from fastwsh.pywebsocket._signatures import hide_annotations

__all__ = ["ThreadMonitor", "configure_logging"]


def configure_logging(options: Any) -> None:
    """Set up the root logger: level, format, and standard error or a rotating file.

    Args:
        options: Has `log_level`, `deflate_log_level`, `log_file`, `log_max` and `log_count`, as
            parsed from the command line.
    """
    logs.configure(options)


class ThreadMonitor(logs.ThreadMonitor):
    """A daemon thread that logs the names of the running threads, at level INFO."""

    daemon = True

    def __init__(self, interval_in_sec: float) -> None:
        super().__init__(interval_in_sec)

    def run(self) -> None:
        """Log until the process ends."""
        super().run()


hide_annotations(globals())
