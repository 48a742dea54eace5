"""Plain HTTP over a raw connection: requests as they are written, answers taken apart."""

import http.client
from dataclasses import dataclass

from conftest import Server
from wire import Client

__all__ = ["Reply", "fetch", "read_reply", "request_head"]


@dataclass(frozen=True)
class Reply:
    """An answer with its whole body."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for n, value in self.headers if n.lower() == name.lower()), None)


def request_head(
    target: str = "/",
    method: str = "GET",
    headers: tuple[str, ...] = (),
    version: str = "HTTP/1.1",
) -> bytes:
    """Write a request head; nothing in it is checked or escaped."""
    lines = [f"{method} {target} {version}", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def read_reply(client: Client, method: str = "GET") -> Reply:
    """Read one answer; the connection is good for the next one."""
    response = client.read_response()
    _, status, reason = response.status_line.split(" ", 2)
    if method == "HEAD" or status in {"204", "304"}:
        body = b""
    elif response.header("Transfer-Encoding") == "chunked":
        body = _read_chunks(client)
    elif (length := response.header("Content-Length")) is not None:
        body = client.read(int(length))
    else:
        body = client.read_to_end()
    return Reply(int(status), reason, response.headers, body)


def _read_chunks(client: Client) -> bytes:
    body = b""
    while size := int(_read_line(client), 16):
        body += client.read(size)
        assert client.read(2) == b"\r\n"
    assert _read_line(client) == b""
    return body


def _read_line(client: Client) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        try:
            line += client.read(1)
        except EOFError as error:
            raise http.client.IncompleteRead(line) from error
    return line[:-2]


def fetch(
    server: Server,
    target: str = "/",
    *,
    method: str = "GET",
    headers: tuple[str, ...] = (),
    body: bytes = b"",
    version: str = "HTTP/1.1",
) -> Reply:
    """Send one request on a connection of its own and read the answer."""
    if body:
        headers = (*headers, f"Content-Length: {len(body)}")
    with server.connect() as client:
        client.send(request_head(target, method, headers, version) + body)
        return read_reply(client, method)
