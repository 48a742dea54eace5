"""`AsyncClientConnection`: an open WebSocket connection, for asyncio.

Connecting and the awaitable stream are native. This module owns how a connection ends, as
`connection` does for threads.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Generator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from fastwsh import _core
from fastwsh.aio import native_loop
from fastwsh.client.connection import ClientConnection
from fastwsh.client.opened import (
    END_SECONDS,
    PEER_ERRORS,
    READ_BYTES,
    STREAM_ERRORS,
    Data,
    OpenConnection,
    check_timeout,
    code_after,
)
from fastwsh.client.options import Options
from fastwsh.client.session import Opened, Pong, PongArrived
from fastwsh.errors import ConnectionClosed, FastwshError
from fastwsh.pywebsocket import _stream_exceptions as stream_exceptions

__all__ = ["AsyncClientConnection", "AsyncConnecting"]

_REMEDY: Final = (
    "inside a running event loop, connect() gives something to await: write "
    "'await fastwsh.connect(url)' or 'async with fastwsh.connect(url) as connection'; or call "
    "fastwsh.client.connect_sync(url), which blocks the loop"
)


# A server that sends for ever must not hold the event loop.
_MAX_DISCARDED_READS: Final = 64

_ONE_CONNECTION: Final = (
    "connect() opens one connection, and none in place of one that is lost: write 'async with "
    "fastwsh.connect(url) as connection' in a loop of yours, which waits before it connects again"
)

_SEND_ERRORS: Final = (stream_exceptions.BadOperationException, OSError)


class AsyncConnecting:
    """The result of `connect` inside an event loop: await it, or use it with `async with`.

    Cancelling gives the attempt up. Each `await` opens a new connection.
    """

    def __init__(self, url: str, options: Options) -> None:
        self._url = url
        self._options = options
        self._entered: AsyncClientConnection | None = None

    def __await__(self) -> Generator[Any, None, "AsyncClientConnection"]:
        return self._open().__await__()

    async def _open(self) -> "AsyncClientConnection":
        try:
            opened = await _core.connect_async(self._url, self._options.to_core())
        finally:
            _core.settle_openings()
        return AsyncClientConnection(self._url, self._options, opened)

    async def __aenter__(self) -> "AsyncClientConnection":
        self._entered = await self
        return self._entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entered is not None:
            await self._entered.__aexit__(kind, value, traceback)

    def __enter__(self) -> NoReturn:
        raise TypeError(_REMEDY)

    def __exit__(self, *_: object) -> None:
        """Never called; Python looks for it before `__enter__`."""

    def __iter__(self) -> NoReturn:
        raise TypeError(_REMEDY)

    def __aiter__(self) -> NoReturn:
        raise TypeError(_ONE_CONNECTION)

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(ClientConnection, name):
            raise TypeError(_REMEDY)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class AsyncClientConnection(OpenConnection):
    """An open connection; `await connect(url)` makes it.

    Like `ClientConnection`, with `await`: its documentation has the arguments and exceptions of
    each method. Only tasks of the event loop in which it was opened may use it. Messages are sent
    in the order of the calls. A cancelled `recv` loses nothing; a cancelled `send` sends its
    message to the end if sending has begun. A cancelled `close`, or `recv` that has received the
    end, ends the connection at once.

    It is an asynchronous context manager and iterator, as `ClientConnection` is an ordinary one.
    """

    def __init__(self, url: str, options: Options, opened: Opened) -> None:
        super().__init__(url, options, opened)
        self._async_connection = _core.AsyncConnection(
            native_loop.of_running_loop(), self._connection
        )
        self._awaitable = _core.AsyncStream(self._stream, self._async_connection)
        self._receivers = asyncio.Lock()
        self._arrived: weakref.WeakKeyDictionary[Pong, asyncio.Future[None]] = (
            weakref.WeakKeyDictionary()
        )

    async def send(self, message: Data) -> None:
        """Send a message; see `ClientConnection.send`."""
        self._check(message)
        try:
            await self._awaitable.send_message(message)
        except _SEND_ERRORS as error:
            await self._fail_send(error)

    async def recv(self, timeout: float | None = None) -> str | bytes:  # noqa: ASYNC109 (as in threads)
        """Wait for the next message; see `ClientConnection.recv`."""
        if timeout is not None:
            return await self._recv_within(timeout)
        # Every message passes here: `async with` and `suppress` would take as long as the rest.
        await self._receivers.acquire()
        try:
            while not self._kept:
                try:
                    return await self._receive()
                except PongArrived:
                    pass
            return self._kept.popleft()
        finally:
            self._receivers.release()

    async def _recv_within(self, timeout: float) -> str | bytes:  # noqa: ASYNC109 (as in threads)
        try:
            async with _within(timeout):
                return await self.recv()
        except TimeoutError:
            if self._is_closed:
                # the time was over while the server could still end the TCP connection
                raise self._again() from None
            raise TimeoutError(f"no message came within {timeout:g} s") from None

    async def ping(self, data: bytes | str | None = None) -> Pong:
        """Send a ping; see `ClientConnection.ping`."""
        arrived = asyncio.get_running_loop().create_future()

        def on_pong(_: Pong) -> None:
            if not arrived.done():
                arrived.set_result(None)

        pong = self._expect_pong(data, on_pong)
        self._arrived[pong] = arrived
        try:
            await self._awaitable.send_ping(pong.data, True)
        except _SEND_ERRORS as error:
            await self._fail_send(error)
        return pong

    async def wait_pong(self, pong: Pong, timeout: float | None = None) -> float:  # noqa: ASYNC109
        """Wait for the answer to a ping; see `ClientConnection.wait_pong`."""
        self._check_pong(pong)
        try:
            async with _within(timeout):
                await self._until_pong(self._arrived[pong])
        except TimeoutError:
            if self._is_closed:
                raise self._again() from None
            raise TimeoutError(f"no pong came within {timeout:g} s") from None
        return pong.round_trip or 0.0

    async def _until_pong(self, arrived: "asyncio.Future[None]") -> None:
        """Receive until the pong has arrived, unless another task receives."""
        while not arrived.done():
            receiving = asyncio.ensure_future(self._receive_for_later())
            either: set[asyncio.Future[None]] = {arrived, receiving}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                receiving.cancel()
            if receiving.done() and not receiving.cancelled():
                error = receiving.exception()
                # The connection may have ended in the same turn, but behind the pong.
                if error is not None and not arrived.done():
                    raise error

    async def _receive_for_later(self) -> None:
        async with self._receivers:
            with suppress(PongArrived):
                self._keep(await self._receive())

    async def start_closing(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and go on receiving; see `ClientConnection.start_closing`."""
        if self._is_closed:
            return
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._send_close(code, reason)
        except (OSError, TimeoutError):
            await self._receive_rest()
            raise self._again() from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake; see `ClientConnection.close`."""
        if self._is_closed:
            return
        with self._ending_if_broken_off():
            try:
                async with asyncio.timeout(self._close_timeout):
                    await self._send_close(code, reason)
                    with suppress(*STREAM_ERRORS):
                        await self._until_close_frame()
            except OSError:
                # the peer has gone, or does not read or answer (a TimeoutError is an OSError)
                self._end()
                return
            await self._end_behind()

    async def _until_close_frame(self) -> None:
        while True:
            with suppress(PongArrived):
                if await self._awaitable.receive_message() is None:
                    return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close(code_after(kind))

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while True:
            try:
                message = await self.recv()
            except ConnectionClosed as closed:
                if closed.is_normal:
                    return
                raise
            yield message

    @property
    def _is_closed(self) -> bool:
        return self._closed is not None

    async def _receive(self) -> str | bytes:
        if self._is_closed:
            raise self._again()
        try:
            message = await self._awaitable.receive_message()
        except PEER_ERRORS as error:
            await self._fail(error)
            raise self._again() from error
        except (OSError, *STREAM_ERRORS):
            self._end()
        else:
            if message is not None:
                return message
            await self._end_behind()
        raise self._again()

    async def _fail_send(self, error: Exception) -> NoReturn:
        """Raise what a call that sends raises after this error of the stream."""
        if isinstance(error, stream_exceptions.BadOperationException):
            raise self._refused(error) from None
        await self._receive_rest()
        raise self._again() from None

    async def _send_close(self, code: int, reason: str) -> None:
        if self._session.server_terminated:
            return
        self._check_close(code, reason)
        try:
            await self._awaitable.close_connection(code, reason, False)
        except stream_exceptions.BadOperationException as error:
            raise ValueError(f"cannot close with {code} and {reason!r}: {error}") from None
        self._sent_close = code, reason

    async def _receive_rest(self) -> None:
        """Read what the peer has sent before it went away, for its close frame and for `recv`."""
        with self._ending_if_broken_off(), suppress(FastwshError, TimeoutError, PongArrived):
            async with asyncio.timeout(0):
                while True:
                    self._keep(await self._receive())
        self._end()

    async def _fail(self, error: Exception) -> None:
        """Fail the connection, because the peer has broken a rule (RFC 6455 7.1.7)."""
        code, reason = self._failure(error)
        cause = reason or str(error)
        with self._ending_if_broken_off(cause), suppress(OSError, *STREAM_ERRORS):
            async with asyncio.timeout(END_SECONDS):
                await self._awaitable.close_connection(code, reason, False)
            self._sent_close = code, reason
        await self._end_behind(cause)

    async def _end_behind(self, cause: str = "") -> None:
        """End the TCP connection after the server (RFC 6455 7.1.1), which has limited time."""
        self._remember_end(cause)
        over = asyncio.Event()
        self._async_connection.watch_end_of_rest(over.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await over.wait()
            self._discard_rest()
        finally:
            self._end()

    def _discard_rest(self) -> None:
        """Read what has come: the system resets a connection that is closed with unread bytes."""
        read = partial(self._connection.read, READ_BYTES)
        with suppress(OSError):
            for _ in range(_MAX_DISCARDED_READS):
                if not _core.call_within(0, read):
                    break

    def _end(self, cause: str = "") -> None:
        super()._end(cause)
        self._async_connection.close()


def _within(timeout: float | None) -> asyncio.Timeout:
    """Return the context of a time limit; the event loop does not refuse NaN."""
    check_timeout(timeout)
    return asyncio.timeout(timeout)
