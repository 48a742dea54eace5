"""Servers for the tests of the client: one that does exactly what a test says, byte by byte."""

import hashlib
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from wire import DEADLINE_SECONDS, Client, Response

__all__ = ["Peer", "accept_value", "serving"]


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
def serving(script: Callable[[Peer], None]) -> Iterator[str]:
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
                with Peer.over(connected) as peer:
                    script(peer)
            except BaseException as error:  # noqa: BLE001 (told by the test's own thread)
                failures.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive(), "the script of the peer does not end"
    if failures:
        raise failures[0]
