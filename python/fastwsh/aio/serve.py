"""`serve`: a server for handler files in the event loop of the program that calls it."""

import argparse
import asyncio
import logging
import os
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fastwsh import coroutines, options
from fastwsh.aio.loop import CallersLoop, HandlerLoop
from fastwsh.loading.handler_sources import Handlers, SourcesDispatcher, paths
from fastwsh.server import WebSocketServer
from fastwsh.server_topics import DelegatedTopics
from fastwsh.settings import config, named_options, unused_options

__all__ = ["Server", "serve"]

# What is said by other arguments, is the program's own business, or is for the command line.
_WITHOUT: Final = frozenset(
    {
        *("help", "version", "print_dropin_path", "check", "config_file"),
        *("server_host", "port", "bind", "uds", "fd", "event_loop"),
        *("websock_handlers", "scan_dir", "websock_handlers_map_file", "reload"),
        *("log_file", "log_level", "log_format", "log_max", "log_count", "deflate_log_level"),
        *("thread_monitor_interval_in_sec", "workers"),
    }
)

_LOGGER: Final = logging.getLogger("fastwsh.server")


class Server(DelegatedTopics):
    """A server that `serve` has started.

    Args:
        server: The server.
        dispatcher: Its handlers.
        given: Its options.
    """

    _server: "_ServerInLoop"

    def __init__(
        self, server: "_ServerInLoop", dispatcher: SourcesDispatcher, given: argparse.Namespace
    ) -> None:
        self._server = server
        self._dispatcher = dispatcher
        self._options = given
        self._sockets = tuple(listener for listener, _ in server._sockets)
        self._port: int = self._sockets[0].getsockname()[1]
        self._closing: asyncio.Task[None] | None = None
        self._has_begun_to_close = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="fastwsh-serve", daemon=True)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that it listens on; none once it closes."""
        return () if self._closing is not None else self._sockets

    @property
    def host(self) -> str:
        """The address that it listens on."""
        host: str = self._options.server_host
        return host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def is_serving(self) -> bool:
        """Tell whether it accepts connections."""
        return self._closing is None and self._thread.is_alive()

    def metrics(self) -> str:
        """Return the metrics as of now, in Prometheus' text format."""
        return self._server.metrics()

    async def serve_forever(self) -> None:
        """Wait until the server is closed; when that is cancelled, close it."""
        try:
            await self._has_begun_to_close.wait()
        finally:
            self.close()
            await self.wait_closed()

    def close(self) -> None:
        """Stop accepting, and close every connection with 1001. `wait_closed` waits for the end.

        Connections have `shutdown_timeout` to close, and handlers `cleanup_timeout` after that.
        Belongs to the event loop's thread; others use `call_soon_threadsafe`.
        """
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
            self._has_begun_to_close.set()

    async def wait_closed(self) -> None:
        """Wait until the server is closed, its handlers and their shutdown functions have ended."""
        await self._has_begun_to_close.wait()
        if self._closing is not None:
            # of several that wait, one may be cancelled
            await asyncio.shield(self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        is_listening = asyncio.Event()
        self._server._listen_listeners.append(lambda: loop.call_soon_threadsafe(is_listening.set))
        try:
            # startup functions may block
            await coroutines.call_in_thread(self._server.start_up)
            self._thread.start()
            await is_listening.wait()
        except BaseException:
            self.close()
            await self.wait_closed()
            raise

    def _serve(self) -> None:
        try:
            self._server.serve_forever()
        except Exception:
            _LOGGER.exception("The server failed")

    async def _close(self) -> None:
        server, given = self._server, self._options
        if self._thread.is_alive():
            server.server_close()
        await coroutines.call_in_thread(server.stop, given.shutdown_timeout, given.cleanup_timeout)
        if self._thread.ident is not None:
            await coroutines.call_in_thread(self._thread.join)
        server.server_close()
        self._dispatcher.close()


class serve:  # noqa: N801 (called like a function, as websockets.serve)
    """Serve handler files in the running event loop.

        async with fastwsh.serve("handlers", "127.0.0.1", 9998) as server:
            await server.serve_forever()

    `await fastwsh.serve(...)` returns the `Server`, which has to be closed then. Handlers that are
    coroutine functions run in the event loop that this is awaited in, all others in threads and the
    hub. Startup functions have run when it is there. Signals and logging stay the program's.

    Args:
        handlers: A folder with `*_wsh.py` files, such a file, or several of these.
        host: The address to listen on.
        port: The port; 0 is any free one: `Server.port` tells it.
        options: Options of the server by name, such as `max_message_bytes=100` or
            `strict_compat=True`. No file is served without `document_root`.

    Raises:
        TypeError: There is no such option.
        ValueError: The value of an option cannot be used.
        ConfigError: A handler cannot be loaded or started, or a file cannot be used.
        OSError: The address cannot be listened on.
    """

    def __init__(
        self, handlers: Handlers, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        self._handlers = handlers
        self._options = _make_options(host, port, options)
        self._server: Server | None = None

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.__aexit__(exc_type, exc_value, traceback)

    async def _start(self) -> Server:
        given = self._options
        dispatcher = SourcesDispatcher(paths(self._handlers), given.handler_encoding)
        try:
            server = _ServerInLoop(given, dispatcher)
        except BaseException:
            dispatcher.close()
            raise
        if not server._sockets:
            dispatcher.close()
            raise server.bind_errors[0]
        server._callers_loop = CallersLoop()
        started = Server(server, dispatcher, given)
        await started._start()
        return started


class _ServerInLoop(WebSocketServer):
    """A server whose event loop is the caller's."""

    def __init__(self, given: argparse.Namespace, dispatcher: SourcesDispatcher) -> None:
        self._dispatcher = dispatcher
        self._callers_loop: HandlerLoop | None = None
        # files are served only if the caller names a folder; a device has none
        root = given.document_root
        self._root = os.devnull if root == "." else str(Path(root).resolve())
        super().__init__(given)

    def _load_dispatcher(self, options: Any) -> SourcesDispatcher:
        del options
        return self._dispatcher

    def _document_root(self) -> str:
        return self._root

    def _make_event_loop(self) -> HandlerLoop:
        assert self._callers_loop is not None  # noqa: S101 (it is there before the start)
        return self._callers_loop

    def stop(self, timeout: float, cleanup_timeout: float = 0) -> bool:
        """Stop as ever, and leave the caller's event loop, if no handler has used it either."""
        finished = super().stop(timeout, cleanup_timeout)
        if self._callers_loop is not None:
            self._callers_loop.stop()
        return finished


def _make_options(host: str, port: int, values: dict[str, Any]) -> argparse.Namespace:
    named_options.check_address(host, port)
    parser = options.build_parser()
    given = parser.parse_args([])
    named = named_options.apply(given, parser, values, _WITHOUT, "serve")
    given.server_host, given.port, given.uds = host, port, None
    options.fill_in(given)
    unused_options.tell(parser, given, named)
    config.check_options(given)
    return given
