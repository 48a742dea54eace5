"""The message servers of Debian, started for a test."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import find_program
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
