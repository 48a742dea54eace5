"""`AsyncClientConnection`: an open WebSocket connection, for asyncio.

Connecting is native. A call that may wait for the peer runs in a thread that ends with it; the
class says nothing of that, so that its inside can change.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar
from weakref import WeakKeyDictionary

from fastwsh import _core
from fastwsh.client.connection import MAX_KEPT, ClientConnection, Data, code_after
from fastwsh.client.options import Options
from fastwsh.client.session import Pong
from fastwsh.errors import ConnectionClosed, FastwshError

__all__ = ["AsyncClientConnection", "AsyncConnecting"]

_T = TypeVar("_T")

_REMEDY: Final = (
    "inside a running event loop, connect() gives something to await: write "
    "'await fastwsh.connect(url)' or 'async with fastwsh.connect(url) as connection'; or call "
    "fastwsh.client.connect_sync(url), which blocks the loop"
)


class AsyncConnecting:
    """What `connect` gives inside an event loop: await it, or enter it with `async with`.

    Cancelling gives the attempt up. Each `await` opens a connection of its own.
    """

    def __init__(self, url: str, options: Options) -> None:
        self._url = url
        self._options = options
        self._entered: AsyncClientConnection | None = None

    def __await__(self) -> Generator[Any, None, "AsyncClientConnection"]:
        return self._open().__await__()

    async def _open(self) -> "AsyncClientConnection":
        opened = await _core.connect_async(self._url, self._options.to_core())
        return AsyncClientConnection(ClientConnection(self._url, self._options, opened))

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

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(ClientConnection, name):
            raise TypeError(_REMEDY)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class AsyncClientConnection:
    """An open connection; `await connect(url)` makes it.

    Like `ClientConnection`, with `await`: see there what each method takes and raises. Any task may
    use it; sends leave in call order. A cancelled `recv` loses nothing; a cancelled `send` or
    `close` goes on.

    An asynchronous context manager and iterator, as `ClientConnection` is a plain one.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._kept: deque[str | bytes] = deque()
        self._receiving: asyncio.Future[str | bytes] | None = None
        self._receivers = asyncio.Lock()
        self._senders = asyncio.Lock()
        self._arrived: WeakKeyDictionary[Pong, asyncio.Event] = WeakKeyDictionary()

    @property
    def url(self) -> str:
        """What was connected to."""
        return self._connection.url

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the server chose; None if it chose none."""
        return self._connection.subprotocol

    @property
    def response_headers(self) -> list[tuple[str, str]]:
        """Names, in lower case, and values of the server's answer, in order."""
        return self._connection.response_headers

    @property
    def is_compressed(self) -> bool:
        """Whether permessage-deflate was agreed to."""
        return self._connection.is_compressed

    @property
    def remote_address(self) -> tuple[Any, ...]:
        """The server's address as `socket` has it; empty on a Unix socket."""
        return self._connection.remote_address

    @property
    def close_code(self) -> int | None:
        """The peer's close code, 1006 if it sent none; None while the connection is open."""
        return self._connection.close_code

    @property
    def close_reason(self) -> str | None:
        """The peer's reason; None while the connection is open."""
        return self._connection.close_reason

    async def send(self, message: Data) -> None:
        """Send a message; see `ClientConnection.send`."""
        async with self._senders:
            await asyncio.shield(_in_thread(partial(self._connection.send, message)))

    async def recv(self, timeout: float | None = None) -> str | bytes:  # noqa: ASYNC109 (as in threads)
        """Wait for the next message; see `ClientConnection.recv`."""
        try:
            async with asyncio.timeout(timeout), self._receivers:
                if not self._kept:
                    await asyncio.wait({self._receive()})
                    self._take()
                return self._kept.popleft()
        except TimeoutError:
            raise TimeoutError(f"no message came within {timeout:g} s") from None

    async def ping(self, data: bytes | str | None = None) -> Pong:
        """Send a ping; see `ClientConnection.ping`."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def on_pong(_: Pong) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(arrived.set)

        work = partial(self._connection.ping, data, on_pong=on_pong)
        async with self._senders:
            pong = await asyncio.shield(_in_thread(work))
        self._arrived[pong] = arrived
        return pong

    async def wait_pong(self, pong: Pong, timeout: float | None = None) -> float:  # noqa: ASYNC109
        """Wait for the answer to a ping; see `ClientConnection.wait_pong`."""
        arrived: asyncio.Future[Any] = asyncio.ensure_future(self._arrived[pong].wait())
        try:
            async with asyncio.timeout(timeout), self._receivers:
                while not arrived.done():
                    either: set[asyncio.Future[Any]] = {arrived, self._receive()}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    if self._receive().done():
                        self._take()
        except TimeoutError:
            raise TimeoutError(f"no pong came within {timeout:g} s") from None
        finally:
            arrived.cancel()
        return pong.round_trip or 0.0

    async def start_closing(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame, and go on receiving; see `ClientConnection.start_closing`."""
        async with self._senders:
            work = partial(self._connection.start_closing, code, reason)
            await asyncio.shield(_in_thread(work))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake; see `ClientConnection.close`."""
        work = partial(self._connection.close, code, reason)
        await asyncio.shield(_in_thread(work))

    def disconnect(self) -> None:
        """End the TCP connection at once; see `ClientConnection.disconnect`."""
        self._connection.disconnect()

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

    def _receive(self) -> "asyncio.Future[str | bytes]":
        """The message that is being received; one at a time, whoever waits for it."""
        if self._receiving is None:
            self._receiving = _in_thread(self._connection.recv)
        return self._receiving

    def _take(self) -> None:
        """Keep the message that has been received."""
        receiving, self._receiving = self._receive(), None
        self._kept.append(receiving.result())
        if len(self._kept) > MAX_KEPT:
            raise FastwshError(f"more than {MAX_KEPT} messages wait to be received; call recv()")


def _in_thread(work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Call `work` in a thread that does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()
    # Nobody may be left to await it, which is no error.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def run() -> None:
        try:
            settle = partial(future.set_result, work())
        except BaseException as error:  # noqa: BLE001 (raised by who awaits)
            settle = partial(future.set_exception, error)
        # The loop may have ended.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    threading.Thread(target=run, name="fastwsh-client", daemon=True).start()
    return future
