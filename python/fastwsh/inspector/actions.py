"""What a page of the inspector does to connections: each action is noted in its log."""

import time
from typing import TYPE_CHECKING, Any, Final

from fastwsh import _core
from fastwsh.inspector import export
from fastwsh.inspector.watching import Watcher
from fastwsh.record.redaction import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ActionError", "Actions"]

# A handler that is sending has finished by then, unless its client does not read.
_BUSY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.005

_TEXT, _BINARY, _PING = 1, 2, 9
_MOST_BYTES: Final = 16 << 20
_MOST_RATE: Final = 1 << 31
_MOST_MESSAGES: Final = 1 << 31
_CONTROL_BYTES: Final = 125


class ActionError(Exception):
    """An action is not possible; the text is a sentence for people."""


class Actions:
    """The actions of a page.

    Args:
        watcher: Knows the server, and keeps the log.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._redaction = Redaction()

    def do(self, request: dict[str, Any]) -> Any:
        """Do what a request asks for; return what is to be shown.

        Raises:
            ActionError: It is not possible.
            KeyError, TypeError, ValueError: The request makes no sense.
        """
        action = request.get("action")
        if action == "payload":
            return self._watcher.payload(int(request["id"]), int(request["frame"]))
        if action == "har":
            return self._har(request)
        if action == "test":
            return self._test(request)
        actions: dict[Any, Callable[[int, dict[str, Any]], str]] = {
            "text": self._text,
            "binary": self._binary,
            "ping": self._ping,
            "raw": self._raw,
            "close": self._close,
            "reset": self._reset,
            "half-close": self._half_close,
            "pace": self._pace,
            "drop": self._drop,
        }
        act = actions.get(action)
        if act is None:
            raise ActionError(f"there is no action {action!r}")
        number = int(request["id"])
        try:
            done = act(number, request)
        except (ActionError, ValueError) as error:
            self._watcher.note("action", f"#{number}: {action} failed: {error}", number)
            raise
        self._inspection.note(number, done)
        self._watcher.note("action", f"#{number}: {done}", number)
        return done

    @property
    def _inspection(self) -> _core.Inspection:
        inspection: _core.Inspection | None = self._watcher.inspection
        if inspection is None:
            raise ActionError("the server has not begun to serve, or has ended")
        return inspection

    def _text(self, number: int, request: dict[str, Any]) -> str:
        data = str(request["data"]).encode("utf-8", "replace")
        self._send(number, _TEXT, data)
        return f"sent a text of {_bytes(len(data))}"

    def _binary(self, number: int, request: dict[str, Any]) -> str:
        data = _from_hex(request["data"])
        self._send(number, _BINARY, data)
        return f"sent a binary message of {_bytes(len(data))}"

    def _ping(self, number: int, request: dict[str, Any]) -> str:
        data = str(request.get("data", "")).encode("utf-8", "replace")
        if len(data) > _CONTROL_BYTES:
            raise ActionError(f"a ping carries {_CONTROL_BYTES} bytes at most, not {len(data)}")
        self._send(number, _PING, data)
        return f"sent a ping of {_bytes(len(data))}"

    def _raw(self, number: int, request: dict[str, Any]) -> str:
        data = _from_hex(request["data"])
        if not data:
            raise ActionError("there are no bytes to send")
        self._insert(number, data, is_message=False)
        title = str(request.get("title") or "raw bytes")
        return f"sent {title}: {data[:32].hex(' ')}{' ...' if len(data) > 32 else ''}"

    def _send(self, number: int, opcode: int, data: bytes) -> None:
        if len(data) > _MOST_BYTES:
            raise ActionError(f"a message from here has {_bytes(_MOST_BYTES)} at most")
        header = _core.create_header(opcode, len(data), 1, 0, 0, 0, False)
        self._insert(number, header + data, is_message=opcode != _PING)

    def _insert(self, number: int, data: bytes, *, is_message: bool) -> None:
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            result = self._inspection.insert(number, data, is_message)
            if result == "done":
                return
            if result == "ended":
                raise ActionError("nothing can be sent any more on this connection")
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_SECONDS)
        if result == "busy":
            raise ActionError("the handler is sending, and the client does not read")
        raise ActionError(
            "the handler has begun a fragmented message; only control frames and raw bytes can "
            "come before its end"
        )

    def _close(self, number: int, request: dict[str, Any]) -> str:
        code, reason = int(request.get("code", 1000)), str(request.get("reason", ""))
        if not 0 <= code <= 0xFFFF:
            raise ActionError(f"{code} is no close code")
        self._must(self._inspection.close(number, code, reason))
        return f"closed with {code}{f' ({reason})' if reason else ''}"

    def _reset(self, number: int, request: dict[str, Any]) -> str:
        del request
        self._must(self._inspection.reset(number))
        return "reset the connection"

    def _half_close(self, number: int, request: dict[str, Any]) -> str:
        del request
        self._must(self._inspection.half_close(number))
        return "ended our direction without a close frame"

    def _pace(self, number: int, request: dict[str, Any]) -> str:
        rate = request.get("rate")
        if rate is not None and not 0 <= int(rate) < _MOST_RATE:
            raise ActionError(f"{rate} is no number of bytes per second")
        self._must(self._inspection.set_pace(number, None if rate is None else int(rate)))
        if rate is None:
            return "sends at full speed again"
        return (
            f"sends {_bytes(int(rate))} per second"
            if rate
            else "stalls: nothing is sent, and nothing is read"
        )

    def _drop(self, number: int, request: dict[str, Any]) -> str:
        count = int(request["count"])
        if not 0 <= count < _MOST_MESSAGES:
            raise ActionError(f"{count} is no number of a message")
        self._must(self._inspection.drop_at(number, count))
        if not count:
            return "no message resets the connection"
        return f"message {count} from here on resets the connection"

    @staticmethod
    def _must(was_done: bool) -> None:
        if not was_done:
            raise ActionError("the connection has ended, or its handler is sending")

    def mask(self, connection: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of a connection without the secrets of its headers."""
        masked = {
            key: self._redaction._pairs(connection[key])
            for key in ("request_headers", "response_headers")
        }
        hidden = any(masked[key] != connection[key] for key in masked)
        return {**connection, **masked, "hidden": hidden}

    def _har(self, request: dict[str, Any]) -> dict[str, Any]:
        number = request.get("id")
        numbers = self._inspection.ids() if number is None else [int(number)]
        redaction = None if request.get("secrets") else self._redaction
        return export.har(self._inspection, numbers, redaction)

    def _test(self, request: dict[str, Any]) -> dict[str, Any]:
        return export.test(self._inspection, int(request["id"]))


def _bytes(count: int) -> str:
    return f"{count} byte{'' if count == 1 else 's'}"


def _from_hex(text: Any) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        raise ActionError("these are no bytes in hex, such as 81 02 68 69") from None
