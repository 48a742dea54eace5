"""The request object that `_core.Stream` needs, in the role of a client.

The stream is that of pywebsocket, and uses names from a server's view: `client_terminated` means
that the peer has sent its close frame, and `server_terminated` that we have sent ours.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from fastwsh import _core

__all__ = ["Opened", "Pong", "PongArrived", "Session", "make_stream"]

Opened = tuple[_core.Connection, str | None, list[tuple[str, str]], tuple[int | None, bool] | None]
"""The result of `_core.connect`."""

# The most pings to remember until their pongs arrive, as a peer may never answer.
_MAX_PINGS: Final = 1024
_NO_STATUS: Final = 1005


class PongArrived(Exception):  # noqa: N818 (no error: it ends a wait)
    """Ends a wait for a message when the expected pong has arrived."""


class Pong:
    """The answer to a ping, which is noticed while a call receives.

    Attributes:
        data: The data of the ping.
        round_trip: Seconds from the ping to the pong; None before the pong has arrived.
    """

    def __init__(
        self,
        data: bytes,
        on_pong: Callable[["Pong"], object] | None = None,
        owner: object = None,
    ) -> None:
        self.data = data
        self._owner = owner
        self.round_trip: float | None = None
        self._on_pong = on_pong
        self._sent = time.monotonic()

    def _is_of(self, session: "Session") -> bool:
        return self._owner is session.owner

    def _arrived(self) -> None:
        self.round_trip = time.monotonic() - self._sent

    def _tell(self) -> None:
        if self._on_pong is not None:
            self._on_pong(self)


class _Echo:
    """Answers the peer's close frame with its own code (RFC 6455 5.5.1)."""

    def passive_closing_handshake(self, request: Any) -> tuple[int | None, str]:
        """Return code and reason of the close frame to answer with."""
        code = request.ws_close_code
        return (None, "") if code == _NO_STATUS else (code, "")


class Session:
    """The attributes that the stream uses, and the pings that wait for their pongs.

    Args:
        connection: The native connection.
    """

    _dispatcher = _Echo()
    client_terminated: bool
    server_terminated: bool
    ws_close_code: int | None = None
    ws_close_reason: str = ""

    def __init__(self, connection: _core.Connection) -> None:
        self.connection = connection
        self.pings: dict[bytes, Pong] = {}
        # What its pongs keep of it: they may live longer.
        self.owner = object()
        self._awaited: tuple[Pong, int] | None = None

    def expect(self, data: bytes, on_pong: Callable[[Pong], object] | None) -> Pong:
        """Remember a ping that is about to be sent."""
        if len(self.pings) >= _MAX_PINGS:
            del self.pings[next(iter(self.pings))]
        pong = self.pings[data] = Pong(data, on_pong, self.owner)
        return pong

    @contextmanager
    def awaiting(self, pong: Pong) -> Iterator[None]:
        """Make `PongArrived` end this thread's wait for a message when the pong arrives."""
        self._awaited = pong, threading.get_ident()
        try:
            yield
        finally:
            self._awaited = None

    def on_pong_handler(self, _request: Any, body: bytes) -> None:
        """Note a pong; it answers the pings before it as well (RFC 6455 5.5.3)."""
        if body not in self.pings:
            return
        answered: list[Pong] = []
        for data in list(self.pings):
            answered.append(self.pings.pop(data))
            answered[-1]._arrived()
            if data == body:
                break
        # A function that is called may raise; the others are called all the same, in order.
        with ExitStack() as calls:
            for one in reversed(answered):
                calls.callback(one._tell)
        if self._awaited is not None:
            pong, thread = self._awaited
            if pong.round_trip is not None and thread == threading.get_ident():
                raise PongArrived

    @property
    def received(self) -> tuple[int, str] | None:
        """Code and reason of the peer's close frame, if one was received."""
        return None if self.ws_close_code is None else (self.ws_close_code, self.ws_close_reason)


def make_stream(
    session: Session, deflate: tuple[int | None, bool] | None, max_message_bytes: int | None
) -> _core.Stream:
    """Return the stream: our frames are masked, the peer's are not (RFC 6455 5.1).

    Args:
        session: The request.
        deflate: The negotiated parameters of permessage-deflate: our largest window in bits, and
            whether each of our messages is compressed by itself; None: no compression.
        max_message_bytes: The most bytes of an inflated message; None: no limit.
    """
    options = _core.StreamOptions()
    options.mask_send = True
    options.unmask_receive = False
    if deflate is not None:
        framer = _core.DeflateFramer(*deflate)
        framer.set_compression(level=1, min_bytes=0)
        framer.set_compress_outgoing_enabled(True)
        framer.set_max_inflated_bytes(max_message_bytes)
        framer.setup_stream_options(options)
    return _core.Stream(session, options)
