"""What is known of a connection of the test server, and what any thread may do to it.

Owns the recording, and the faults of a connection that is open.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from fastwsh import _core
from fastwsh.errors import ConnectError
from fastwsh.handler_types import Request
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import AbortedByUserException
from fastwsh.pywebsocket.stream import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    InvalidUTF8Exception,
    UnsupportedFrameException,
    create_binary_frame,
    create_text_frame,
)
from fastwsh.testing.arguments import check_expected_close, check_seconds
from fastwsh.testing.clock import monotonic
from fastwsh.testing.control_frames import ControlFrames, attach_hooks, tell_connection
from fastwsh.testing.errors import Disconnected, ScriptError, WaitTimeoutError
from fastwsh.testing.expectation import CloseExpectation, Message
from fastwsh.testing.frames import Frame
from fastwsh.testing.pace import Pace
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.request_view import RequestView

__all__ = ["RecordedConnection"]

# A client that breaks the protocol is what tests are to find.
_PROTOCOL_ERRORS = (InvalidFrameException, InvalidUTF8Exception, UnsupportedFrameException)

# Ends of a handler that are none of its errors: the connection's, or the handler's own.
_ENDS = (
    AbortedByUserException,
    ConnectionError,
    ConnectionTerminatedException,
    GeneratorExit,
    KeyboardInterrupt,
    SystemExit,
)


class RecordedConnection(RequestView):
    """What is known of a connection, and what any thread may do to it.

    Attributes:
        request: pywebsocket's request.
        received: The messages that the handler has received.
        received_frames: The same, with the pings, pongs and the close frame between them. A handler
            that does not receive has not got them yet; pings that the server has answered for a
            handler that did something else (`pong_while_busy`) are missing.
        sent: The messages that it has sent, without frames made by hand.
    """

    def __init__(self, request: Any, recorder: Recorder) -> None:
        super().__init__(request)
        self.received: list[Message] = []
        self.received_frames: list[Frame] = []
        self.sent: list[Message] = []
        self.pace = Pace()
        self._recorder = recorder
        self._is_dropped = False
        self._control_frames = ControlFrames(
            lambda opcode, body: recorder.note_frame(self, Frame(opcode, body)),
            self.pace,
            self._send_pong,
            recorder.pong_delay(self.path),
        )
        attach_hooks(request, self._control_frames)

    @property
    def request(self) -> Request:
        """The request, as handlers of files get it."""
        request: Request = self._request
        return request

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol, if there is one."""
        protocol: str | None = self._request.ws_protocol
        return protocol

    @property
    def close_code(self) -> int | None:
        """The code of the client's close frame, 1005 if that had none; None before, or without."""
        code: int | None = self._request.ws_close_code
        return code

    @property
    def close_reason(self) -> str | None:
        """The reason in the client's close frame, if it had one."""
        reason: str | None = self._request.ws_close_reason
        return reason

    @property
    def is_open(self) -> bool:
        """Whether the handler has the connection still."""
        return self in self._recorder.running()

    @property
    def is_dropped(self) -> bool:
        """Whether it was ended by a reset."""
        return self._is_dropped

    def drop(self) -> None:
        """End it by a reset (RST), from any thread; a handler that waits in it is disconnected."""
        self._is_dropped = True
        # no close frame could be sent any more
        self._request.server_terminated = True
        self.pace.release()
        self._request.connection.reset()

    def throttle(self, bytes_per_second: float | None) -> None:
        """Let what is sent from here on trickle, uncompressed; None: no more.

        Pieces of a fragmented message are sent whole.

        Raises:
            TypeError, ValueError: The rate is no number above 0.
        """
        self.pace.throttle(bytes_per_second)

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`, as a server does that has too much to do.

        What the client sends waits in the system's buffers; when they are full, after some MiB,
        sending blocks. A receive that waits already takes its message, and keeps it.
        """
        self.pace.pause()

    def resume_reading(self) -> None:
        """Read on after `pause_reading`."""
        self.pace.resume()

    def no_pong(self) -> None:
        """Answer no ping from here on, as a peer that hangs; `delay_pong(0)` ends that."""
        self.set_pong_delay(None)

    def delay_pong(self, seconds: float) -> None:
        """Answer pings so many seconds late from here on, each by itself; 0: at once.

        Raises:
            TypeError, ValueError: It is no number of seconds.
        """
        check_seconds(seconds, "delay_pong")
        self.set_pong_delay(seconds)

    def set_pong_delay(self, seconds: float | None) -> None:
        """Answer pings so late, or never (None)."""
        self._control_frames.pong_after = seconds
        tell_connection(self.request)

    def note_received(self, message: Message | None) -> None:
        """Record what was received; raises Disconnected if that was the one to drop all at."""
        if message is None:
            self._recorder.note_frame(self, Frame(common.OPCODE_CLOSE, self._close_body()))
            return
        self._recorder.note_message(self, message)
        if self._is_dropped:
            raise Disconnected(f"the connection of {self.path} was dropped at a message")

    def blames_handler(self, error: BaseException) -> bool:
        """Tell whether what ended the handler is an error for the test.

        It is not if the connection has ended, or the client has met a limit of the server.
        """
        if isinstance(error, _PROTOCOL_ERRORS):
            return not getattr(error, "close_reason", "")
        if isinstance(error, ConnectError | ConnectionRefusedError):
            # of another connection, which the handler wanted to open
            return True
        if isinstance(error, BadOperationException):
            is_over = self._request.client_terminated or self._is_dropped
            return not (is_over or self._recorder.is_closing)
        # of greenlet and asyncio, neither of which need be there
        is_killed = type(error).__name__ in {"CancelledError", "GreenletExit"}
        return not is_killed and not isinstance(error, _ENDS)

    def write(self, data: bytes) -> None:
        """Send bytes at the connection's pace."""
        self.pace.send(data, self._request.connection.write)

    @property
    def is_throttled(self) -> bool:
        """Whether messages trickle."""
        return self.pace.is_throttled and not self._request.server_terminated

    def write_message(self, message: Any, binary: bool) -> None:
        """Send a whole message at the connection's pace."""
        create = create_binary_frame if binary else create_text_frame
        opcode = common.OPCODE_BINARY if binary else common.OPCODE_TEXT
        self.write(create(message, opcode))

    def end_sending(self) -> None:
        """End our direction."""
        self._request.server_terminated = True
        self._request.connection.half_close()

    def write_frame(self, frame: bytes, opcode: int) -> None:
        """Send a frame made by hand; after one that closes no other is sent in its place."""
        if opcode == common.OPCODE_CLOSE:
            self._request.server_terminated = True
        self.write(frame)

    @property
    def is_handled_here(self) -> bool:
        """Whether the calling code is its handler."""
        return self._recorder.handled_here() is self

    def release(self) -> None:
        """End what waits in it for the pace that a test has given it."""
        self.pace.release()

    @contextlib.contextmanager
    def _expecting_close(self, code: int | None, reason: str | None) -> Iterator[CloseExpectation]:
        """Expect a block to end with the connection; raise ScriptError if it ends in another way.

        A block that has received a message raises the error itself.
        """
        check_expected_close(code, reason)
        expectation = CloseExpectation(code, reason)
        try:
            yield expectation
        except Disconnected as error:
            if self.close_code is None:
                raise ScriptError(f"expected {expectation}, but {error}") from None
            mismatch = expectation.mismatch(self.close_code, self.close_reason)
            if mismatch is not None:
                raise ScriptError(mismatch) from None
        except WaitTimeoutError as error:
            raise ScriptError(f"expected {expectation}, but {error}") from None

    def _await_close(self) -> None:
        """Wait for the handler to meet the client's close frame, or to end."""
        self._recorder.wait_until(
            lambda: self._request.client_terminated or not self.is_open, DEFAULT_TIMEOUT
        )

    def _await_handler(self, timeout: float | None) -> None:
        if not self._recorder.wait_until(lambda: not self.is_open, timeout):
            raise self._still_open(timeout)

    def _still_open(self, timeout: float | None) -> WaitTimeoutError:
        return WaitTimeoutError(f"the connection of {self.path} is open after {timeout:g} s still")

    def _close_body(self) -> bytes:
        code = self.close_code
        if code in (None, common.STATUS_NO_STATUS_RECEIVED):
            return b""
        return _core.create_closing_handshake_body(code, self.close_reason or "")

    def _send_pong(self, body: bytes) -> None:
        # no caller is left to get the exception
        with contextlib.suppress(OSError, ConnectionTerminatedException):
            if self.is_open and not self._request.server_terminated:
                self._blocking_stream._send_pong(body)

    @property
    def _blocking_stream(self) -> Any:
        """The stream with blocking names, for threads."""
        return self._request.ws_stream

    def _ping_from_outside(self, data: bytes, timeout: float | None) -> float:
        frames, recorder = self._control_frames, self._recorder
        frames.await_pong(data, recorder.note_change)
        sent = monotonic()
        try:
            self._send_ping(data)
            recorder.wait_until(
                lambda: frames.pong_time(data) is not None or not self.is_open, timeout
            )
            if frames.pong_time(data) is None and not self.is_open:
                raise self._ended()
            return self._round_trip(data, sent, timeout)
        finally:
            frames.forget_pong(data)

    def _send_ping(self, body: bytes) -> None:
        try:
            self._blocking_stream.send_ping(body)
        except (BadOperationException, ConnectionError, ConnectionTerminatedException) as error:
            raise self._ended() from error

    def _round_trip(self, body: bytes, sent: float, timeout: float | None) -> float:
        """Return the seconds since a ping was sent until its pong came."""
        came = self._control_frames.pong_time(body)
        if came is None:
            raise WaitTimeoutError(
                f"no pong came at {self.path} within {timeout:g} s; it comes only while the "
                "handler receives"
            )
        return max(0.0, came - sent)

    def _ended(self) -> Disconnected:
        code = self.close_code
        if self._is_dropped:
            how = "it was reset"
        elif self._recorder.is_closing and code in (None, common.STATUS_GOING_AWAY):
            how = "the server stops"
        elif code is not None:
            how = f"the client has closed it with {code}"
        else:
            how = "it ended without a close frame of the client"
        return Disconnected(f"the connection of {self.path} is over: {how}")
