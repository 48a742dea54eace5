"""A WebSocket server for tests of clients: real, in this process, and wrong when asked to be.

    from fastwsh.testing import running_server

    with running_server() as server:
        server.expect("hello").reply("world")
        ...  # a client connects to server.url

`fastwsh.pytest_plugin` makes fixtures of it, which need no import.
"""

from typing import TYPE_CHECKING, Any

from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import (
    CheckError,
    Disconnected,
    HandlerFailure,
    ScriptError,
    WaitTimeoutError,
)
from fastwsh.testing.expectation import Expectation
from fastwsh.testing.script import Script
from fastwsh.testing.server import WsServer, running_server
from fastwsh.testing.tls import TlsFiles, make_tls_files

if TYPE_CHECKING:
    from fastwsh.testing.awaitable import AsyncConnection

__all__ = [
    "AsyncConnection",
    "CheckError",
    "Connection",
    "Disconnected",
    "Expectation",
    "HandlerFailure",
    "Script",
    "ScriptError",
    "TlsFiles",
    "WaitTimeoutError",
    "WsServer",
    "make_tls_files",
    "running_server",
]


def __getattr__(name: str) -> Any:
    # it imports asyncio
    if name != "AsyncConnection":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastwsh.testing.awaitable import AsyncConnection  # noqa: PLC0415

    return AsyncConnection
