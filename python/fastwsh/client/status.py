"""The exit status of the console."""

from enum import IntEnum

from fastwsh.errors import ConnectionClosed

__all__ = ["Status", "of_close"]


class Status(IntEnum):
    """The exit status for scripts; `--help` describes it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CLOSED = 3


def of_close(closed: ConnectionClosed) -> Status:
    """Return the status for how a connection ended."""
    if closed.is_normal:
        return Status.OK
    return Status.FAILED if closed.received_code is None else Status.CLOSED
