"""A connection of the test server as a handler of the test sees it, and the test itself.

Files of handlers get pywebsocket's request as ever, with a stream that records.
"""

import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from fastwsh.pywebsocket.stream import BadOperationException, ConnectionTerminatedException
from fastwsh.testing.arguments import (
    check_close,
    check_pause,
    check_timeout,
    to_message,
    to_ping_body,
)
from fastwsh.testing.awaitable_calls import AwaitableCalls
from fastwsh.testing.blocking import refuse_in_event_loop
from fastwsh.testing.clock import monotonic
from fastwsh.testing.control_frames import ControlFrames
from fastwsh.testing.errors import Disconnected, ScriptError, WaitTimeoutError
from fastwsh.testing.expectation import Message, show
from fastwsh.testing.frames import encode_frame
from fastwsh.testing.recorded import RecordedConnection
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder

__all__ = ["Connection"]

_AWAITED: Final = "let the handler be a coroutine function, whose connection has it to be awaited"


class Connection(RecordedConnection):
    """A connection as `WsServer.handler` passes it to a function of the test.

    Its methods block the handler, which has a thread of its own. They raise Disconnected when the
    connection has ended; a handler that lets that pass has ended as it should.
    """

    def __init__(self, request: Any, recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self._pending: _Receiving | None = None
        # Messages that came while a pong was waited for.
        self._early: deque[Message] = deque()

    @property
    def aio(self) -> AwaitableCalls:
        """The calls that wait, for tests that are coroutines: `await connection.aio.close()`."""
        return AwaitableCalls(self)

    def __iter__(self) -> Iterator[Message]:
        """Return the messages until the client closes, or is gone."""
        with contextlib.suppress(Disconnected):
            while True:
                yield self.recv()

    def send(self, message: str | bytes) -> None:
        """Send a text message, or a binary one.

        Raises:
            Disconnected: The connection has ended.
            TypeError: The message is neither str nor bytes-like.
        """
        message = to_message(message)
        try:
            self._request.ws_stream.send_message(message, binary=not isinstance(message, str))
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
        refuse_in_event_loop("recv()", _AWAITED)
        check_timeout(timeout)
        if self._early:
            return self._early.popleft()
        if timeout is None and self._pending is None:
            return self._receive()
        receiving = self._pending = self._pending or self._start_receiving()
        if not receiving.done.wait(timeout):
            raise WaitTimeoutError(f"nothing came at {self.path} within {timeout:g} s")
        self._pending = None
        return receiving.result()

    def _start_receiving(self) -> "_Receiving":
        return _Receiving(self._receive, self._recorder.note_change)

    def _receive(self) -> Message:
        try:
            message: Message | None = self._request.ws_stream.receive_message()
        except BadOperationException as error:
            raise self._ended() from error
        except ConnectionTerminatedException as error:
            if type(error) is ConnectionTerminatedException:
                raise self._ended() from error
            raise
        if message is None:
            raise self._ended()
        return message

    def expect_close(
        self,
        code: int | None = None,
        reason: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        """Wait for the client's close frame, before which no message may come.

        Args:
            code: Its code, 1005 for a frame without one; None: any, or none.
            reason: Its reason; None: any.
            timeout: Seconds to wait for it; None: as long as the connection is open.

        Raises:
            ScriptError: Something else came, another close frame, or nothing in time.
        """
        refuse_in_event_loop("expect_close()", _AWAITED)
        with self._expecting_close(code, reason) as expectation:
            message = self.recv(timeout)
            raise ScriptError(f"expected {expectation}, but got {show(message)}")

    def ping(
        self, body: str | bytes | None = None, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> float:
        """Send a ping, and wait for the pong with its body.

        In the handler, messages that come meanwhile are kept for `recv`. Elsewhere the handler has
        to receive: nobody else reads what the client sends.

        Args:
            body: At most 125 bytes; None: some that no other ping has.
            timeout: Seconds to wait for the pong; None: as long as the connection is open.

        Returns:
            The round trip in seconds.

        Raises:
            Disconnected: The connection has ended.
            WaitTimeoutError: No pong came in time.
            TypeError, ValueError: An argument cannot be used.
        """
        refuse_in_event_loop("ping()", "await connection.aio.ping() there")
        data = to_ping_body(body)
        check_timeout(timeout)
        if not self.is_handled_here:
            return self._ping_from_outside(data, timeout)
        frames, recorder = self._control_frames, self._recorder
        frames.await_pong(data, recorder.note_change)
        sent = monotonic()
        deadline = None if timeout is None else sent + timeout
        try:
            self._send_ping(data)
            while frames.pong_time(data) is None:
                pending = self._pending = self._pending or self._start_receiving()
                left = None if deadline is None else max(0.0, deadline - monotonic())
                recorder.wait_until(partial(_is_over, pending, frames, data), left)
                if not pending.done.is_set():
                    break
                self._pending = None
                self._early.append(pending.result())
            return self._round_trip(data, sent, timeout)
        finally:
            frames.forget_pong(data)

    def wait_closed(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Wait until the connection is over.

        In its handler: until the client has closed it or is gone, and messages that come before
        are received. Elsewhere: until its handler has ended as well, after which `close_code`,
        `received` and `sent` do not change any more.

        Args:
            timeout: Seconds to wait; None: no limit.

        Raises:
            WaitTimeoutError: It is open still.
        """
        refuse_in_event_loop("wait_closed()", "await connection.aio.wait_closed() there")
        check_timeout(timeout)
        if not self.is_handled_here:
            self._await_handler(timeout)
            return
        deadline = None if timeout is None else monotonic() + timeout
        try:
            while True:
                self.recv(None if deadline is None else max(0.0, deadline - monotonic()))
        except Disconnected:
            return
        except WaitTimeoutError:
            raise self._still_open(timeout) from None

    def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """Send a close frame and wait for the client's; nothing if one side has closed before.

        Args:
            code: 1000 to 4999 without 1005, 1006 and 1015.
            reason: At most 123 bytes in UTF-8.
            wait: Whether to wait. Elsewhere than in the handler, that has to receive meanwhile.

        Raises:
            TypeError, ValueError: Code or reason cannot be sent.
            RuntimeError: It would wait in the thread of an event loop.
        """
        check_close(code, reason)
        if wait:
            refuse_in_event_loop(
                "close()", "await connection.aio.close() there, or close(wait=False)"
            )
        if self._request.server_terminated or self._request.client_terminated:
            return
        is_here = self.is_handled_here
        waits = wait and is_here and self._pending is None
        # a client that is sending, or gone, does not answer; the connection is over either way
        with contextlib.suppress(ConnectionError, ConnectionTerminatedException):
            self._request.ws_stream.close_connection(code, reason, wait_response=waits)
        if wait and not is_here:
            self._await_close()

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
        refuse_in_event_loop("stall()", "call it in the handler")
        check_pause(seconds)
        self.pace.sleep(seconds)


def _is_over(receiving: "_Receiving", frames: ControlFrames, ping: bytes) -> bool:
    return receiving.done.is_set() or frames.pong_time(ping) is not None


class _Receiving:
    """A receive in a thread of its own, so that waiting for it can end before it does."""

    def __init__(self, receive: Any, tell: Callable[[], object]) -> None:
        self.done = threading.Event()
        self._tell = tell
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
            self._tell()

    def result(self) -> Message:
        if self._error is not None:
            raise self._error
        assert self._message is not None  # noqa: S101 (there is an error otherwise)
        return self._message
