"""One process of a worker: its start, its log lines, the channel to it, and its end."""

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
from collections.abc import Callable
from typing import Any, Final

from fastwsh.output.banner import clean
from fastwsh.workers.start_message import StartMessage

__all__ = ["WorkerProcess"]

# The last lines and messages of a worker that has ended; its children may keep both open.
_LAST_SECONDS: Final = 0.5
# The longest message, with the metrics of thousands of resources.
_LONGEST_MESSAGE: Final = 1 << 26

_LOGGER: Final = logging.getLogger("fastwsh.workers")


class WorkerProcess:
    """A process, which `run` starts.

    Args:
        hear: Called with the process and each of its messages that is no answer.
        write: Called with kind, level and text of each line for a log.

    Attributes:
        is_stopping: Set when the process has said that it is about to end.
        was_ready: Whether it has accepted connections.
        failure: Why it cannot start or go on, "" if it has said nothing of that.
        last_metrics: What it has reported last, on its own.
    """

    def __init__(
        self,
        hear: Callable[["WorkerProcess", dict[str, Any]], None],
        write: Callable[[str, int, str], None],
    ) -> None:
        self.is_stopping = asyncio.Event()
        self.was_ready = False
        self.failure = ""
        self.last_metrics: str | None = None
        self._pass_to = hear
        self._write = write
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._questions: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._ids = itertools.count()

    @property
    def pid(self) -> int | None:
        """The number of the process; None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                # Not the process's own `send_signal`: that may take the status of a process that
                # has just ended, and asyncio then finds none.
                os.kill(pid, number)

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

    async def run(
        self, folder: str, make_message: Callable[[int], StartMessage], started: Callable[[], None]
    ) -> int:
        """Start the process, and return its status when it has ended.

        Args:
            folder: Where to start it.
            make_message: Returns what it is told; called with the pipe for its log.
            started: Called when there is a process.
        """
        ours, theirs = socket.socketpair()
        log, log_end = os.pipe()
        with theirs, os.fdopen(log_end, "wb"):
            try:
                message = make_message(log_end)
                self._process = await _spawn(folder, theirs.fileno(), log_end, message)
            except BaseException:
                ours.close()
                os.close(log)
                raise
        started()
        relay = _Relay(self._write)
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
        self.failure = message.get("failed", self.failure)
        if message.get("metrics") is not None and "answer" not in message:
            self.last_metrics = message["metrics"]
        match message.get("state"):
            case "ready":
                self.was_ready = True
            case "stopping":
                self.is_stopping.set()
        self._pass_to(self, message)


async def _spawn(
    folder: str, channel: int, log: int, message: StartMessage
) -> asyncio.subprocess.Process:
    own = message.options.worker
    inherited = {channel, log, *(number for number, _ in own.descriptors)}
    if own.shared_counts is not None:
        inherited.add(own.shared_counts[0])
    # in a group of its own, so that a terminal's Ctrl-C reaches the parent alone
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]
        *("-m", "fastwsh.workers", f"{own.number}/{own.count}", str(channel)),
        stdin=subprocess.DEVNULL,
        cwd=folder,
        pass_fds=tuple(inherited),
        process_group=0,
    )


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
