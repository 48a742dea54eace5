"""Servers for the tests of the client: one that does exactly what a test says, byte by byte."""

import asyncio
import hashlib
import selectors
import socket
import threading
from base64 import b64encode
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from websockets.sync.server import ServerConnection, serve

import fastwsh
from wire import DEADLINE_SECONDS, Client, Response

__all__ = ["Peer", "accept_value", "run_until_closed", "serving", "serving_socket"]

_T = TypeVar("_T")


def run_until_closed(work: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run`, which ends when the sockets of the loop are closed as well.

    aiohttp does not wait for the end of its TLS connections. A loop that is closed before leaves a
    transport, whose warning then reaches whatever test runs when it is collected.
    """
    selector = selectors.DefaultSelector()
    with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, selector)) as runner:
        runner.get_loop()
        own = len(selector.get_map())

        async def closed() -> None:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while len(selector.get_map()) > own:  # noqa: ASYNC110 (it tells nobody)
                    await asyncio.sleep(0.001)

        try:
            return runner.run(work)
        finally:
            runner.run(closed())


@pytest.fixture
def echo_url() -> Iterator[str]:
    """The URL of an echo server of websockets."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(DEADLINE_SECONDS)


def run_within_deadline(work: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function in a new event loop, with a deadline."""

    async def within_deadline() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work()

    asyncio.run(within_deadline())


def accept_value(key: str) -> str:
    """The Sec-WebSocket-Accept value for a key."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return b64encode(digest).decode()


class Peer(Client):
    """The server's end of one connection."""

    request: Response

    def read_request(self) -> None:
        """Read the opening request."""
        self.request = self.read_response()

    def answer(
        self,
        headers: Iterable[tuple[str, str]] = (),
        *,
        behind: bytes = b"",
        pieces: int | None = None,
    ) -> None:
        """Read the opening request and accept it, with bytes behind the head in the same send."""
        self.read_request()
        lines = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_value(self.request.header("Sec-WebSocket-Key") or ""),
        }
        own = list(headers)
        for name, _ in own:
            lines.pop(name, None)
        head = ["HTTP/1.1 101 Switching Protocols"]
        head += [f"{name}: {value}" for name, value in [*lines.items(), *own]]
        data = "\r\n".join([*head, "", ""]).encode("latin-1") + behind
        size = pieces or len(data)
        for start in range(0, len(data), size):
            self.send(data[start : start + size])


@contextmanager
def serving_socket(script: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by `script`, in a thread; give its URL.

    An exception of the script fails the test. The connection ends when the script returns.
    """
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)

        def run() -> None:
            try:
                connected, _ = listener.accept()
                connected.settimeout(DEADLINE_SECONDS)
                with connected:
                    script(connected)
            except BaseException as error:  # noqa: BLE001 (told by the test's own thread)
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "the script of the peer does not end"
    if failures:
        raise failures[0]


@contextmanager
def serving(script: Callable[[Peer], None]) -> Iterator[str]:
    """Serve one connection by `script`, as `serving_socket` does."""

    def run(connected: socket.socket) -> None:
        with Peer.over(connected) as peer:
            script(peer)

    with serving_socket(run) as url:
        yield url


def refused_with(script: object, **options: object) -> fastwsh.ConnectError:
    with serving(script) as url, pytest.raises(fastwsh.ConnectError) as caught:  # type: ignore[arg-type]
        fastwsh.connect(url, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert url.split("/")[2] in text
    return caught.value


def refused(url: str, **options: object) -> fastwsh.ConnectError:
    """The error of connecting, which has one sentence."""
    with pytest.raises(fastwsh.ConnectError) as caught:
        fastwsh.connect(url, http_version=2, **options)
    assert "\n" not in str(caught.value)
    return caught.value
