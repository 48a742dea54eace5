"""Arguments of a test server, checked where they are written and not where they are used.

A wrong argument is a mistake in a line of the test. Found later, it would be an error in another
thread.
"""

import json as json_module
import os
import threading
from collections.abc import Callable
from typing import Any, Final

from fastwsh import _core
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.stream import BadOperationException
from fastwsh.testing.expectation import Message

__all__ = [
    "check_bytes",
    "check_close",
    "check_code",
    "check_count",
    "check_expected_close",
    "check_number",
    "check_path",
    "check_pause",
    "check_seconds",
    "check_sendable",
    "check_timeout",
    "json_text",
    "made_message",
    "to_message",
    "to_ping_body",
]

_MAX_CONTROL_BYTES: Final = 125  # RFC 6455 5.5
# They stand for an end without a code (RFC 6455 7.4.1).
_NO_CODES: Final = (common.STATUS_NO_STATUS_RECEIVED, common.STATUS_ABNORMAL_CLOSURE)


def to_message(value: object) -> Message:
    """Return what is sent for a value: a text, or the bytes that it holds now.

    Raises:
        TypeError: It is neither str nor bytes-like.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError(
        f"{value!r} is no message; give str for a text, bytes for a binary message, or json="
    )


def check_sendable(message: Message) -> Message:
    """Return a message; raises ValueError for a text that has no UTF-8."""
    if isinstance(message, str):
        try:
            message.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{message!r} cannot be sent as text: {error}") from error
    return message


def check_bytes(data: object, what: str) -> None:
    """Raise TypeError for what is not bytes-like."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{what} {data!r}; give bytes")


def json_text(value: Any, other: object = None) -> str:
    """Return the JSON of a value.

    Args:
        value: The value.
        other: The message that was given in place of it.

    Raises:
        TypeError: There is a message as well, or it has no JSON.
        ValueError: It refers to itself.
    """
    if other is not None:
        raise TypeError("give a message or json=, not both")
    return json_module.dumps(value, ensure_ascii=False)


def check_timeout(timeout: object) -> None:
    """Raise as `check_seconds`; None is no limit."""
    if timeout is not None:
        check_seconds(timeout, "timeout")


def check_number(number: object, what: str, unit: str) -> None:
    """Raise TypeError for what is not a number of these units."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{what} {number!r}; give a number of {unit}")


def check_seconds(seconds: object, what: str) -> None:
    """Check a time limit or a pause.

    Raises:
        TypeError: It is not a number.
        ValueError: It is below 0, not a number (NaN), or longer than a thread can wait.
    """
    check_number(seconds, what, "seconds")
    assert isinstance(seconds, int | float)  # noqa: S101 (checked just before)
    if not seconds >= 0:
        raise ValueError(f"{what} {seconds!r}; give seconds from 0 on")
    if seconds > threading.TIMEOUT_MAX:
        raise ValueError(f"{what} {seconds!r}; give {threading.TIMEOUT_MAX:.0f} seconds at most")


def check_pause(seconds: object) -> None:
    """Check a pause, which may be infinite; otherwise raises as `check_seconds`."""
    if seconds != float("inf"):
        check_seconds(seconds, "stall")


def check_count(count: object, what: str) -> None:
    """Raise TypeError for what is not a whole number, ValueError for one below 1."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{what} {count!r}; give a whole number from 1 on")
    if count < 1:
        raise ValueError(f"{what} {count}; the first one is 1")


def to_ping_body(body: object) -> bytes:
    """Return the body of a ping; None is one that no other ping has.

    Raises:
        TypeError: It is neither str nor bytes-like.
        ValueError: It has more than 125 bytes (RFC 6455 5.5).
    """
    if body is None:
        return os.urandom(8)
    message = to_message(body)
    data = message.encode() if isinstance(message, str) else message
    if len(data) > _MAX_CONTROL_BYTES:
        raise ValueError(f"a ping of {len(data)} bytes; it has room for {_MAX_CONTROL_BYTES}")
    return data


def check_path(path: object) -> str:
    """Return a path with its slash. Raises TypeError if it is no str, ValueError for more."""
    if not isinstance(path, str):
        raise TypeError(f"path {path!r}; give a str such as '/chat'")
    if "?" in path or "#" in path:
        raise ValueError(f"path {path!r}; give it without query and fragment")
    if "://" in path:
        raise ValueError(f"path {path!r} is a URL; give what follows its host, such as '/chat'")
    return "/" + path.removeprefix("/")


def check_code(code: object) -> None:
    """Check the close code of a client; None is any.

    Raises:
        TypeError: It is not a whole number.
        ValueError: It is not from 1000 to 4999.
    """
    if code is None:
        return
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"close code {code!r}; give a number from 1000 to 4999")
    if not 1000 <= code <= 4999:
        raise ValueError(f"close code {code}; give a number from 1000 to 4999")


def check_expected_close(code: object, reason: object) -> None:
    """Check code and reason of a client's close frame; None is any. Raises as `check_code`."""
    check_code(code)
    if reason is not None and not isinstance(reason, str):
        raise TypeError(f"reason {reason!r}; give a str, or None for any")
    if reason and code in _NO_CODES:
        raise ValueError(f"close code {code} stands for none, and has no reason")


def check_close(code: int, reason: object) -> None:
    """Check code and reason of a close frame that is to be sent.

    Raises:
        TypeError: One of them has another type than int and str.
        ValueError: The code must not be sent (RFC 6455 7.4), or the reason has more than 123 bytes.
    """
    check_code(code)
    if not isinstance(reason, str):
        raise TypeError(f"reason {reason!r}; give a str")
    try:
        body = _core.create_closing_handshake_body(code, reason)
    except BadOperationException as error:
        raise ValueError(f"close code {code}: {error}") from error
    if len(body) > _MAX_CONTROL_BYTES:
        raise ValueError(f"a reason of {len(body) - 2} bytes; a close frame has room for 123")


def made_message(function: Callable[..., object], value: object) -> Message:
    """Return what a function has made for a reply, checked. Raises TypeError."""
    try:
        return to_message(value)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} returned {value!r} for a reply; str or bytes are needed"
        ) from error
