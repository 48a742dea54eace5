"""One worker as its parent sees it: it starts its process again and again."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from fastwsh.backoff import pause_after
from fastwsh.banner import clean
from fastwsh.config import shortage
from fastwsh.workers.start_message import StartMessage

__all__ = ["Owner", "Worker"]

# After so many short lives in a row, requests no longer wait for the next process.
_MOST_DEATHS: Final = 4
# A worker that has lived for this long has not ended because it cannot work.
_LONG_LIFE: Final = 10.0
# The last lines and messages of a worker that has ended; its children may keep both open.
_LAST_SECONDS: Final = 0.5
# The longest message, with the metrics of thousands of resources.
_LONGEST_MESSAGE: Final = 1 << 26

_LOGGER: Final = logging.getLogger("fastwsh.workers")


class Owner(Protocol):
    """The parent, as its workers see it."""

    is_starting: bool

    def start_message(self, number: int, log_descriptor: int) -> StartMessage:
        """Return what a worker is told."""

    def changed(self, worker: "Worker") -> None:
        """Note that the state of a worker has changed."""

    def write(self, kind: str, level: int, text: str) -> None:
        """Write a line of a worker to a log."""

    def ended(self, worker: "Worker") -> None:
        """Note that the process of a worker has ended."""

    def give_up(self, worker: "Worker") -> None:
        """Let no request wait for a worker that ends again and again."""

    def fail(self, status: int, sentence: str) -> None:
        """Note that a worker cannot start, when no server has been up yet."""


class Worker:
    """A worker: one process after the other.

    Args:
        number: From 1.
        folder: The folder in which the program was started.
        owner: Its parent.

    Attributes:
        state: starting, ready, reloading, stopping, or away between two processes.
        status: What the worker says about itself, for people.
        banner: What it serves, for people.
        starts: How often a process was started.
        last_metrics: What the worker has reported last, on its own.
    """

    def __init__(self, number: int, folder: str, owner: Owner) -> None:
        self.number = number
        self.state = "away"
        self.status = ""
        self.banner: list[str] = []
        self.starts = 0
        self.last_metrics: str | None = None
        self._folder = folder
        self._owner = owner
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._failure = ""
        self._stop = asyncio.Event()
        self._questions: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._ids = itertools.count()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    def stop(self) -> None:
        """Tell the process to end, and start no other."""
        self._stop.set()
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                # Not the process's own `send_signal`: that may take the status of a process that
                # has just ended, and asyncio then finds none.
                os.kill(self._process.pid, number)

    @property
    def pid(self) -> int | None:
        """The number of the process; None if there is none."""
        return self._process.pid if self._process is not None and self.is_alive else None

    async def ask(self, what: str, seconds: float, **details: Any) -> dict[str, Any] | None:
        """Ask the process; return its answer, or None if there is none in time."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return None
        number = next(self._ids)
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        writer.write(json.dumps({"id": number, "ask": what, **details}).encode() + b"\n")
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            return None
        finally:
            self._questions.pop(number, None)

    async def run(self) -> None:
        """Start a process, and another one when it has ended, until `stop` is called."""
        deaths = 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                status = await self._live()
            except OSError as error:
                how = f"cannot start a process ({error.strerror})"
                self._failure, status = shortage(error) or how, 1
            self._set_state("away")
            self._owner.ended(self)
            if self._stop.is_set():
                return
            if self._owner.is_starting and status >= 0:
                how = f"worker {self.number} {_describe(status)} while it started"
                self._owner.fail(status or 1, self._failure or how)
                return
            deaths = deaths + 1 if time.monotonic() - started < _LONG_LIFE else 0
            if deaths == _MOST_DEATHS:
                self._owner.give_up(self)
            pause = pause_after(deaths)
            self._tell_ended(status, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    def _tell_ended(self, status: int, pause: float) -> None:
        again = f"starting it again in {pause:g} s" if pause else "starting it again"
        if self._failure:
            sentence = clean(self._failure)
            _LOGGER.error("Worker %d cannot start: %s; %s", self.number, sentence, again)
        else:
            _LOGGER.warning("Worker %d %s; %s", self.number, _describe(status), again)

    async def _live(self) -> int:
        """Start a process and return its status when it has ended."""
        self._failure = ""
        self.starts += 1
        ours, theirs = socket.socketpair()
        log, log_end = os.pipe()
        with theirs, os.fdopen(log_end, "wb"):
            try:
                message = self._owner.start_message(self.number, log_end)
                self._process = await self._spawn(theirs.fileno(), log_end, message)
            except BaseException:
                ours.close()
                os.close(log)
                raise
        self._set_state("starting")
        _LOGGER.info("Worker %d is process %d", self.number, self._process.pid)
        if self._stop.is_set():
            self.send_signal(signal.SIGTERM)
        relay = _Relay(self._owner.write)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: relay, os.fdopen(log, "rb"))
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=_LONGEST_MESSAGE)
        self._writer.write(json.dumps({"settings": message.to_text()}).encode() + b"\n")
        listening = asyncio.create_task(self._listen(reader))
        status = await self._process.wait()
        await asyncio.wait({listening, relay.ended}, timeout=_LAST_SECONDS)
        listening.cancel()
        self._writer.close()
        self._writer = None
        for answer in self._questions.values():
            if not answer.done():
                answer.set_result(None)
        return status

    async def _spawn(
        self, channel: int, log: int, message: StartMessage
    ) -> asyncio.subprocess.Process:
        own = message.options.worker
        inherited = {channel, log, *(number for number, _ in own.descriptors)}
        if own.shared_counts is not None:
            inherited.add(own.shared_counts[0])
        # in a group of its own, so that a terminal's Ctrl-C reaches the parent alone
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
            *("-m", "fastwsh.workers", f"{self.number}/{own.count}", str(channel)),
            stdin=subprocess.DEVNULL,
            cwd=self._folder,
            pass_fds=tuple(inherited),
            process_group=0,
        )

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        # an error means that the process has ended
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        answer = self._questions.get(message.get("answer", -1))
        if answer is not None and not answer.done():
            answer.set_result(message)
            return
        self._failure = message.get("failed", self._failure)
        self.banner = message.get("banner", self.banner)
        self.status = message.get("status", self.status)
        if message.get("metrics") is not None and "answer" not in message:
            self.last_metrics = message["metrics"]
        self._set_state(message.get("state", self.state))

    def _set_state(self, state: str) -> None:
        self.state = state
        self._owner.changed(self)


def _describe(status: int) -> str:
    """Say how a process has ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was ended by signal {-status}"


def _said(line: bytes) -> tuple[str, int, str]:
    """Return kind, level and text of what a worker has written."""
    with contextlib.suppress(ValueError, RecursionError):
        match json.loads(line):
            case [str(kind), int(level), str(text)]:
                return kind, level, text
    # a child of the worker has written at the same time
    return "log", logging.WARNING, clean(line.decode("utf-8", "backslashreplace"))


class _Relay(asyncio.Protocol):
    """Reads the log lines of a worker."""

    def __init__(self, write: Callable[[str, int, str], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._write = write
        self._rest: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Pass the lines on that are complete."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._rest.append(line)
            self._pass_on(b"".join(self._rest))
            self._rest.clear()
        if rest:
            self._rest.append(rest)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        """Note that there will be no more lines."""
        if not self.ended.done():
            self.ended.set_result(None)

    def _pass_on(self, line: bytes) -> None:
        kind, level, text = _said(line)
        self._write(kind, level, text)
