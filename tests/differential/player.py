"""Plays scenarios against a server, many at a time, and keeps what came back step by step."""

import asyncio
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from differential.outcome import Reading, describe
from wire import CLOSE, DEADLINE_SECONDS, KEY, TEXT, encode_frame

_RECEIVE_BYTES = 1 << 18


@dataclass(frozen=True)
class Read:
    """Read until the server is silent or has closed."""


@dataclass(frozen=True)
class ReadHead:
    """Read until the end of the answer's head, or the connection's."""


@dataclass(frozen=True)
class Fin:
    """Close our side of the connection."""


@dataclass(frozen=True)
class Reset:
    """Drop the connection."""


@dataclass(frozen=True)
class Slowly:
    """Send byte by byte."""

    data: bytes


@dataclass(frozen=True)
class Observed:
    """Ask, on another connection, what the handler of `observe_wsh.py` has noted."""


Step = bytes | Read | ReadHead | Fin | Reset | Slowly | Observed


@dataclass(frozen=True)
class Scenario:
    """One conversation; in what is sent, <port> and <id> stand for the server's port and an id."""

    name: str
    steps: Sequence[Step]
    options: tuple[str, ...] = ()


@dataclass
class _Conversation:
    port: int
    quiet: float
    identity: str
    readings: list[Reading] = field(default_factory=list)
    _pending: bytes = b""
    _ended: bool = False

    async def play(self, steps: Sequence[Step]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.sock_connect(self._socket, ("127.0.0.1", self.port))
            for step in steps:
                await self._do(step)
            await self._read()
        finally:
            self._socket.close()

    async def _do(self, step: Step) -> None:
        match step:
            case bytes():
                await self._send(step)
            case Slowly(data):
                for octet in self._filled_in(data):
                    await self._send(bytes([octet]))
            case Read():
                await self._read()
            case ReadHead():
                await self._read_head()
            case Fin() if not self._ended:
                try:
                    self._socket.shutdown(socket.SHUT_WR)
                except OSError:
                    self._ended = True
            case Reset() if not self._ended:
                linger = struct.pack("ii", 1, 0)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self._socket.close()
                self._ended = True
            case Observed():
                await self._observe()

    def _filled_in(self, data: bytes) -> bytes:
        data = data.replace(b"<port>", str(self.port).encode())
        return data.replace(b"<id>", self.identity.encode())

    async def _send(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            sending = self._loop.sock_sendall(self._socket, self._filled_in(data))
            await asyncio.wait_for(sending, DEADLINE_SECONDS)
        except (OSError, TimeoutError):
            pass  # what the server did shows in what it sent

    async def _receive(self, seconds: float) -> bytes:
        """What has come; nothing when the time has passed or the connection has ended."""
        if self._ended:
            return b""
        try:
            receiving = self._loop.sock_recv(self._socket, _RECEIVE_BYTES)
            data = await asyncio.wait_for(receiving, seconds)
        except TimeoutError:
            return b""
        except OSError:
            data = b""
        self._ended = not data
        return data

    async def _read(self) -> None:
        data, self._pending = self._pending, b""
        while more := await self._receive(self.quiet):
            data += more
        self.readings.append(Reading(data, self._ended))

    async def _read_head(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data and (more := await self._receive(DEADLINE_SECONDS)):
            data += more
        head, end, self._pending = data.partition(b"\r\n\r\n")
        self.readings.append(Reading(head + end, self._ended))

    async def _observe(self) -> None:
        other = _Conversation(self.port, DEADLINE_SECONDS, self.identity)
        request = OBSERVE_REQUEST.replace(b"<id>", self.identity.encode())
        await other.play([request, ReadHead(), encode_frame(CLOSE)])
        self.readings.append(other.readings[-1])


OBSERVE_REQUEST = (
    "GET /observe?of=<id> HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()

HELLO = encode_frame(TEXT, b"Hello")


def play(
    scenarios: Iterable[Scenario], port: int, *, quiet: float, at_a_time: int
) -> dict[str, list[str]]:
    """Play scenarios against the server at a port; return what came of each, by its name.

    Args:
        quiet: Seconds of silence after which nothing more is expected.
        at_a_time: How many connections there are at most.
    """
    return asyncio.run(_play(list(scenarios), port, quiet, at_a_time))


async def _play(
    scenarios: Sequence[Scenario], port: int, quiet: float, at_a_time: int
) -> dict[str, list[str]]:
    slots = asyncio.Semaphore(at_a_time)

    async def play_one(scenario: Scenario) -> list[str]:
        async with slots:
            # An id of a former round would lead to the notes of that one.
            identity = f"{scenario.name}-{at_a_time}".replace(" ", "-")
            conversation = _Conversation(port, quiet, identity)
            await conversation.play(scenario.steps)
            return describe(conversation.readings, port)

    outcomes = await asyncio.gather(*map(play_one, scenarios))
    return {scenario.name: outcome for scenario, outcome in zip(scenarios, outcomes, strict=True)}
