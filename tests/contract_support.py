"""How the contract tests serve a handler of their own and talk to it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from conftest import Server, StartServer, WriteHandler
from wire import CLOSE, TEXT, Client

PATH = "/h"

Serve = Callable[..., Server]
"""Serve this handler, `transfer_data`'s lines or a whole module, at `PATH`."""


@pytest.fixture
def serve(start_server: StartServer, write_handler: WriteHandler) -> Serve:
    """Serve a handler at `PATH`: the lines of `transfer_data`, or a whole module."""

    def serve(body: str, *args: str) -> Server:
        write_handler(PATH.removeprefix("/"), body)
        return start_server("-w", "handlers", *args)

    return serve


def extra_handshake(lines: str, transfer: str = "pass") -> str:
    """A handler whose extra handshake, and perhaps `transfer_data`, is these lines."""

    def function(name: str, body: str) -> str:
        indented = "".join(f"    {line}\n" for line in body.splitlines())
        return f"def {name}(request):\n{indented}"

    return "\n".join(
        [
            "import sys, threading, time",
            "from pywebsocket3 import common, extensions, handshake, msgutil, stream",
            function("web_socket_do_extra_handshake", lines),
            function("web_socket_transfer_data", transfer),
        ]
    )


@contextmanager
def opened(
    server: Server, path: str = PATH, headers: Iterable[tuple[str, str]] = ()
) -> Iterator[Client]:
    """Open a WebSocket connection to the handler."""
    with server.connect() as client:
        client.handshake(path, headers)
        yield client


def texts(client: Client) -> list[str]:
    """Read text messages until the server's close frame, which is answered."""
    received = []
    while (frame := client.read_frame()).opcode != CLOSE:
        assert frame.opcode == TEXT, frame
        received.append(frame.payload.decode())
    assert frame.close_code == 1000, frame
    client.send_close()
    return received


def close_code(client: Client) -> int | None:
    """Read frames until the close frame; return its code."""
    while (frame := client.read_frame()).opcode != CLOSE:
        pass
    return frame.close_code
