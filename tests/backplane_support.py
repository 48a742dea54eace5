"""The message servers of Debian, started for a test."""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import find_program
from fastwsh.backplane.bridge import JOINED, LEFT, PUBLISHED, Bridge
from proxy_support import free_port
from wire import DEADLINE_SECONDS


class Engine:
    """A message server that can be stopped and started on the same port.

    Attributes:
        url: Where it is, for --backplane.
    """

    def __init__(self, url: str, command: Sequence[str], ready: str) -> None:
        self.url = url
        self._command = command
        self._ready = ready
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if self._ready in line:
                return
        pytest.fail("".join(said))

    def stop(self, number: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.communicate(timeout=DEADLINE_SECONDS)

    def send_signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextlib.contextmanager
def redis_server(folder: Path, *arguments: str, user: str = "") -> Iterator[Engine]:
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    command = [
        find_program("redis-server", "redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        *quiet,
    ]
    engine = Engine(
        f"redis://{user}127.0.0.1:{port}/0", [*command, *arguments], "Ready to accept connections"
    )
    with running(engine):
        yield engine


@contextlib.contextmanager
def nats_server(*arguments: str, user: str = "") -> Iterator[Engine]:
    port = free_port()
    command = [
        find_program("nats-server", "nats-server"),
        "-a",
        "127.0.0.1",
        "-p",
        str(port),
        *arguments,
    ]
    engine = Engine(f"nats://{user}127.0.0.1:{port}", command, "Server is ready")
    with running(engine):
        yield engine


@contextlib.contextmanager
def running(engine: Engine) -> Iterator[Any]:
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@pytest.fixture(params=["unix", "redis", "nats"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "unix":
        yield f"unix:{tmp_path}/bus"
    elif request.param == "redis":
        with redis_server(tmp_path) as engine:
            yield engine.url
    else:
        with nats_server() as engine:
            yield engine.url


class FakeBackplaneQueue:
    """What a server has for the others, as `_core.BackplaneQueue`."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.received: list[tuple[str, bytes]] = []
        self.is_connected = False
        self.missed = self.lost = 0
        self.changed = threading.Condition()
        self._numbers: dict[str, int] = {}
        self._changes: list[tuple[int, str, bytes, bool, int, int]] = []
        self._readable, self._wake = socket.socketpair()

    def fileno(self) -> int:
        return self._readable.fileno()

    def take(self) -> list[tuple[int, str, bytes, bool, int, int]]:
        self._readable.recv(4096, socket.MSG_DONTWAIT) if self._changes else None
        changes, self._changes = self._changes, []
        return changes

    def receive(self, topic: str, payload: bytes, is_text: bool) -> int:
        with self.changed:
            self.received.append((topic, payload))
            self.changed.notify_all()
        return 1

    def note(self, is_connected: bool, missed: int, lost: int) -> None:
        with self.changed:
            self.is_connected = is_connected
            self.missed += missed
            self.lost += lost
            self.changed.notify_all()

    def close(self) -> None:
        self._readable.close()
        self._wake.close()

    def join(self, topic: str) -> None:
        self._push((JOINED, topic, b"", False, 0, 0))

    def leave(self, topic: str) -> None:
        self._push((LEFT, topic, b"", False, 0, 0))

    def publish(self, topic: str, payload: bytes, *, is_sent: bool = True) -> None:
        number = self._numbers[topic] = self._numbers.get(topic, 0) + 1
        if is_sent:
            self._push((PUBLISHED, topic, payload, True, 1, number))

    def _push(self, change: tuple[int, str, bytes, bool, int, int]) -> None:
        self._changes.append(change)
        self._wake.send(b"x")

    def wait_for(self, holds) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: holds(self), DEADLINE_SECONDS), vars(self)

    def wait_until_heard_by(self, other: "FakeBackplaneQueue", topic: str) -> None:
        """Publish until the other one hears it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not other.received:
            assert time.monotonic() < deadline
            self.publish(topic, b"?")
            with other.changed:
                other.changed.wait_for(lambda: other.received, 0.05)


@contextlib.contextmanager
def bridged(url: str, node: str) -> Iterator[tuple[FakeBackplaneQueue, list[tuple[str, int]]]]:
    outgoing, gaps = FakeBackplaneQueue(node), []
    bridge = Bridge(url, outgoing, lambda topic, missed: gaps.append((topic, missed)))
    try:
        yield outgoing, gaps
    finally:
        bridge.stop()


def ask_often() -> dict[str, float]:
    """How often engines are asked whether they are there, for tests that would wait for that."""
    return {
        "fastwsh.backplane.redis._CONNECT_SECONDS": 1.0,
        "fastwsh.backplane.redis._HEALTH_SECONDS": 0.5,
        "fastwsh.backplane.nats._PING_SECONDS": 1,
    }
