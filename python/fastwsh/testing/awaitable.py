"""Coroutine functions as handlers: the connection that they get, and their recording.

The only module here that knows asyncio.
"""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar, cast

from fastwsh.aio import AsyncStream
from fastwsh.pywebsocket.stream import BadOperationException, ConnectionTerminatedException
from fastwsh.testing.arguments import (
    check_close,
    check_pause,
    check_timeout,
    to_message,
    to_ping_body,
)
from fastwsh.testing.clock import monotonic
from fastwsh.testing.errors import Disconnected, ScriptError, WaitTimeoutError
from fastwsh.testing.expectation import Message, show
from fastwsh.testing.frames import encode_frame
from fastwsh.testing.recorded import RecordedConnection
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder

__all__ = ["AsyncConnection", "AsyncRecordingStream", "in_loop", "make_transfer"]

# The type of a method is what callers see of it.
_MethodT = TypeVar("_MethodT", bound=Callable[..., Coroutine[Any, Any, Any]])

_NotingFailures = Callable[[RecordedConnection, Recorder], AbstractContextManager[None]]


def make_transfer(
    call: Callable[[Any], Awaitable[Any]], recorder: Recorder, noting_failures: _NotingFailures
) -> Callable[[Any], Awaitable[None]]:
    """Make the coroutine function that serves an open connection.

    Args:
        call: The handler; it gets the connection.
        recorder: What is done and met goes there.
        noting_failures: Notes in the recorder what of that is an error of the handler.
    """

    async def transfer(request: Any) -> None:
        connection = AsyncConnection(request, recorder)
        request.ws_stream = AsyncRecordingStream(request.ws_stream, connection)
        with recorder.handling(connection), noting_failures(connection, recorder):
            await call(connection)

    return transfer


def in_loop(
    call: Callable[[Any], Awaitable[Any]], loop: asyncio.AbstractEventLoop
) -> Callable[[Any], Awaitable[None]]:
    """Make of a handler one that runs in another event loop than that of the server."""

    async def call_there(connection: "AsyncConnection") -> None:
        if loop.is_closed():
            raise Disconnected("the event loop of the test has ended")

        async def run() -> None:
            await call(connection)

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), loop))

    return call_there


def _on_its_loop(method: _MethodT) -> _MethodT:
    """Let a method be awaited in any event loop; it runs in that of the connection."""

    @functools.wraps(method)
    async def call(self: "AsyncConnection", /, *args: Any, **kwargs: Any) -> Any:
        if asyncio.get_running_loop() is self._loop:
            return await method(self, *args, **kwargs)
        there = asyncio.run_coroutine_threadsafe(method(self, *args, **kwargs), self._loop)
        return await asyncio.wrap_future(there)

    return cast("_MethodT", call)


def _note_exception(task: "asyncio.Task[Message]") -> None:
    """Retrieve a task's exception, so that asyncio does not report it as never retrieved."""
    if not task.cancelled():
        task.exception()


class AsyncConnection(RecordedConnection):
    """A connection as `WsServer.handler` passes it to a coroutine function of the test.

    As `Connection`, with methods to be awaited, in the handler or in any other coroutine of
    asyncio, as the test. `request.ws_stream` is for the server's event loop only.
    """

    def __init__(self, request: Any, recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self._loop = asyncio.get_running_loop()
        self._pending: asyncio.Future[Message] | None = None
        # Messages that came while a pong was waited for.
        self._early: deque[Message] = deque()

    @property
    def aio(self) -> Self:
        """The connection itself, whose calls are awaited."""
        return self

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Return the messages until the client closes, or is gone."""
        with contextlib.suppress(ConnectionTerminatedException):
            while True:
                yield await self.recv()

    @_on_its_loop
    async def send(self, message: str | bytes) -> None:
        """Send a text message, or a binary one.

        Raises:
            Disconnected: The connection has ended.
            TypeError: The message is neither str nor bytes-like.
        """
        message = to_message(message)
        try:
            await self._request.ws_stream.send_message(message, binary=not isinstance(message, str))
        except (BadOperationException, ConnectionError, ConnectionTerminatedException) as error:
            raise self._ended() from error

    @_on_its_loop
    async def recv(self, timeout: float | None = None) -> Message:  # noqa: ASYNC109 (as Connection)
        """Wait for a message; None as `timeout` waits as long as the connection is open.

        Raises:
            Disconnected: The client has closed, or the connection has ended otherwise.
            WaitTimeoutError: Nothing came in time; the next call may get it.
        """
        check_timeout(timeout)
        if self._early:
            return self._early.popleft()
        pending = self._pending = self._pending or self._start_receiving()
        done, _ = await asyncio.wait({pending}, timeout=timeout)
        if not done:
            raise WaitTimeoutError(f"nothing came at {self.path} within {timeout:g} s")
        self._pending = None
        return pending.result()

    def _start_receiving(self) -> "asyncio.Future[Message]":
        receiving = asyncio.ensure_future(self._receive())
        # a handler may end without waiting for it again, and asyncio would complain
        receiving.add_done_callback(_note_exception)
        return receiving

    async def _receive(self) -> Message:
        try:
            message: Message | None = await self._request.ws_stream.receive_message()
        except BadOperationException as error:
            raise self._ended() from error
        except ConnectionTerminatedException as error:
            if type(error) is ConnectionTerminatedException:
                raise self._ended() from error
            raise
        if message is None:
            raise self._ended()
        return message

    async def expect_close(
        self,
        code: int | None = None,
        reason: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as Connection)
    ) -> None:
        """Wait for the client's close frame: see `Connection.expect_close`."""
        with self._expecting_close(code, reason) as expectation:
            message = await self.recv(timeout)
            raise ScriptError(f"expected {expectation}, but got {show(message)}")

    @_on_its_loop
    async def ping(
        self,
        body: str | bytes | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as Connection)
    ) -> float:
        """Send a ping, and return the seconds until its pong: see `Connection.ping`."""
        data = to_ping_body(body)
        check_timeout(timeout)
        if not self.is_handled_here:
            return await asyncio.to_thread(self._ping_from_outside, data, timeout)
        frames, loop = self._control_frames, asyncio.get_running_loop()
        pong: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not pong.done():
                pong.set_result(None)

        frames.await_pong(data, tell)
        sent = monotonic()
        deadline = None if timeout is None else sent + timeout
        try:
            try:
                await self._request.ws_stream.send_ping(data)
            except (BadOperationException, ConnectionError, ConnectionTerminatedException) as error:
                raise self._ended() from error
            while not pong.done():
                pending = self._pending = self._pending or self._start_receiving()
                left = None if deadline is None else max(0.0, deadline - monotonic())
                either: set[asyncio.Future[Any]] = {pending, pong}
                done, _ = await asyncio.wait(
                    either, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                if pong in done or not done:
                    break
                self._pending = None
                self._early.append(pending.result())
            return self._round_trip(data, sent, timeout)
        finally:
            frames.forget_pong(data)

    @property
    def _blocking_stream(self) -> Any:
        """The stream with blocking names, for threads."""
        return self._request.ws_stream.blocking

    async def wait_closed(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as Connection)
    ) -> None:
        """Wait until the connection is over: see `Connection.wait_closed`; in any event loop."""
        check_timeout(timeout)
        if not self.is_handled_here:
            await asyncio.to_thread(self._await_handler, timeout)
            return
        deadline = None if timeout is None else monotonic() + timeout
        try:
            while True:
                await self.recv(None if deadline is None else max(0.0, deadline - monotonic()))
        except Disconnected:
            return
        except WaitTimeoutError:
            raise self._still_open(timeout) from None

    @_on_its_loop
    async def close(self, code: int = 1000, reason: str = "", *, wait: bool = True) -> None:
        """Send a close frame and wait for the client's; nothing if one side has closed before.

        Without `wait`, do not wait.

        Raises:
            TypeError, ValueError: Code or reason cannot be sent.
        """
        check_close(code, reason)
        if self._request.server_terminated or self._request.client_terminated:
            return
        with contextlib.suppress(ConnectionError, ConnectionTerminatedException):
            is_here = self.is_handled_here
            await self._request.ws_stream.close_connection(
                code, reason, wait_response=wait and is_here and self._pending is None
            )
            if wait and not is_here:
                await asyncio.to_thread(self._await_close)

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are, between frames or in place of them."""
        await asyncio.to_thread(self.write, data)

    async def send_frame(
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
        await asyncio.to_thread(self.write_frame, frame, opcode)

    async def reset(self) -> None:
        """End the connection by a reset (RST): no close frame and no orderly end."""
        self.drop()

    async def half_close(self) -> None:
        """End our direction (FIN) without a close frame; what the client sends can be received."""
        await asyncio.to_thread(self.end_sending)

    async def stall(self, seconds: float) -> None:
        """Neither send nor receive for a while, in the handler that awaits it."""
        check_pause(seconds)
        await asyncio.sleep(seconds)


class AsyncRecordingStream:
    """`request.ws_stream` of a coroutine function: the server's own stream, recorded."""

    def __init__(self, stream: AsyncStream, connection: RecordedConnection) -> None:
        self._stream = stream
        self._recorded = connection
        self._is_fragmented = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        message = await self.receive_message()
        if message is None:
            raise StopAsyncIteration
        return message

    async def receive_message(self) -> Message | None:
        """Receive as any stream, and record the message."""
        await self._until_reading()
        message = await self._stream.receive_message()
        await self._until_reading()
        self._recorded.note_received(message)
        return message

    async def send_message(
        self, message: Any, end: bool = True, binary: bool | None = None
    ) -> None:
        """Send as any stream, at the connection's pace."""
        connection = self._recorded
        if binary is None:
            binary = not isinstance(message, str)
        is_whole = end and not self._is_fragmented
        if is_whole and connection.is_throttled:
            await asyncio.to_thread(connection.write_message, message, binary)
        else:
            await self._stream.send_message(message, end, binary)
        self._is_fragmented = not end
        connection.sent.append(message)

    async def _until_reading(self) -> None:
        if not self._recorded.pace.is_reading:
            await asyncio.to_thread(self._recorded.pace.wait_until_reading)
