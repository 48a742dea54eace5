"""How the tests talk with the handlers in `examples`: the `websockets` client, with deadlines."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websockets_connect

from conftest import ROOT, Server
from wire import DEADLINE_SECONDS

EXAMPLES = ROOT / "examples"


@contextmanager
def connect(server: Server, path: str, **options: Any) -> Iterator[ClientConnection]:
    """Connect to a handler."""
    options["open_timeout"] = options["close_timeout"] = DEADLINE_SECONDS
    with websockets_connect(server.url(path), proxy=None, **options) as client:
        yield client


def receive(client: ClientConnection) -> str | bytes:
    return client.recv(DEADLINE_SECONDS)


def receive_json(client: ClientConnection) -> Any:
    return json.loads(receive(client))


def receive_close(client: ClientConnection) -> tuple[int, str]:
    """Wait for the server's close; return its code, 1005 for none, and its reason."""
    with pytest.raises(ConnectionClosed) as info:
        client.recv(DEADLINE_SECONDS)
    assert info.value.rcvd is not None, "closed without a close frame"
    return info.value.rcvd.code, info.value.rcvd.reason
