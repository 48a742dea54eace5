"""What the page of the inspector does, without a browser."""

import json
import re
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import fastwsh
from conftest import Server
from wire import DEADLINE_SECONDS

LINE = r"Inspector (on|opened; another browser can open) (?P<url>http://127\.0\.0\.1:(?P<port>\d+)/\?token=\S+)"

# How often pages of a server have been opened: each time, the log names another URL.
_OPENED: WeakKeyDictionary[Server, int] = WeakKeyDictionary()


def inspector_url(server: Server) -> str:
    """The URL that the log names last, which the caller opens."""
    count = _OPENED.get(server, 0)
    _OPENED[server] = count + 1
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        matches = [match for line in server.log.lines if (match := re.search(LINE, line))]
        if len(matches) > count:
            return matches[count]["url"]
        assert time.monotonic() < deadline, server.log.lines
        server.log.wait_for(LINE)
        time.sleep(0.01)


def ask(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[HTTPResponse, str]:
    """Ask once; return the answer and its text."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE_SECONDS)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, headers=dict(headers or {}))
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def cookie_of(response: HTTPResponse) -> str:
    return (response.getheader("Set-Cookie") or "").partition(";")[0]


class Page:
    """An open page: it has the cookie, and its feed is connected."""

    def __init__(self, url: str) -> None:
        self.base = url.partition("/?")[0]
        response, self.text = ask(url)
        assert response.status == 200, (response.status, self.text)
        self.cookie = cookie_of(response)
        self.feed = self.connect_feed()
        self.requests = 0
        self.watches = 0
        self.frames: list[dict[str, Any]] = []
        self.last: dict[str, dict[str, Any]] = {}
        self.samples: list[list[float]] = []
        self.log: list[str] = []

    def connect_feed(self, **headers: str) -> Any:
        headers = {"Origin": self.base, "Cookie": self.cookie, **headers}
        place = self.base.replace("http:", "ws:")
        return fastwsh.connect(f"{place}/feed", headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.feed.close()

    def send(self, **value: Any) -> None:
        self.feed.send(json.dumps(value))

    def watch(self, view: str, **details: Any) -> None:
        self.last.clear()
        self.frames.clear()
        self.watches += 1
        self.send(type="watch", view=view, query=self.watches, **details)

    def do(self, action: str, **details: Any) -> Any:
        """Act, and return the result; RuntimeError if it is refused."""
        self.requests += 1
        number = self.requests
        self.send(type="do", action=action, request=number, **details)
        self.wait(lambda: self.last.get("reply", {}).get("request") == number)
        reply = self.last["reply"]
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply["result"]

    def wait(self, is_there: Callable[[], object]) -> None:
        """Take what comes until something is there."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_there():
            left = deadline - time.monotonic()
            assert left > 0, (self.last, self.frames)
            self._take(left)

    def _take(self, seconds: float) -> None:
        value = json.loads(self.feed.recv(timeout=seconds))
        kind = value.pop("type")
        if value.pop("query", self.watches) != self.watches:
            # an answer to what was watched before
            return
        if kind == "frames":
            self.frames += value["records"]
        elif kind == "samples":
            self.samples += value["samples"]
        elif kind == "log":
            self.log += [line["text"] for line in value["lines"]]
        self.last[kind] = value

    def rows(self, **query: Any) -> list[dict[str, Any]]:
        """The connections, as the table shows them."""
        self.watch("connections", **query)
        self.wait(lambda: "connections" in self.last)
        found: list[dict[str, Any]] = self.last["connections"]["rows"]
        return found

    def wait_for_row(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the table shows a connection."""
        self.watch("connections", descending=True)

        def found() -> list[dict[str, Any]]:
            return [row for row in self.last.get("connections", {}).get("rows", ()) if is_it(row)]

        self.wait(found)
        return found()[0]

    def shown(self) -> list[tuple[str, int, bool, str]]:
        """The frames so far: who sent them, opcode, FIN, and the payload as text."""
        return [
            (
                "client" if record["received"] else "server",
                record["first"] & 0xF,
                bool(record["first"] & 0x80),
                record.get("text", record.get("hex", "")),
            )
            for record in self.frames
            if "note" not in record
        ]

    def find(self, resource: str) -> int:
        """Wait until a connection is open; return its number."""
        row = self.wait_for_row(lambda row: row["resource"] == resource and row["state"] == "open")
        number: int = row["id"]
        return number

    def wait_for(self, number: int, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the table shows a connection in some state."""
        return self.wait_for_row(lambda row: row["id"] == number and is_it(row))

    def notes(self) -> list[str]:
        return [record["note"] for record in self.frames if "note" in record]
