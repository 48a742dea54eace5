"""The types of ASGI, and the scope of a connection (ASGI 3.0, WebSocket part 2.5)."""

import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from fastwsh import _core

__all__ = ["VERSIONS", "Application", "Event", "header_pairs", "make_scope"]

Event = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]],
    Awaitable[None],
]

VERSIONS: Final = {"version": "3.0", "spec_version": "2.5"}


def make_scope(request: Any, root_path: str, state: dict[str, Any]) -> Event:
    """Return the scope of a connection for its opening handshake.

    Args:
        request: The handler's request.
        root_path: The path below which the application is mounted, for its own URLs.
        state: What the application's lifespan has put into its state.
    """
    connection = request._native
    # of HTTP/1.1, a resource has one character for each byte; later versions have UTF-8
    encoding = "latin-1" if connection.protocol.startswith("HTTP/1") else "utf-8"
    path, _, query = request.ws_resource.encode(encoding, "replace").partition(b"?")
    return {
        "type": "websocket",
        "asgi": VERSIONS,
        "http_version": connection.protocol.removeprefix("HTTP/").removesuffix(".0"),
        "scheme": "wss" if connection.is_tls else "ws",
        "path": urllib.parse.unquote(path),
        "raw_path": path,
        "query_string": query,
        "root_path": root_path,
        # names that begin with a colon are no headers (RFC 9113 8.3)
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in connection.headers
            if not name.startswith(":")
        ],
        "client": _address(connection.remote_addr),
        "server": _address(connection.local_addr),
        "subprotocols": list(request.ws_requested_protocols or ()),
        "state": state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def header_pairs(event: Event) -> list[tuple[str, str]]:
    """Return the headers of an application's event as text.

    Raises:
        TypeError: One is not bytes.
        ValueError: One cannot be sent, or would be several (RFC 9110 5.5).
    """
    pairs = []
    for name, value in event.get("headers") or ():
        if isinstance(name, str) or isinstance(value, str):
            raise TypeError(f"a header of an ASGI event is two bytes, not {name!r} and {value!r}")
        pair = bytes(name).decode("latin-1"), _text(bytes(value))
        is_name = 0 < len(pair[0]) == _core.scan_token(pair[0])
        if not is_name or any(sign in pair[1] for sign in "\r\n\0"):
            raise ValueError(f"header {pair[0]!r} with the value {pair[1]!r} cannot be sent")
        pairs.append(pair)
    return pairs


def _text(value: bytes) -> str:
    """Return a header's value, which is sent as UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _address(address: Any) -> tuple[str, int] | None:
    """Return host and port; None for the empty address of a Unix socket."""
    return (address[0], address[1]) if len(address) >= 2 else None
