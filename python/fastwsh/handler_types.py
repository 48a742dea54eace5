"""The types of what handlers and clients use, for annotations.

Protocols: whatever has these members will do, so that a handler can be called with an object of a
test as well. A handler that puts attributes of its own on the request names them in a protocol that
inherits from `Request`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableSequence
from typing import Any, Protocol, Self, overload

from fastwsh.running.lifespan import App

__all__ = [
    "App",
    "AsyncConnection",
    "AsyncRequest",
    "AsyncStream",
    "Connection",
    "Data",
    "Headers",
    "RawConnection",
    "Request",
    "Stream",
]

Data = str | bytes | bytearray | memoryview
"""What can be sent."""


class Stream(Protocol):
    """`request.ws_stream` of a handler that is a plain function.

    A method raises `ConnectionTerminatedException` if the connection has ended without a closing
    handshake, and `BadOperationException` for an argument that may not be sent. Both are in
    `pywebsocket3.msgutil`.
    """

    def send_message(self, message: Data, end: bool = True, binary: bool = False) -> None:
        """Send a message, or a piece of one that does not end it; block until the kernel has it.

        A text message is str, a binary one is bytes or the like, and needs `binary`.
        """

    def receive_message(self) -> str | bytes | None:
        """Wait for a message; None when the client has closed."""

    def close_connection(
        self, code: int | None = 1000, reason: str = "", wait_response: bool = True
    ) -> None:
        """Send a close frame, and wait for the client's unless the code is 1001 or 1002.

        Args:
            code: 1000 to 4999 without 1005, 1006 and 1015; None: a close frame without a code.
            reason: At most 123 bytes in UTF-8.
            wait_response: Whether to wait at all.
        """

    def send_ping(self, body: Data, binary: bool = False) -> None:
        """Send a ping with a body of at most 125 bytes."""

    def receive_bytes(self, length: int) -> bytes:
        """Wait for so many raw bytes."""

    def get_last_received_opcode(self) -> int | None:
        """Return the opcode of the last message that was received."""


class AsyncStream(Protocol):
    """`request.ws_stream` of a handler that is a coroutine function."""

    @property
    def blocking(self) -> Stream:
        """The stream for other threads, whose calls wait there and not in the event loop."""

    def send_message(
        self, message: Data, end: bool = True, binary: bool | None = None
    ) -> Awaitable[None]:
        """Send a message, or a piece of one that does not end it.

        It is text if it is str and binary otherwise, unless `binary` says which.
        """

    def receive_message(self) -> Awaitable[str | bytes | None]:
        """Wait for a message; None when the client has closed."""

    def close_connection(
        self, code: int | None = 1000, reason: str = "", wait_response: bool = True
    ) -> Awaitable[None]:
        """Send a close frame, and wait for the client's: see `Stream.close_connection`."""

    def send_ping(self, body: Data, binary: bool = False) -> Awaitable[None]:
        """Send a ping: see `Stream.send_ping`."""

    def get_last_received_opcode(self) -> int | None:
        """Return the opcode of the last message that was received."""

    def __aiter__(self) -> Self:
        """Return the messages until the client closes."""

    def __anext__(self) -> Awaitable[str | bytes]:
        """Wait for the next one."""


class Headers(Protocol):
    """`request.headers_in`: names in any case."""

    def __getitem__(self, name: str) -> str | None:
        """Return the first value of a header, or None."""

    def __contains__(self, name: object) -> bool:
        """Tell whether there is such a header."""

    @overload
    def get(self, name: str, failobj: None = None) -> str | None: ...
    @overload
    def get(self, name: str, failobj: str) -> str: ...

    def get_all(self, name: str) -> list[str] | None:
        """Return all values of a header, or None."""

    def keys(self) -> list[str]:
        """Return the names as they came."""

    def values(self) -> list[str]:
        """Return the values."""

    def items(self) -> list[tuple[str, str]]:
        """Return the names with their values."""


class RawConnection(Protocol):
    """`request.connection`: bytes past the protocol."""

    def write(self, data: bytes) -> int:
        """Send bytes."""

    def read(self, length: int = -1) -> bytes:
        """Wait for bytes, and return at most so many."""

    @property
    def remote_addr(self) -> tuple[Any, ...]:
        """The client's address: host and port, and two numbers more for IPv6."""

    @property
    def local_addr(self) -> tuple[str, int]:
        """The server's name and port."""


class _CommonRequest(Protocol):
    ws_resource: str
    ws_origin: str | None
    ws_version: int
    ws_protocol: str | None
    ws_requested_protocols: list[str] | None
    ws_close_code: int | None
    ws_close_reason: str | None
    client_terminated: bool
    server_terminated: bool

    @property
    def app(self) -> App:
        """The object that all handlers of the server share."""

    @property
    def connection(self) -> RawConnection:
        """The bytes below the messages."""

    @property
    def extra_headers(self) -> MutableSequence[tuple[str, str]]:
        """Headers for the answer, to append to."""

    @property
    def headers_in(self) -> Headers:
        """The headers of the opening handshake."""

    @property
    def method(self) -> str:
        """GET."""

    @property
    def protocol(self) -> str:
        """The version of HTTP."""

    @property
    def uri(self) -> str:
        """The path with its query, as it came."""

    @property
    def unparsed_uri(self) -> str:
        """The same as `uri`, as in pywebsocket."""

    def get_method(self) -> str:
        """Return `method`."""

    def get_protocol(self) -> str:
        """Return `protocol`."""

    def get_uri(self) -> str:
        """Return `uri`."""

    def get_unparsed_uri(self) -> str:
        """Return `unparsed_uri`."""

    def is_https(self) -> bool:
        """Tell whether the connection came by TLS."""


class Request(_CommonRequest, Protocol):
    """The request that a handler gets.

    `ws_stream`, `client_terminated` and `server_terminated` are there once the connection is open.
    """

    on_ping_handler: Callable[["Request", bytes], object] | None
    on_pong_handler: Callable[["Request", bytes], object] | None

    @property
    def ws_stream(self) -> Stream:
        """The messages."""


class AsyncRequest(_CommonRequest, Protocol):
    """The request that a coroutine function gets; see `Request`."""

    on_ping_handler: Callable[["AsyncRequest", bytes], object] | None
    on_pong_handler: Callable[["AsyncRequest", bytes], object] | None

    @property
    def ws_stream(self) -> AsyncStream:
        """The messages."""


class Connection(Protocol):
    """What a client's connection has, and one of a test server for a function of the test."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""

    def send(self, message: str | bytes) -> None:
        """Send a text message, or a binary one."""

    def recv(self, timeout: float | None = None) -> str | bytes:
        """Wait for a message, for at most `timeout` seconds; None: without a limit."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake. The reason has at most 123 bytes in UTF-8."""

    def __iter__(self) -> Iterator[str | bytes]:
        """Return the messages until the peer closes."""


class AsyncConnection(Protocol):
    """A `Connection` of an event loop, whose methods are awaited."""

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""

    async def send(self, message: str | bytes) -> None:
        """Send a text message, or a binary one."""

    async def recv(self, timeout: float | None = None) -> str | bytes:  # noqa: ASYNC109 (as there)
        """Wait for a message."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection."""

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Return the messages until the peer closes."""
