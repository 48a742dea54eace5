"""Pings and pongs on a connection of the test server: what came, and when pings are answered.

The stream answers pings and takes pongs; it asks the request's hooks of pywebsocket before. The
request of a recorded connection has hooks of its own, which call those of the handler.
"""

import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from fastwsh.pywebsocket import common
from fastwsh.running.request import Request
from fastwsh.testing.clock import monotonic

__all__ = ["ControlFrames", "attach_hooks", "tell_connection"]

_ON_PING: Final = "on_ping_handler"
_ON_PONG: Final = "on_pong_handler"


class _Pace(Protocol):
    """What a delay is measured by."""

    def sleep(self, seconds: float) -> None:
        """Wait, unless the connection is let go of."""


class ControlFrames:
    """The pings and pongs of one connection.

    Args:
        note: Called with the opcode and the body of each that came.
        pace: Ends delays when the connection ends.
        send_pong: Sends a pong, from a thread of its own.
        pong_after: Seconds until pings are answered; None: never.
    """

    def __init__(
        self,
        note: Callable[[int, bytes], None],
        pace: _Pace,
        send_pong: Callable[[bytes], object],
        pong_after: float | None,
    ) -> None:
        self.pong_after = pong_after
        self._note = note
        self._pace = pace
        self._send_pong = send_pong
        # When the last pong with a body came.
        self._pongs: dict[bytes, float] = {}
        self._awaited: dict[bytes, Callable[[], object]] = {}

    @property
    def are_hooked(self) -> bool:
        """Whether pings must be left to the stream, and not be answered in its place."""
        return self.pong_after != 0

    def note_ping(self, body: bytes) -> bool:
        """Note a ping; return whether the stream is to answer it."""
        self._note(common.OPCODE_PING, body)
        after = self.pong_after
        if after:
            threading.Thread(
                target=self._answer_late, args=(body, after), name="fastwsh-pong", daemon=True
            ).start()
        return after == 0

    def note_pong(self, body: bytes) -> None:
        """Note a pong, which answers every ping with its body."""
        self._note(common.OPCODE_PONG, body)
        if (tell := self._awaited.get(body)) is not None:
            self._pongs[body] = monotonic()
            tell()

    def await_pong(self, body: bytes, tell: Callable[[], object]) -> None:
        """Have a function called when the pong with this body comes."""
        self._pongs.pop(body, None)
        self._awaited[body] = tell

    def pong_time(self, body: bytes) -> float | None:
        """Return when the pong with this body came; None if it has not come."""
        return self._pongs.get(body)

    def forget_pong(self, body: bytes) -> None:
        """Wait for it no more."""
        self._awaited.pop(body, None)
        self._pongs.pop(body, None)

    def _answer_late(self, body: bytes, seconds: float) -> None:
        self._pace.sleep(seconds)
        self._send_pong(body)


class _Hook:
    """A hook that records, and has the handler's behind it.

    The handler's is in the request's dict, where pywebsocket has it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        if request is None:
            return self
        return self._record

    def __set__(self, request: Any, value: Any) -> None:
        vars(request)[self._name] = value
        tell_connection(request)

    def __delete__(self, request: Any) -> None:
        if vars(request).pop(self._name, None) is None:
            raise AttributeError(self._name)
        tell_connection(request)

    def _record(self, request: Any, body: bytes) -> None:
        frames: ControlFrames = vars(request)["_control_frames"]
        if self._name == _ON_PONG:
            frames.note_pong(bytes(body))
        elif not frames.note_ping(bytes(body)):
            return
        hook = vars(request).get(self._name)
        if not hook:
            # pywebsocket's way to say that there is none: the stream answers
            raise AttributeError(self._name)
        hook(request, body)


class _RecordedRequest(Request):
    """A request whose hooks are asked after the recording; handlers set and read them as ever."""

    on_ping_handler = _Hook(_ON_PING)
    on_pong_handler = _Hook(_ON_PONG)


def attach_hooks(request: Any, frames: ControlFrames) -> None:
    """Let the stream of a request tell of pings and pongs."""
    request.__class__ = _RecordedRequest
    vars(request)["_control_frames"] = frames
    tell_connection(request)


def tell_connection(request: Any) -> None:
    """Tell whether the test decides what happens to pings."""
    frames: ControlFrames = vars(request)["_control_frames"]
    hooked = frames.are_hooked or bool(vars(request).get(_ON_PING))
    request.connection.set_ping_hook(hooked)
