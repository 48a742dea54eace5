"""The values of options: what the text of one on the command line means, and which are refused.

Each function raises `argparse.ArgumentTypeError` for a text that it refuses; argparse shows the
sentence behind the name of the option.
"""

import argparse
import math
import sys
import threading

__all__ = [
    "backlog",
    "deflate_level",
    "hub_count",
    "integer",
    "log_count",
    "port_number",
    "seconds",
    "whole_number",
]

# Far more than processors; a larger number is a mistake.
_MOST_HUBS = 1024
_MOST_BACKLOG = 2**31 - 1
# Each rotation of a log renames as many files as are kept.
_MOST_LOGS = 10_000


def port_number(text: str) -> int:
    """Parse a TCP port, 0 included."""
    port = int(text) if text.strip().isdecimal() else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (0 to 65535)")
    return port


def seconds(text: str) -> float:
    """Parse a length of time for which a thread can wait."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds (0 or more)")
    if value > threading.TIMEOUT_MAX:
        most = f"{threading.TIMEOUT_MAX:.0f} seconds"
        raise argparse.ArgumentTypeError(f"{text!r} is too long (at most {most})")
    return value


def whole_number(text: str) -> int:
    """Parse a number of bytes, messages and so on, 0 included, that the native server can hold."""
    try:
        number = int(text) if text.strip().isdecimal() else -1
    except ValueError:
        # more digits than Python converts
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number (0 or more)")
    if number > sys.maxsize:
        raise argparse.ArgumentTypeError(f"{text} is too large (at most {sys.maxsize})")
    return number


def integer(text: str) -> int:
    """Parse a whole number of either sign; pywebsocket takes negative ones for none."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def log_count(text: str) -> int:
    """Parse a number of log files to keep."""
    number = integer(text)
    if number > _MOST_LOGS:
        raise argparse.ArgumentTypeError(f"{text} is too large (at most {_MOST_LOGS})")
    return number


def backlog(text: str) -> int:
    """Parse a number of connections that wait to be accepted, as listen(2) takes it."""
    number = integer(text)
    if not -_MOST_BACKLOG <= number <= _MOST_BACKLOG:
        raise argparse.ArgumentTypeError(f"{text} is too large (at most {_MOST_BACKLOG})")
    return number


def hub_count(text: str) -> int:
    """Parse a number of hubs."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:9]) <= _MOST_HUBS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hubs (1 to {_MOST_HUBS})")
    return int(text)


def deflate_level(text: str) -> int:
    """Parse zlib's compression level."""
    if text.strip() not in set("0123456789"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a compression level from 0 to 9")
    return int(text)
