"""Plain HTTP beside the WebSocket handlers of a test server: what it answers, what was asked."""

import threading
from typing import Any, Final, Self

from fastwsh import _core
from fastwsh.running.request import make_headers
from fastwsh.testing.expectation import MISSING
from fastwsh.testing.http_messages import Headers, HttpRequest, HttpResponse

__all__ = ["HttpPath", "HttpPaths", "read_request"]

_CHUNKED: Final = "chunked"
_MAX_LINE_BYTES: Final = 8192


class HttpPath:
    """The answers to the requests for one path and method.

    Attributes:
        path: The path.
        method: The method; None: all that have no answers of their own.
    """

    def __init__(self, path: str, method: str | None) -> None:
        self.path, self.method = path, method
        self._lock = threading.Lock()
        self._requests: list[HttpRequest] = []
        self._responses: list[HttpResponse] = []

    @property
    def requests(self) -> list[HttpRequest]:
        """The requests that came, in order; a copy."""
        with self._lock:
            return list(self._requests)

    def respond(
        self,
        status: int = 200,
        *,
        headers: Headers | None = None,
        body: str | bytes = b"",
        json: Any = MISSING,
    ) -> Self:
        """Add an answer: each request gets the next one, and the last one stays.

        Args:
            status: 200 to 599.
            headers: A mapping or pairs. Content-Length, Content-Type of a text or JSON, and
                `Connection: close` are made if they are not given.
            body: A text, which is sent in UTF-8, or bytes.
            json: A value whose JSON is the body.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        response = HttpResponse(status, headers=headers, body=body, json=json)
        with self._lock:
            self._responses.append(response)
        return self

    def answer(self, request: HttpRequest) -> HttpResponse:
        """Record a request, and return its answer: 200 without a body if there is none."""
        with self._lock:
            self._requests.append(request)
            if not self._responses:
                return HttpResponse()
            return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]


class HttpPaths:
    """All paths of a server that answer plain HTTP."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: dict[tuple[str, str | None], HttpPath] = {}

    def get(self, path: str, method: str | None) -> HttpPath:
        """Return the answers of a path and method; there are none at first."""
        key = path, None if method is None else method.upper()
        with self._lock:
            return self._paths.setdefault(key, HttpPath(*key))

    def paths(self) -> set[str]:
        """Return the paths."""
        with self._lock:
            return {path for path, _ in self._paths}

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._paths.clear()

    def serve(self, connection: _core.Connection) -> None:
        """Answer a request. Raises OSError if the client has gone."""
        request = read_request(connection)
        path = request.path
        with self._lock:
            of_path = {method: one for (place, method), one in self._paths.items() if place == path}
        found = of_path.get(request.method) or of_path.get(None)
        if found is None and request.method == "HEAD":
            found = of_path.get("GET")
        if found is None:
            allowed = ", ".join(sorted(filter(None, of_path)))
            response = HttpResponse(405, headers={"Allow": allowed})
        else:
            response = found.answer(request)
        connection.write(response.format(request.method))


def read_request(connection: _core.Connection) -> HttpRequest:
    """Read the body behind a request's head; one that ends early is what came of it."""
    headers = make_headers(connection.headers)
    if (headers.get("Expect") or "").lower() == "100-continue":
        connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if _CHUNKED in (headers.get("Transfer-Encoding") or "").lower():
        body = _read_chunks(connection)
    else:
        length = headers.get("Content-Length") or "0"
        body = _read_exactly(connection, int(length) if length.isdecimal() else 0)
    return HttpRequest(connection.method, connection.resource, headers, body)


def _read_chunks(connection: _core.Connection) -> bytes:
    """Read a body in chunks, and its trailers (RFC 9112 7.1)."""
    body = bytearray()
    while size := _chunk_size(_read_line(connection)):
        body += _read_exactly(connection, size)
        _read_line(connection)
    while _read_line(connection):
        pass
    return bytes(body)


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        return 0


def _read_line(connection: _core.Connection) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES:
        if not (data := connection.read(1)):
            break
        line += data
    return line.rstrip(b"\r\n")


def _read_exactly(connection: _core.Connection, size: int) -> bytes:
    # bytes that grow would be copied for each piece
    body = bytearray()
    while len(body) < size and (data := connection.read(size - len(body))):
        body += data
    return bytes(body)
