"""A connection of the test server as a handler of the test, and the test itself, see it.

Owns the recording, and the faults of a connection that is open. Files of handlers get pywebsocket's
request as ever, with a stream that records.
"""

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from http.client import HTTPMessage
from typing import Any

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import AbortedByUserException
from fastwsh.pywebsocket.stream import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    InvalidUTF8Exception,
    Stream,
    UnsupportedFrameException,
    create_binary_frame,
    create_text_frame,
)
from fastwsh.testing.errors import Disconnected, WaitTimeoutError
from fastwsh.testing.expectation import Message
from fastwsh.testing.frames import encode_frame
from fastwsh.testing.pace import Pace
from fastwsh.testing.recording import Recorder

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

__all__ = ["Connection", "RecordedConnection", "RecordingStream"]


class RecordedConnection:
    """What is known of a connection, and what any thread may do to it.

    Attributes:
        request: pywebsocket's request.
        received: The messages that the handler has received.
        sent: The messages that it has sent, without frames made by hand.
    """

    def __init__(self, request: Any, recorder: Recorder) -> None:
        self.request = request
        self.received: list[Message] = []
        self.sent: list[Message] = []
        self.pace = Pace()
        self._recorder = recorder
        self._is_dropped = False

    @property
    def resource(self) -> str:
        """The path with the query behind it, as the client asked for it."""
        return str(self.request.ws_resource)

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.resource.partition("?")[0]

    @property
    def headers(self) -> HTTPMessage:
        """The headers of the opening handshake; their names are found in any case."""
        headers: HTTPMessage = self.request.headers_in
        return headers

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol, if there is one."""
        protocol: str | None = self.request.ws_protocol
        return protocol

    @property
    def close_code(self) -> int | None:
        """The code of the client's close frame, 1005 if that had none; None before, or without."""
        code: int | None = self.request.ws_close_code
        return code

    @property
    def close_reason(self) -> str | None:
        """The reason in the client's close frame, if it had one."""
        reason: str | None = self.request.ws_close_reason
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
        self.request.server_terminated = True
        self.pace.release()
        self.request.connection.reset()

    def throttle(self, bytes_per_second: float | None) -> None:
        """Let what is sent from here on trickle, uncompressed; None: no more.

        Pieces of a fragmented message are sent whole.

        Raises:
            ValueError: The rate is not above 0.
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

    def note_received(self, message: Message | None) -> None:
        """Record what was received; raises Disconnected if that was the one to drop all at."""
        if message is None:
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
        if isinstance(error, BadOperationException):
            is_over = self.request.client_terminated or self._is_dropped
            return not (is_over or self._recorder.is_closing)
        # of greenlet and asyncio, neither of which need be there
        is_killed = type(error).__name__ in {"CancelledError", "GreenletExit"}
        return not is_killed and not isinstance(error, _ENDS)

    def write(self, data: bytes) -> None:
        """Send bytes at the connection's pace."""
        self.pace.send(data, self.request.connection.write)

    @property
    def is_throttled(self) -> bool:
        """Whether messages trickle."""
        return self.pace.is_throttled and not self.request.server_terminated

    def write_message(self, message: Any, binary: bool) -> None:
        """Send a whole message at the connection's pace."""
        create = create_binary_frame if binary else create_text_frame
        opcode = common.OPCODE_BINARY if binary else common.OPCODE_TEXT
        self.write(create(message, opcode))

    def end_sending(self) -> None:
        """End our direction."""
        self.request.server_terminated = True
        self.request.connection.half_close()

    def write_frame(self, frame: bytes, opcode: int) -> None:
        """Send a frame made by hand; after one that closes no other is sent in its place."""
        if opcode == common.OPCODE_CLOSE:
            self.request.server_terminated = True
        self.write(frame)

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


class Connection(RecordedConnection):
    """A connection as `WsServer.handler` passes it to a function of the test.

    Its methods block the handler, which has a thread of its own. They raise Disconnected when the
    connection has ended; a handler that lets that pass has ended as it should.
    """

    def __init__(self, request: Any, recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self._pending: _Receiving | None = None

    def __iter__(self) -> Iterator[Message]:
        """Return the messages until the client closes, or is gone."""
        with contextlib.suppress(Disconnected):
            while True:
                yield self.recv()

    def send(self, message: str | bytes) -> None:
        """Send a text message, or a binary one.

        Raises:
            Disconnected: The connection has ended.
        """
        try:
            self.request.ws_stream.send_message(message, binary=not isinstance(message, str))
        except (BadOperationException, ConnectionError, ConnectionTerminatedException) as error:
            raise self._ended() from error

    def recv(self, timeout: float | None = None) -> Message:
        """Wait for a message.

        Args:
            timeout: Seconds to wait; None: as long as the connection is open, which ends with the
                test.

        Raises:
            Disconnected: The client has closed, or the connection has ended otherwise.
            WaitTimeoutError: Nothing came in time; the next call may get it.
            Exception: The client broke the protocol.
        """
        if timeout is None and self._pending is None:
            return self._receive()
        receiving = self._pending = self._pending or _Receiving(self._receive)
        if not receiving.done.wait(timeout):
            raise WaitTimeoutError(f"nothing came at {self.path} within {timeout:g} s")
        self._pending = None
        return receiving.result()

    def _receive(self) -> Message:
        try:
            message: Message | None = self.request.ws_stream.receive_message()
        except BadOperationException as error:
            raise self._ended() from error
        except ConnectionTerminatedException as error:
            if type(error) is ConnectionTerminatedException:
                raise self._ended() from error
            raise
        if message is None:
            raise self._ended()
        return message

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the client's; nothing if one side has closed before."""
        if self.request.server_terminated or self.request.client_terminated:
            return
        waits = self._pending is None
        # a client that is sending, or gone, does not answer; the connection is over either way
        with contextlib.suppress(ConnectionError, ConnectionTerminatedException):
            self.request.ws_stream.close_connection(code, reason, wait_response=waits)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, between frames or in place of them."""
        self.write(data)

    def send_frame(
        self,
        opcode: int,
        payload: str | bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = None,
        length: int | None = None,
    ) -> None:
        """Send one frame, right or wrong: see `fastwsh.testing.frames.encode_frame`."""
        frame = encode_frame(opcode, payload, fin=fin, rsv=rsv, mask=mask, length=length)
        self.write_frame(frame, opcode)

    def reset(self) -> None:
        """End the connection by a reset (RST): no close frame and no orderly end."""
        self.drop()

    def half_close(self) -> None:
        """End our direction (FIN) without a close frame; what the client sends can be received."""
        self.end_sending()

    def stall(self, seconds: float) -> None:
        """Neither send nor receive for a while; blocks the handler that calls it.

        It ends early with the connection's server.
        """
        self.pace.sleep(seconds)


class _Receiving:
    """A receive in a thread of its own, so that waiting for it can end before it does."""

    def __init__(self, receive: Any) -> None:
        self.done = threading.Event()
        self._message: Message | None = None
        self._error: BaseException | None = None
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._run, receive), name="fastwsh-recv", daemon=True
        ).start()

    def _run(self, receive: Any) -> None:
        try:
            self._message = receive()
        except BaseException as error:  # noqa: BLE001 (raised again where it is waited for)
            self._error = error
        finally:
            self.done.set()

    def result(self) -> Message:
        if self._error is not None:
            raise self._error
        assert self._message is not None  # noqa: S101 (there is an error otherwise)
        return self._message


class RecordingStream(Stream):
    """`request.ws_stream` of every handler of the test server: it records, and keeps the pace."""

    def __init__(self, request: Any, options: Any, connection: RecordedConnection) -> None:
        super().__init__(request, options)
        self._recorded = connection
        self._is_fragmented = False

    def receive_message(self) -> Message | None:
        """As ever."""
        self._recorded.pace.wait_until_reading()
        message = super().receive_message()
        self._recorded.pace.wait_until_reading()
        self._recorded.note_received(message)
        return message

    def send_message(self, message: Any, end: bool = True, binary: bool = False) -> None:
        """As ever."""
        connection = self._recorded
        is_whole = end and not self._is_fragmented
        if is_whole and connection.is_throttled:
            connection.write_message(message, binary)
        else:
            super().send_message(message, end, binary)
        self._is_fragmented = not end
        connection.sent.append(message)
