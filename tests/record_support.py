"""A recording proxy between a raw client and a raw server, and what it has written."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from client_support import Peer, serving
from fastwsh.testing import har, running_server
from wire import DEADLINE_SECONDS, Client

__all__ = ["MASK", "Recorded", "entries_of", "file", "recording", "shown"]

MASK = b"\x01\x02\x03\x04"


@dataclass
class Recorded:
    """A recording in progress: a client of the proxy, and the file."""

    client: Client
    file: Path
    url: str
    proxy_port: int

    @property
    def conversation(self) -> har.Conversation:
        """The first connection in the file."""
        return har.read(self.file)[0]


@contextmanager
def recording(file: Path, script: Callable[[Peer], None], **options: Any) -> Iterator[Recorded]:
    """Serve one connection by `script`, behind a proxy to which a raw client has connected."""
    with running_server() as server:
        with serving(script) as url:
            server.record(url, file, **options)
            with Client(server.port) as client:
                yield Recorded(client, file, url, server.port)
        # what has passed is recorded when both ways have ended
        assert not server._recorder.wait_idle(DEADLINE_SECONDS)


def entries_of(file: Path) -> list[dict[str, Any]]:
    """The entries of a file, as they are written."""
    entries: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["log"]["entries"]
    return entries


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.har"


def shown(conversation):
    """What is recorded, in short: who, opcode, data."""
    return [
        ("c" if message.from_client else "s", message.opcode, message.data)
        for message in conversation.messages
    ]
