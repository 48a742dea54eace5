"""HTTP/3 over a network that loses packets, doubles them or changes their order, and from a client
whose address changes (RFC 9000 13 and 9): every message arrives once, in order."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import BOTH_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from http3_support import Http3Client, write_certificate
from wire import BINARY, CLOSE

pytestmark = BOTH_WAYS

MESSAGES = [bytes([number]) * size for number, size in enumerate([1, 2000, 20_000, 70_000])]
STREAMS = 4

Passes = Callable[[list[bytes], random.Random], list[bytes]]
"""Takes the packets that wait and says which pass now; it may leave some in the list."""


def _lost(waiting: list[bytes], chance: random.Random) -> list[bytes]:
    passed = [packet for packet in waiting if chance.random() > 0.05]
    waiting.clear()
    return passed


def _twice(waiting: list[bytes], chance: random.Random) -> list[bytes]:
    passed = [packet for packet in waiting for _ in range(chance.choice([1, 2]))]
    waiting.clear()
    return passed


def _late(waiting: list[bytes], chance: random.Random) -> list[bytes]:
    """Let the next packet overtake a third of them."""
    if len(waiting) == 1 and chance.random() < 1 / 3:
        return []
    passed = waiting[::-1]
    waiting.clear()
    return passed


class Network:
    """A UDP socket whose packets pass in both directions as `passes` says."""

    def __init__(self, below: socket.socket, passes: Passes) -> None:
        self._below = below
        self._passes = passes
        self._chance = random.Random(1)
        self._outgoing: list[bytes] = []
        self._incoming: list[bytes] = []
        self._arrived: Iterator[bytes] = iter(())

    def fileno(self) -> int:
        return self._below.fileno()

    def close(self) -> None:
        self._below.close()

    def sendto(self, packet: bytes, address: Any) -> None:
        self._outgoing.append(packet)
        for passed in self._passes(self._outgoing, self._chance):
            self._below.sendto(passed, address)

    def recv(self, limit: int) -> bytes:
        """Return a packet; raises BlockingIOError if none has come."""
        while (packet := next(self._arrived, None)) is None:
            self._incoming.append(self._below.recv(limit))
            self._arrived = iter(self._passes(self._incoming, self._chance))
        return packet


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path) -> Server:
    write_handler("echo", ECHO)
    write_certificate(tmp_path / "tls.pem")
    return start_server("-w", "handlers", "--http3", "--ssl-certfile=tls.pem")


@pytest.mark.parametrize("passes", [_lost, _twice, _late])
def test_messages_arrive_once_and_in_order(server: Server, passes: Passes):
    with Http3Client(server) as client:
        client.socket = Network(client.socket, passes)  # type: ignore[assignment]
        websockets = [client.websocket("/echo") for _ in range(STREAMS)]
        for message in MESSAGES:
            for websocket in websockets:
                websocket.send_frame(BINARY, message)
        for websocket in websockets:
            assert [websocket.read_frame().payload for _ in MESSAGES] == MESSAGES
            websocket.send_close()
            assert websocket.read_frame().opcode == CLOSE


def test_a_client_whose_address_changes_goes_on(server: Server):
    with Http3Client(server) as client:
        websocket = client.websocket("/echo")
        for message in MESSAGES:
            left = client.socket
            client.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.socket.setblocking(False)
            left.close()
            websocket.send_frame(BINARY, message)
            assert websocket.read_frame().payload == message
