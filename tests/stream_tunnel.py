"""What clients of HTTP/2 and HTTP/3 have in common: requests, and WebSockets on streams."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from wire import CLOSE, Frame, encode_frame

__all__ = ["Asks", "Headers", "HttpStream", "Tunnel"]

Headers = Iterable[tuple[str, str]]


@dataclass
class HttpStream:
    """What has come on a stream."""

    interim: list[int] = field(default_factory=list)
    """The statuses of interim answers (RFC 9110 15.2)."""
    headers: dict[str, str] | None = None
    all_headers: list[tuple[str, str]] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    reset_code: int | None = None

    def take_head(self, fields: list[tuple[str, str]]) -> None:
        """Take the head of an answer, or of an interim one; trailers count as a head."""
        status = int(dict(fields).get(":status", "0"))
        if 100 <= status < 200:
            self.interim.append(status)
        else:
            self.all_headers, self.headers = fields, dict(fields)

    @property
    def status(self) -> int:
        assert self.headers is not None
        return int(self.headers[":status"])


class Tunnel:
    """An open WebSocket on a stream of HTTP/2 or HTTP/3.

    Args:
        client: An `Http2Client` or an `Http3Client`.
        stream: The number of the stream.
    """

    def __init__(self, client: Any, stream: int) -> None:
        self.client = client
        self.stream = stream
        self.state = client.streams[stream]

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.client.send(self.stream, data, end=end)

    def send_frame(self, opcode: int, payload: bytes = b"", **more: object) -> None:
        self.send(encode_frame(opcode, payload, **more))  # type: ignore[arg-type]

    def send_close(self, code: int = 1000) -> None:
        self.send_frame(CLOSE, code.to_bytes(2))

    def read(self, count: int) -> bytes:
        """Wait for so many bytes."""
        state = self.state
        self.client.wait(
            lambda: len(state.data) >= count or state.has_ended or state.reset_code is not None
        )
        assert len(state.data) >= count, state
        data = bytes(state.data[:count])
        del state.data[:count]
        return data

    def read_frame(self) -> Frame:
        """Wait for a frame."""
        first, second = self.read(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8))
        assert not second & 0x80
        return Frame(first & 0x0F, self.read(size), bool(first & 0x80), first >> 4 & 0x7)

    def wait_end(self) -> Any:
        return self.client.wait_end(self.stream)

    def reset(self) -> None:
        self.client.reset(self.stream)


_S = TypeVar("_S", bound=HttpStream)


class Asks(ABC, Generic[_S]):
    """The requests of a client, whose streams are of a type."""

    authority: str
    scheme: str
    streams: dict[int, _S]

    @abstractmethod
    def open_stream(self, headers: Headers, *, end_stream: bool = False) -> int:
        """Send a head; return the stream."""

    @abstractmethod
    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send data."""

    @abstractmethod
    def wait(self, is_there: Callable[[], object]) -> None:
        """Take what comes until something is there."""

    @abstractmethod
    def wait_for_settings(self) -> None:
        """Wait until the server has said that it supports extended CONNECT."""

    def request(
        self,
        path: str,
        method: str = "GET",
        headers: Headers = (),
        body: bytes | None = None,
        authority: str | None = None,
    ) -> int:
        """Ask for a page; return the stream."""
        fields = self._fields(path, method, headers, authority)
        stream = self.open_stream(fields, end_stream=body is None)
        if body is not None:
            self.send(stream, body, end=True)
        return stream

    def announce(self, path: str, method: str, headers: Headers) -> int:
        """Send a request's head, which a body is to follow; return the stream."""
        return self.open_stream(self._fields(path, method, headers))

    def _fields(
        self, path: str, method: str, headers: Headers, authority: str | None = None
    ) -> list[tuple[str, str]]:
        return [
            (":method", method),
            (":scheme", self.scheme),
            (":authority", authority or self.authority),
            (":path", path),
            *headers,
        ]

    def fetch(
        self, path: str, method: str = "GET", headers: Headers = (), body: bytes | None = None
    ) -> _S:
        """Ask for a page and wait for all of it."""
        return self.wait_end(self.request(path, method, headers, body))

    def connect(
        self,
        path: str,
        headers: Headers = (),
        *,
        protocol: str = "websocket",
        version: str | None = "13",
        authority: str | None = None,
    ) -> int:
        """Ask for a WebSocket; return the stream."""
        pseudo = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", self.scheme),
            (":authority", authority or self.authority),
            (":path", path),
        ]
        if version is not None:
            pseudo.append(("sec-websocket-version", version))
        self.wait_for_settings()
        return self.open_stream([*pseudo, *headers])

    def websocket(self, path: str, headers: Headers = ()) -> Tunnel:
        """Open a WebSocket."""
        stream = self.connect(path, headers)
        answer = self.wait_headers(stream)
        assert answer.status == 200, answer
        return Tunnel(self, stream)

    def wait_headers(self, stream: int) -> _S:
        """Wait for the answer's head."""
        found = self.streams[stream]
        self.wait(lambda: found.headers is not None or found.reset_code is not None)
        return found

    def wait_end(self, stream: int) -> _S:
        """Wait for the end of a stream, or its reset."""
        found = self.streams[stream]
        self.wait(lambda: found.has_ended or found.reset_code is not None)
        return found
