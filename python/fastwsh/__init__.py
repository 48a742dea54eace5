"""fastwsh: a WebSocket server that runs pywebsocket handlers, with a core in Rust.

    python -m fastwsh -p 9998 -w example/

Handlers import `pywebsocket3` or `mod_pywebsocket`; inside this server both names are
`fastwsh.pywebsocket`. `fastwsh.connect(url)` is the client half and `fastwsh.serve(handlers)` the
server in an asyncio program, loaded when they are first used.
Importing `fastwsh` alone changes nothing in the process.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from fastwsh._core import __version__
    from fastwsh.aio.serve import serve
    from fastwsh.client import connect
    from fastwsh.errors import (
        ConnectArgumentError,
        ConnectError,
        ConnectionClosed,
        ConnectProxyError,
        ConnectRefusedError,
        ConnectTimeoutError,
        FastwshError,
    )
    from fastwsh.handler_types import (
        App,
        AsyncConnection,
        AsyncRequest,
        AsyncStream,
        Connection,
        Request,
        Stream,
    )

__all__ = [
    "App",
    "AsyncConnection",
    "AsyncRequest",
    "AsyncStream",
    "ConnectArgumentError",
    "ConnectError",
    "ConnectProxyError",
    "ConnectRefusedError",
    "ConnectTimeoutError",
    "Connection",
    "ConnectionClosed",
    "FastwshError",
    "Refusal",
    "Request",
    "Stream",
    "__version__",
    "connect",
    "serve",
]

_TYPES: Final = frozenset(
    {"App", "AsyncConnection", "AsyncRequest", "AsyncStream", "Connection", "Request", "Stream"}
)


def __getattr__(name: str) -> Any:
    # Servers need none of these, and a test run without a server not even the native module.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        from fastwsh import _core as module  # noqa: PLC0415
    elif name == "connect":
        from fastwsh import client as module  # type: ignore[no-redef]  # noqa: PLC0415
    elif name == "serve":
        from fastwsh.aio import serve as module  # type: ignore[no-redef]  # noqa: PLC0415
    elif name == "Refusal":
        from fastwsh import refusal as module  # type: ignore[no-redef]  # noqa: PLC0415
    elif name in _TYPES:
        from fastwsh import handler_types as module  # type: ignore[no-redef]  # noqa: PLC0415
    else:
        from fastwsh import errors as module  # type: ignore[no-redef]  # noqa: PLC0415
    value = globals()[name] = getattr(module, name)
    return value
