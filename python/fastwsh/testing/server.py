"""`WsServer`: a real server in this process, whose handlers, scripts and faults a test chooses."""

import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from fastwsh import coroutines
from fastwsh.loading.handler_sources import Handlers, paths
from fastwsh.server_topics import DelegatedTopics
from fastwsh.testing.arguments import check_path, check_timeout
from fastwsh.testing.awaitable_server import AwaitableServer
from fastwsh.testing.blocking import refuse_in_event_loop
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.errors import CheckError, HandlerFailure
from fastwsh.testing.functions import call, check_function, check_handler
from fastwsh.testing.handshakes import Handshake
from fastwsh.testing.http_messages import Headers, to_headers
from fastwsh.testing.log import ServerLog
from fastwsh.testing.record import ServerRecord
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.server_address import ServerAddress
from fastwsh.testing.server_faults import ServerFaults
from fastwsh.testing.server_life import HANDLER_SECONDS, ServerLife
from fastwsh.testing.server_scripts import ServerScripts
from fastwsh.testing.settings import make_options
from fastwsh.testing.subprotocols import check_subprotocols, choose_subprotocol
from fastwsh.testing.tls import TlsFiles

if TYPE_CHECKING:
    from fastwsh.testing.awaitable import AsyncConnection
    from fastwsh.testing.connection import Connection
    from fastwsh.testing.replaying import Replay
    from fastwsh.testing.script import Script

__all__ = ["Handlers", "WsServer", "running_server"]

_HandlerT = TypeVar(
    "_HandlerT",
    bound=Callable[["Connection"], object] | Callable[["AsyncConnection"], Awaitable[object]],
)

# The type of a function is what callers see of it.
_FunctionT = TypeVar("_FunctionT", bound=Callable[..., Any])


class WsServer(
    ServerAddress, ServerRecord, ServerScripts, ServerFaults, ServerLife, DelegatedTopics
):
    """A WebSocket server for tests of clients; `with` starts and stops it.

    It listens on a real port, so that clients in any language can connect. A path without a handler
    is answered 404. Its handlers come from files, from functions (`handler`) and from scripts
    (`expect`, `reply`, `script`), and each has a thread of its own. Everything may be called from
    any thread; what waits blocks the caller, and is awaited in a coroutine by way of `aio`.

    Args:
        handlers: Folders with `*_wsh.py` files, or such files. A file is served at its own name.
        host: The address to listen on.
        port: The port; 0, the default, is any free one, so that tests can run side by side.
        uds: The path of a Unix socket to listen on, in place of host and port. It may have some
            100 bytes, the system's limit.
        tls: The certificate, for wss:// URLs.
        options: Options of the server by name, such as `max_message_bytes=100` or
            `strict_compat=True`. Unlike on the command line, `concurrency` is "threads": faults
            that wait would keep the hub waiting; and no file is served without `document_root`.

    Raises:
        TypeError: There is no such option.
        ValueError: The value of an option cannot be used.
        ConfigError: A file or the address cannot be used, or a handler cannot be loaded.
    """

    def __init__(
        self,
        handlers: Handlers | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        uds: str | PathLike[str] | None = None,
        tls: TlsFiles | None = None,
        **options: Any,
    ) -> None:
        ServerAddress.__init__(self, host, uds, tls)
        settings = make_options(options, host=host, port=port, uds=self.uds, tls=tls)
        ServerRecord.__init__(self, Recorder(), ServerLog())
        ServerScripts.__init__(self)
        ServerFaults.__init__(self)
        self._added: set[str] = set()
        with self._log.here():
            self._dispatcher = RecordingDispatcher(
                paths(handlers), self._recorder, self._faults, settings.handler_encoding
            )
        ServerLife.__init__(self, settings)

    def __repr__(self) -> str:
        state = "" if self.is_running else f" ({self._state})"
        return f"<{type(self).__name__} {self.url}{state}>"

    @property
    def aio(self) -> AwaitableServer:
        """The calls that wait, for coroutines of asyncio or trio: `await wsserver.aio.stop()`."""
        return AwaitableServer(self)

    @property
    def inspector_url(self) -> str | None:
        """The URL that opens the page of the option `inspect`, once; None without it."""
        return self._server.inspector_url

    def handler(
        self,
        path: str,
        *,
        subprotocols: Sequence[str] | None = None,
        headers: Headers | Callable[[Handshake], Headers] | None = None,
        loop: Literal["server", "test"] = "server",
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Serve a path by the decorated function, in place of what served it before.

        The function is called with each `Connection`, in a thread of its own; a coroutine function
        with an `AsyncConnection`, on the server's event loop. When it returns, the connection is
        closed with 1000.

        Args:
            path: The path in the URL.
            subprotocols: What it speaks: the first that the client offers of these is chosen, and
                a client that offers others only is refused with 400. None: whatever the client
                offers first.
            headers: Headers for the answer that opens the connection, such as Set-Cookie; or a
                function that makes them of the handshake. What it raises fails the test.
            loop: Where a coroutine function runs: "server": in the server's event loop, which has
                a thread of its own, so that it goes on while the test blocks. "test": in the event
                loop that calls this, so that what belongs to that can be used, as an
                `asyncio.Event` of the test; it goes on only while that loop does.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        path = check_path(path)
        test_loop = _running_loop() if loop == "test" else None
        if loop not in {"server", "test"}:
            raise ValueError(f'loop={loop!r}; it is "server" or "test"')
        known = check_subprotocols(subprotocols)
        make_headers = headers if callable(headers) else None
        if make_headers is not None:
            check_function(make_headers, "headers")
        added = [] if callable(headers) else to_headers(headers)

        def open_handshake(request: Any) -> None:
            choose_subprotocol(request, known)
            made = added if make_headers is None else self._made(make_headers, request)
            request.extra_headers.extend(made)

        def register(function: _HandlerT) -> _HandlerT:
            check_handler(function, f"handler({path!r}) of")
            if test_loop is not None and not coroutines.is_coroutine_function(function):
                raise TypeError(f'loop="test" is for a coroutine function, not {function!r}')
            serve = function if test_loop is None else _in_loop(function, test_loop)
            self._dispatcher.add_function(path, serve, open_handshake)
            self._added.add(path)
            return function

        return register

    def _made(
        self, make_headers: Callable[[Handshake], Headers], request: Any
    ) -> list[tuple[str, str]]:
        handshake = Handshake(request)
        try:
            return to_headers(call(make_headers, handshake))
        except Exception as error:
            self._recorder.note_error(handshake.path, error)
            raise

    def check(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Fail if a handler has raised an exception, or a script was not played to its end.

        That a client has closed, or is gone, is no error of a handler. While the server runs, a
        handler whose connection is open may still fail after this; `stop` first to be sure, as the
        fixtures do.

        Args:
            timeout: Seconds that scripts which have begun may take for the rest; None: no limit.

        Raises:
            CheckError: The text names the handlers and the steps.
            RuntimeError: An event loop runs in the calling thread; it has `aio.check` for that.
        """
        __tracebackhide__ = True
        refuse_in_event_loop("check()", "await wsserver.aio.check() there")
        check_timeout(timeout)
        scripts: list[Script | Replay] = [*self._all_scripts(), *self._replays]
        if self._state != "stopped":
            self._recorder.wait_until(lambda: all(one.is_settled for one in scripts), timeout)
        errors = self.take_errors()
        for script in scripts:
            if failure := script.unfinished():
                errors.append(HandlerFailure(script.path, failure, str(failure)))
        if errors:
            raise CheckError(errors) from errors[0].exception

    def clear(self) -> None:
        """Make the server as new: without functions, scripts and faults, its record empty.

        Connections that are open are reset, handshakes that hang are let go of; handlers of files
        stay. A server that does not run stays so.

        Raises:
            RuntimeError: An event loop runs in the calling thread; it has `aio.clear` for that.
        """
        refuse_in_event_loop("clear()", "await wsserver.aio.clear() there")
        self._recorder.is_closing = True
        self._faults.clear()
        self._end_recording()
        for connection in self._recorder.running():
            connection.drop()
        self._recorder.wait_idle(HANDLER_SECONDS)
        self._dispatcher.http.clear()
        for path in self._added:
            self._dispatcher.restore(path)
        self._added.clear()
        self._scripts.clear()
        self._replays.clear()
        self._recorder.forget()
        self._log.lines.clear()
        self._recorder.is_closing = self._state == "stopped"


def running_server(
    handlers: Handlers | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: str | PathLike[str] | None = None,
    tls: TlsFiles | None = None,
    **options: Any,
) -> "_Running":
    """Run a server while the context lasts, and `check` it at the end unless that is an exception.

    `with running_server() as server` is for functions, `async with` for coroutines of asyncio and
    trio.

    Args:
        handlers: As for `WsServer`, and so are the others.
        host: The address to listen on.
        port: The port; 0 is any free one.
        uds: The path of a Unix socket to listen on instead.
        tls: The certificate, for wss:// URLs.
        options: Options of the server by name.
    """
    return _Running(lambda: WsServer(handlers, host=host, port=port, uds=uds, tls=tls, **options))


class _Running(
    contextlib.ContextDecorator,
    contextlib.AbstractContextManager[WsServer],
    contextlib.AbstractAsyncContextManager[WsServer],
):
    """The context of `running_server`, which may also decorate a function, plain or coroutine."""

    _server: WsServer

    def __init__(self, make: Callable[[], WsServer]) -> None:
        self._make = make

    def __call__(self, function: _FunctionT) -> _FunctionT:
        if not coroutines.is_coroutine_function(function):
            return super().__call__(function)

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            async with _Running(self._make):
                return await function(*args, **kwargs)

        return cast("_FunctionT", call)

    def __enter__(self) -> WsServer:
        self._server = self._make()
        return self._server.__enter__()

    def __exit__(self, *raised: object) -> None:
        self._server.__exit__(*raised)
        if raised[0] is None:
            refuse_in_event_loop(
                "the end of `with running_server()`", "write `async with running_server()` there"
            )
            self._server.check()

    async def __aenter__(self) -> WsServer:
        self._server = self._make()
        return await self._server.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        await self._server.__aexit__(*raised)
        if raised[0] is None:
            await self._server.aio.check()


def _running_loop() -> Any:
    import asyncio  # noqa: PLC0415 (only programs with a loop need it)

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            'handler(loop="test") must be called in a coroutine of asyncio, whose loop it is to use'
        ) from None


def _in_loop(function: Callable[[Any], Any], loop: Any) -> Callable[[Any], Any]:
    from fastwsh.testing import awaitable  # noqa: PLC0415 (imports asyncio, which few tests need)

    return awaitable.in_loop(function, loop)
