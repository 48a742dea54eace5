"""The real server's side of a proxied connection: the request and the answer, as bytes.

The request is the client's own, so that client and server negotiate key, subprotocols and
extensions themselves. Only its destination is changed.
"""

import base64
import http.client
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fastwsh import _core
from fastwsh.client.options import Options
from fastwsh.errors import ConnectArgumentError
from fastwsh.testing.har import Headers

__all__ = ["Answer", "UpstreamUrl", "open_upstream", "read_answer", "read_body"]

_PIECE_BYTES: Final = 64 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_SWITCHING_PROTOCOLS: Final = 101


class UpstreamUrl:
    """A URL, and the mapping of our paths to paths there.

    Args:
        url: `ws://`, `wss://` or `ws+unix://`.
        headers: Headers to send instead of the client's headers of the same names.

    Raises:
        ConnectArgumentError: The URL or a header cannot be used.
    """

    def __init__(self, url: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._headers = list(headers)
        if url.startswith("ws+unix:"):
            path, _, resource = url.removeprefix("ws+unix://").partition(":")
            if not path.startswith("/"):
                raise ConnectArgumentError(
                    f"cannot record {url!r}: ws+unix:// is followed by the path of the socket"
                )
            self._base, self._host, self._resource = f"ws+unix://{path}:", "localhost", resource
        else:
            parts = urlsplit(url)
            if parts.scheme not in {"ws", "wss"} or not parts.hostname:
                raise ConnectArgumentError(
                    f"cannot record {url!r}: it must be ws://host, wss://host or ws+unix:///path"
                )
            user, has_user, self._host = parts.netloc.rpartition("@")
            self._base = f"{parts.scheme}://{self._host}"
            self._resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            if has_user:
                token = base64.b64encode(unquote(user).encode()).decode()
                self._headers.append(("Authorization", f"Basic {token}"))
        self._names = {name.lower() for name, _ in self._headers}
        for name, value in self._headers:
            try:
                _core.check_header_field(name, value, url)
            except ValueError as error:
                raise ConnectArgumentError(f"cannot send the header {name!r}: {error}") from None

    def url_of(self, resource: str) -> str:
        """Return the URL for a path of ours; `/` stands for this URL itself."""
        return self._base + self.resource_of(resource)

    def resource_of(self, resource: str) -> str:
        """Return the path and the query of that URL."""
        path, mark, query = resource.partition("?")
        if path != "/":
            return resource
        own = self._resource or "/"
        return own.partition("?")[0] + mark + query if mark else own

    def head_for(self, connection: _core.Connection) -> tuple[bytes, Headers]:
        """Return the request for the real server, as bytes and as headers."""
        lines = [line.rstrip(b"\r\n") for line in connection.get_memorized_lines()]
        method, _, version = lines[0].split(b" ", 2)
        resource = self.resource_of(connection.resource).encode("latin-1")
        kept = [b" ".join((method, resource, version))]
        for line in lines[1:]:
            name = line.partition(b":")[0].strip().lower().decode("latin-1")
            if name == "host" and "host" not in self._names:
                kept.append(line.partition(b":")[0] + b": " + self._host.encode("latin-1"))
            elif line and name not in self._names:
                kept.append(line)
        kept += [f"{name}: {value}".encode("latin-1") for name, value in self._headers]
        return b"\r\n".join([*kept, b"", b""]), _parse_fields(kept[1:])


@dataclass
class Answer:
    """The head of an answer.

    Attributes:
        raw: The bytes, including informational answers (1xx) before it.
        head: The bytes without those.
        status: Its status.
        phrase: The reason phrase.
        headers: Names and values, in order.
    """

    raw: bytes
    head: bytes
    status: int
    phrase: str
    headers: Headers

    def header(self, name: str) -> str | None:
        """Return the values of a header, joined; None if it is missing."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def is_compressed(self) -> bool:
        """Whether permessage-deflate was negotiated."""
        extensions = (self.header("Sec-WebSocket-Extensions") or "").split(",")
        return any(one.partition(";")[0].strip() == "permessage-deflate" for one in extensions)


def open_upstream(url: str, head: bytes, options: Options) -> _core.Connection:
    """Connect, and send a request.

    Raises:
        ConnectError: There is no connection.
    """
    opened: tuple[Any, ...] = _core.connect(url, {**options.to_core(), "head": head})
    connection: _core.Connection = opened[0]
    return connection


def read_answer(upstream: _core.Connection, timeout: float | None) -> Answer:
    """Read the head of the answer.

    Raises:
        EOFError: The connection ended before the head; the argument has the bytes so far.
        OSError: The connection was reset.
        TimeoutError: The head did not come in time.
        ValueError: It is not a head of HTTP; the argument has the bytes so far.
    """
    raw = bytearray()
    while True:
        begin = len(raw)
        _core.call_within(timeout, lambda: _read_head(upstream, raw))
        head = bytes(raw[begin:])
        first, *lines = [line.rstrip(b"\r") for line in head.split(b"\n")]
        version, _, rest = first.decode("latin-1").partition(" ")
        status, _, phrase = rest.partition(" ")
        if not version.startswith("HTTP/") or not (status.isdecimal() and len(status) == 3):
            raise ValueError(bytes(raw))
        if not status.startswith("1") or int(status) == _SWITCHING_PROTOCOLS:
            return Answer(bytes(raw), head, int(status), phrase, _parse_fields(lines))


def _read_head(upstream: _core.Connection, raw: bytearray) -> None:
    """Read one head, and add its bytes to `raw`."""
    begin = len(raw)
    # byte by byte, because frames may follow it
    while not raw.endswith((b"\r\n\r\n", b"\n\n"), begin):
        byte = upstream.read(1)
        if not byte:
            raise EOFError(bytes(raw))
        raw += byte
        if len(raw) - begin > _MAX_HEAD_BYTES:
            raise ValueError(bytes(raw))


def _parse_fields(lines: Iterable[bytes]) -> Headers:
    fields = [line.decode("latin-1").partition(":") for line in lines if line]
    return [(name.strip(), value.strip()) for name, colon, value in fields if colon]


def read_body(
    upstream: _core.Connection, answer: Answer, pass_on: Callable[[bytes], object]
) -> bytes:
    """Read the body of a refusal, and pass its bytes on as they arrive.

    Returns:
        The body without its transfer encoding; only its beginning if it is very long.

    Raises:
        OSError: The connection was reset.
    """
    tee = _Tee(answer.head, upstream, pass_on)
    # http.client uses nothing else of a socket
    response = http.client.HTTPResponse(tee)  # type: ignore[arg-type]
    try:
        response.begin()
        return response.read(_MAX_BODY_BYTES)
    except http.client.IncompleteRead as error:
        return error.partial
    except http.client.HTTPException:
        # unknown framing: read everything
        return tee.rest()


class _Tee(io.RawIOBase):
    """The stream for `http.client`: the head, which has been passed on, and the bytes after it.

    Args:
        head: The head.
        upstream: Gives the rest.
        pass_on: Gets the rest.
    """

    def __init__(
        self, head: bytes, upstream: _core.Connection, pass_on: Callable[[bytes], object]
    ) -> None:
        super().__init__()
        self._head = head
        self._upstream = upstream
        self._pass_on = pass_on

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Act as a socket. The buffer is one byte, because there may be no more."""
        return io.BufferedReader(self, 1)

    def readable(self) -> bool:
        """Do as the base class."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there."""
        if self._head:
            data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        else:
            data = self._upstream.read(len(buffer))
            if data:
                self._pass_on(data)
        buffer[: len(data)] = data
        return len(data)

    def rest(self) -> bytes:
        """Read all that is left, piece by piece."""
        rest = bytearray()
        while data := self._upstream.read(_PIECE_BYTES):
            self._pass_on(data)
            rest += data
        return bytes(rest)
