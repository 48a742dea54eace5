"""Requests and answers of HTTP, as the test server sees and makes them."""

import http
import json as json_module
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Any

from fastwsh.testing.expectation import MISSING

__all__ = ["Headers", "HttpRequest", "HttpResponse", "to_headers"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""Names and values; pairs, where a name comes more than once."""

_NO_BODY = frozenset({204, 304})
# What no field of a header may contain (RFC 9110 5.5).
_LINE_ENDS = frozenset("\r\n\0")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that came to a path of `WsServer.http`.

    Attributes:
        method: The method, such as POST.
        resource: The path with the query.
        headers: The headers; their names are found in any case.
        body: The body; of one that was sent in chunks, what they hold.
    """

    method: str
    resource: str
    headers: HTTPMessage
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.resource.partition("?")[0]

    def json(self) -> Any:
        """Return what the body is the JSON of. Raises ValueError if it is of nothing."""
        return json_module.loads(self.body)


def to_headers(headers: Headers | None) -> list[tuple[str, str]]:
    """Return headers as pairs.

    Raises:
        TypeError: They are no mapping and no pairs, or names or values are no str.
        ValueError: One of them has a line end.
    """
    if headers is None:
        return []
    given: object = headers.items() if isinstance(headers, Mapping) else headers
    if not isinstance(given, Iterable):
        raise TypeError(f"headers={headers!r}; give a mapping, or pairs of a name and a value")
    made: list[tuple[str, str]] = []
    for one in list(given):
        pair = tuple(one) if isinstance(one, Iterable) else (one,)
        if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise TypeError(f"header {pair!r}; give a name and a value, both str")
        if not pair[0] or any(_LINE_ENDS & set(part) for part in pair):
            raise ValueError(f"header {pair!r}; a name is needed, and neither has a line end")
        made.append((pair[0], pair[1]))
    return made


class HttpResponse:
    """An answer that ends the connection.

    Args:
        status: 200 to 599; 101 is what handlers answer.
        headers: Headers; those that are not given are made: Content-Length, Content-Type of a text
            or JSON, `Connection: close`.
        body: A text, which is sent in UTF-8, or bytes.
        json: A value whose JSON is the body.

    Raises:
        TypeError, ValueError: An argument cannot be used.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        headers: Headers | None = None,
        body: str | bytes = b"",
        json: Any = MISSING,
    ) -> None:
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError(f"status {status!r}; give a number from 200 to 599")
        if not 200 <= status <= 599:
            raise ValueError(f"status {status}; an answer has one from 200 to 599")
        if not isinstance(body, str | bytes):
            raise TypeError(f"body {body!r}; give str, bytes, or json= with a value")
        if json is not MISSING:
            if body:
                raise TypeError("give a body or json=, not both")
            body = json_module.dumps(json, ensure_ascii=False)
        self.status = status
        self._headers = to_headers(headers)
        self._body = body.encode() if isinstance(body, str) else body
        kind = "text/plain" if isinstance(body, str) else None
        self._kind = "application/json" if json is not MISSING else kind

    def format(self, method: str = "GET") -> bytes:
        """Return it as bytes, for a request with this method."""
        try:
            reason = http.HTTPStatus(self.status).phrase
        except ValueError:
            reason = ""
        made = [("Content-Length", str(len(self._body))), ("Connection", "close")]
        if self.status in _NO_BODY:
            del made[0]
        elif self._kind is not None:
            made.insert(0, ("Content-Type", f"{self._kind}; charset=utf-8"))
        given = {name.lower() for name, _ in self._headers}
        fields = [*self._headers, *(field for field in made if field[0].lower() not in given)]
        lines = [
            f"HTTP/1.1 {self.status} {reason}",
            *(f"{name}: {value}" for name, value in fields),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        return head if method == "HEAD" or self.status in _NO_BODY else head + self._body
