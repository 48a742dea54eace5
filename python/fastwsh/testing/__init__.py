"""A WebSocket server for tests of clients: real, in this process, and wrong when asked to be.

    from fastwsh.testing import running_server

    with running_server() as server:
        server.expect("hello").reply("world")
        ...  # a client connects to server.url

`fastwsh.pytest_plugin` makes fixtures of it, which need no import.
"""

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

__all__ = [
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
