"""`Request`: the argument of handlers, with mod_python's names as in pywebsocket.

Attributes that a handshake sets (`ws_resource`, `ws_stream`, ...) are plain instance attributes:
handlers read, replace and add to them, and look at `vars(request)`.
"""

from __future__ import annotations

import io
import logging
from types import FunctionType

from fastwsh.running.connection_socket import ConnectionSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from http.client import HTTPMessage
    from typing import Any

    from fastwsh._core import Connection

__all__ = ["Request", "RequestHandler", "make_headers"]


def make_headers(fields: Iterable[tuple[str, str]]) -> HTTPMessage:
    """Return the fields as the message class that `http.server` gives handlers.

    Names are looked up without regard to case, a missing name gives None, and `items()` keeps order
    and repetitions.
    """
    from http.client import HTTPMessage  # noqa: PLC0415 (most handlers never read headers)

    headers = HTTPMessage()
    headers._headers = list(fields)  # type: ignore[attr-defined]
    return headers


class _HeadersIn:
    """Makes `headers_in` when it is first read, because most handlers never read it."""

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        if request is None:
            return self
        headers = make_headers(request._native.headers)
        request.headers_in = headers
        return headers


class _RequestHandlerOnce:
    """Makes `_request_handler` when it is first read: it keeps the headers of an answer."""

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        if request is None:
            return self
        handler = vars(request)["_request_handler"] = RequestHandler(request._native)
        return handler


class _AppOfServer:
    """`app`, unless the handler has set an attribute of that name."""

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        return self if request is None else request._native.server._lifespan.app


class _PingHook:
    """`on_ping_handler`, an ordinary attribute; setting it also informs the connection.

    Pings that the handler wants to see are not answered for it (`--pong-while-busy`).
    """

    _NAME = "on_ping_handler"

    def __get__(self, request: Any, owner: type | None = None) -> Any:
        if request is None:
            return self
        try:
            return vars(request)[self._NAME]
        except KeyError:
            raise AttributeError(
                f"{type(request).__name__!r} object has no attribute {self._NAME!r}"
            ) from None

    def __set__(self, request: Any, value: Any) -> None:
        vars(request)[self._NAME] = value
        request._native.set_ping_hook(bool(value))

    def __delete__(self, request: Any) -> None:
        self.__get__(request)
        del vars(request)[self._NAME]
        request._native.set_ping_hook(False)


class Request:
    """One opening handshake, and the connection that it opens.

    Args:
        connection: The native connection.
    """

    # handlers log by it, as by the logger that pywebsocket's own class has
    _logger = logging.getLogger("pywebsocket3.request_handler._StandaloneRequest")
    _request_handler = _RequestHandlerOnce()
    app = _AppOfServer()
    headers_in = _HeadersIn()
    on_ping_handler = _PingHook()
    _refused_with: int | None = None

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        # a handler may put an object of its own in the place of the other, with `read` and `write`
        self._native = connection

    @property
    def uri(self) -> str:
        """The resource with its query, as received."""
        return self._native.resource

    @property
    def unparsed_uri(self) -> str:
        """The same as `uri`, as in pywebsocket."""
        return self._native.resource

    @property
    def method(self) -> str:
        """The request's method."""
        return self._native.method

    @property
    def protocol(self) -> str:
        """The request's HTTP version, such as HTTP/1.1."""
        return self._native.protocol

    def get_uri(self) -> str:
        """Return `uri`."""
        return self.uri

    def get_unparsed_uri(self) -> str:
        """Return `unparsed_uri`."""
        return self.unparsed_uri

    def get_method(self) -> str:
        """Return `method`."""
        return self.method

    def get_protocol(self) -> str:
        """Return `protocol`."""
        return self.protocol

    def is_https(self) -> bool:
        """Tell whether the connection is a TLS connection."""
        return self._native.is_tls


class RequestHandler:
    """The connection in the form of an `http.server` request handler.

    pywebsocket's own request handler was reachable as `request._request_handler`, and some
    handlers read the request or the socket's streams there. What is not here is the method of
    `http.server`, such as `send_error`, which writes to `wfile`.

    Args:
        connection: The native connection.
    """

    # pywebsocket serves one request on each connection.
    close_connection = True
    _logger = logging.getLogger("pywebsocket3.request_handler.WebSocketRequestHandler")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.connection = self.request = ConnectionSocket(connection)
        # unbuffered, as in pywebsocket: `read(n)` returns what is there
        self.rfile = _ReadStream(connection)
        self.wfile = _WriteStream(connection)

    def __getattr__(self, name: str) -> Any:
        from fastwsh.pywebsocket.request_handler import (  # noqa: PLC0415 (few handlers need it)
            WebSocketRequestHandler,
        )

        inherited = getattr(WebSocketRequestHandler, name, None)
        if inherited is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return inherited.__get__(self) if isinstance(inherited, FunctionType) else inherited

    @property
    def headers(self) -> HTTPMessage:
        """The request's headers."""
        return make_headers(self._connection.headers)

    @property
    def path(self) -> str:
        """The resource with its query."""
        return self._connection.resource

    @property
    def command(self) -> str:
        """The request's method."""
        return self._connection.method

    @property
    def requestline(self) -> str:
        """The request line as received, without its line end."""
        return self._connection.request_line

    @property
    def raw_requestline(self) -> bytes:
        """The request line with its line end."""
        return self._connection.get_memorized_lines()[0]

    @property
    def request_version(self) -> str:
        """The request's HTTP version."""
        return self._connection.protocol

    @property
    def client_address(self) -> Any:
        """The peer's address."""
        return self._connection.remote_addr

    def address_string(self) -> str:
        """Return the host of the peer's address."""
        return str(self.client_address[0])

    @property
    def server(self) -> Any:
        """The server."""
        return self._connection.server


class _RawStream(io.RawIOBase):
    """Is closed when the handler has ended."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    @property
    def closed(self) -> bool:
        return super().closed or self._connection.has_ended()

    def flush(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class _ReadStream(_RawStream):
    def readable(self) -> bool:
        return True

    def get_memorized_lines(self) -> Any:
        return self._connection.get_memorized_lines()

    def readinto(self, buffer: Any) -> int:
        data = self._connection.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _WriteStream(_RawStream):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._connection.write(data)
