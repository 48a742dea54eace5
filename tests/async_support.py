"""Handlers that are coroutine functions, for tests."""

from collections.abc import Callable

import pytest

from conftest import Server, StartServer, WriteHandler
from wire import TEXT

ECHO_ASYNC = """\
async def web_socket_do_extra_handshake(request):
    pass

async def web_socket_transfer_data(request):
    ws = request.ws_stream
    async for message in ws:
        await ws.send_message(message)
"""

# Handlers of two files meet in a module that both import.
SHARED = "from mod_pywebsocket import common\nshared = common.__dict__.setdefault('shared', {})\n"

Serve = Callable[..., Server]
"""Serve the handlers that the keywords name."""


def _module(lines: str, before: str, kind: str) -> str:
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return (
        f"{before}\n"
        "def web_socket_do_extra_handshake(request):\n    pass\n\n"
        f"{kind} web_socket_transfer_data(request):\n    ws = request.ws_stream\n{indented}"
    )


def coroutine(lines: str, before: str = "") -> str:
    """A handler whose `transfer_data` is a coroutine function of these lines, `ws` its stream."""
    return _module(lines, f"import asyncio\n{before}", "async def")


def plain(lines: str, before: str = "") -> str:
    """The same for a plain function."""
    return _module(lines, before, "def")


@pytest.fixture
def serve(start_server: StartServer, write_handler: WriteHandler) -> Serve:
    """Serve the handlers that the keywords name; the arguments are options of the server."""

    def serve(*args: str, **handlers: str) -> Server:
        for name, body in handlers.items():
            write_handler(name, body)
        return start_server("-w", "handlers", *args)

    return serve


def ask(server: Server, path: str, *messages: bytes) -> list[bytes]:
    """Send text messages and read as many answers."""
    with server.connect() as client:
        client.handshake(path)
        for message in messages:
            client.send_frame(TEXT, message)
        return [client.read_frame().payload for _ in messages]
