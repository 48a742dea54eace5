"""The client: `connect`, for threads and for asyncio, and a console.

    python -m fastwsh.client ws://localhost:9998/echo

`connect` finds out where it is called; `connect_sync` and `connect_async` are its two forms, with
exact types.
"""

from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from fastwsh import _core
from fastwsh.client.connection import ClientConnection
from fastwsh.client.options import ConnectOptions, Options, check_url
from fastwsh.client.session import Pong
from fastwsh.running_loop import asyncio_runs, running_trio

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from fastwsh.client.aio import AsyncClientConnection, AsyncConnecting

    class Connected(ClientConnection):
        """What `connect` returns, for type checkers: either form, by how it is used."""

        def __await__(self) -> Generator[Any, None, AsyncClientConnection]: ...
        async def __aenter__(self) -> AsyncClientConnection: ...
        async def __aexit__(
            self,
            exc_type: type[BaseException] | None,
            exc_value: BaseException | None,
            traceback: TracebackType | None,
        ) -> None: ...


__all__ = [
    "AsyncClientConnection",
    "AsyncConnecting",
    "ClientConnection",
    "ConnectOptions",
    "Pong",
    "connect",
    "connect_async",
    "connect_sync",
]


_IN_TRIO: Final = (
    "fastwsh.connect needs asyncio, and here trio runs; call "
    "'await trio.to_thread.run_sync(fastwsh.client.connect_sync, url)', and so each method of the "
    "connection, as they block"
)


def connect(url: str, **options: Unpack[ConnectOptions]) -> "Connected":
    """Open a WebSocket connection, from a thread or from an event loop.

    If no asyncio event loop runs in this thread, this is `connect_sync`. Otherwise it is
    `connect_async`; await its result or use it with `async with`.

    Args:
        url: As for `connect_sync`.
        **options: As for `connect_sync`.

    Returns:
        A `ClientConnection`, or an awaitable for an `AsyncClientConnection`.

    Raises:
        RuntimeError: trio runs in this thread. `connect_sync` would block it, so that it is for the
            caller to choose.
    """
    if asyncio_runs():
        return cast("Connected", connect_async(url, **options))
    if running_trio() is not None:
        raise RuntimeError(_IN_TRIO)
    return cast("Connected", connect_sync(url, **options))


def connect_sync(url: str, **options: Unpack[ConnectOptions]) -> ClientConnection:
    """Open a WebSocket connection (RFC 6455 4.1); blocks until it is open.

    Args:
        url: `ws://host[:port]/resource`, `wss://...`, or `ws+unix:///path/of.sock`, which may be
            followed by `:/resource`. ASCII only: percent-encode all other characters.
            `USER:PASSWORD@` before the host becomes an Authorization header, unless `headers` has
            one.
        **options: `subprotocols`, `headers`, `origin`, `compression`, `http_version`,
            `open_timeout`, `close_timeout`, `max_message_bytes`, `proxy`, `on_head`, and for TLS
            `ca_file`, `verify`, `certificate`, `private_key` and `server_hostname`: see
            `options.Options`.

    Returns:
        The connection; use it as a context manager, or close it.

    Raises:
        ConnectArgumentError: The URL, a header, a subprotocol or a file cannot be used.
        ConnectError: The connection could not be opened; the text says why and what to do.
        ConnectProxyError: The proxy cannot reach the server.
        ConnectRefusedError: The server answered with another HTTP status than 101, or over HTTP/2
            than 200.
        ConnectTimeoutError: It was not open within `open_timeout`.
    """
    settings = Options.from_keywords(options)
    check_url(url)
    return ClientConnection(url, settings, _core.connect(url, settings.to_core()))


def connect_async(url: str, **options: Unpack[ConnectOptions]) -> "AsyncConnecting":
    """Open a WebSocket connection without blocking the event loop that runs in this thread.

    Args:
        url: As for `connect_sync`.
        **options: As for `connect_sync`.

    Returns:
        An awaitable and asynchronous context manager for an `AsyncClientConnection`. Awaiting it
        raises the exceptions of `connect_sync`.
    """
    from fastwsh.client.aio import AsyncConnecting  # noqa: PLC0415 (imports asyncio)

    check_url(url)
    return AsyncConnecting(url, Options.from_keywords(options))


def __getattr__(name: str) -> Any:
    if name not in {"AsyncClientConnection", "AsyncConnecting"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastwsh.client import aio  # noqa: PLC0415 (imports asyncio)

    return getattr(aio, name)
