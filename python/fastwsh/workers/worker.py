"""One worker as its parent sees it: it starts its process again and again.

A process that begins to stop accepts no more connections, but may need long until its own have
closed. So its successor starts at once: for a while, a worker has two processes.
"""

import asyncio
import contextlib
import logging
import signal
import time
from typing import Any, Final, Protocol

from fastwsh.backoff import pause_after
from fastwsh.output.banner import clean
from fastwsh.process.start_failures import shortage
from fastwsh.workers.process import WorkerProcess
from fastwsh.workers.start_message import StartMessage

__all__ = ["Owner", "Worker"]

# After so many short lives in a row, requests no longer wait for the next process.
_MOST_DEATHS: Final = 4
# A worker that has lived for this long has not ended because it cannot work.
_LONG_LIFE: Final = 10.0

_LOGGER: Final = logging.getLogger("fastwsh.workers")


class Owner(Protocol):
    """The parent, as its workers see it."""

    is_starting: bool

    def start_message(self, worker: "Worker", log_descriptor: int) -> StartMessage:
        """Return what a process is told that is about to start."""

    def changed(self, worker: "Worker") -> None:
        """Note that the state of a worker has changed."""

    def write(self, kind: str, level: int, text: str) -> None:
        """Write a line of a worker to a log."""

    def ended(self, worker: "Worker", turn: int, last_metrics: str | None) -> None:
        """Note that a process of a worker has ended, and what it has counted."""

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
    """

    def __init__(self, number: int, folder: str, owner: Owner) -> None:
        self.number = number
        self.state = "away"
        self.status = ""
        self.banner: list[str] = []
        self.starts = 0
        self._folder = folder
        self._owner = owner
        self._process: WorkerProcess | None = None
        # the process before, and the task that waits for its end
        self._leaving: WorkerProcess | None = None
        self._left: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The number of the process; None if there is none."""
        return None if self._process is None else self._process.pid

    @property
    def turn(self) -> int:
        """0 or 1: which of two processes that may run at a time was started last."""
        return self.starts % 2

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self.pid is not None

    def stop(self) -> None:
        """Tell the process to end, and start no other."""
        self._stop.set()
        if self._process is not None:
            # not to the one that ends already: it would not wait for its connections any more
            self._process.send_signal(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one, and to one that still ends."""
        for process in (self._process, self._leaving):
            if process is not None:
                process.send_signal(number)

    async def ask(self, what: str, seconds: float, **details: Any) -> dict[str, Any] | None:
        """Ask the process; return its answer, or None if there is none in time."""
        process = self._process
        return None if process is None else await process.ask(what, seconds, **details)

    async def run(self) -> None:
        """Start a process, and another one when it stops, until `stop` is called."""
        deaths = 0
        try:
            while not self._stop.is_set():
                started = time.monotonic()
                process = WorkerProcess(self._hear, self._owner.write)
                status = await self._live(process)
                if self._stop.is_set():
                    return
                if self._owner.is_starting and status is not None and status >= 0:
                    how = f"worker {self.number} {_describe(status)} while it started"
                    self._owner.fail(status or 1, process.failure or how)
                    return
                deaths = deaths + 1 if time.monotonic() - started < _LONG_LIFE else 0
                if deaths == _MOST_DEATHS:
                    self._owner.give_up(self)
                pause = pause_after(deaths)
                self._tell(process, status, pause)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
        finally:
            if self._left is not None:
                await self._left

    async def _live(self, process: WorkerProcess) -> int | None:
        """Start a process; return its status when it has ended, None if it stops by itself."""
        self._process = process
        self.starts += 1
        turn = self.turn
        living = asyncio.create_task(self._run(process))
        stopping = asyncio.create_task(process.is_stopping.wait())
        await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if self._left is not None and not living.done():
            # no third process
            await asyncio.wait({living, self._left}, return_when=asyncio.FIRST_COMPLETED)
        if not process.is_stopping.is_set() or self._owner.is_starting or self._stop.is_set():
            stopping.cancel()
            status = await living
            self._set_state("away")
            self._owner.ended(self, turn, process.last_metrics)
            return status
        self._leaving = process
        self._left = asyncio.create_task(self._wait_for_end(process, turn, living))
        self._process = None
        self._set_state("away")
        return None

    async def _wait_for_end(
        self, process: WorkerProcess, turn: int, living: "asyncio.Task[int]"
    ) -> None:
        status = await living
        self._leaving = self._left = None
        level = logging.WARNING if status else logging.INFO
        _LOGGER.log(level, "A former process of worker %d %s", self.number, _describe(status))
        self._owner.ended(self, turn, process.last_metrics)

    async def _run(self, process: WorkerProcess) -> int:
        try:
            return await process.run(
                self._folder,
                lambda log: self._owner.start_message(self, log),
                lambda: self._note_start(process),
            )
        except OSError as error:
            process.failure = shortage(error) or f"cannot start a process ({error.strerror})"
        except RuntimeError as error:
            if (sentence := shortage(error)) is None:
                raise
            process.failure = sentence
        return 1

    def _note_start(self, process: WorkerProcess) -> None:
        self._set_state("starting")
        _LOGGER.info("Worker %d is process %d", self.number, process.pid)
        if self._stop.is_set():
            process.send_signal(signal.SIGTERM)

    def _tell(self, process: WorkerProcess, status: int | None, pause: float) -> None:
        """Say what has happened, and what follows."""
        again = f"starting it again in {pause:g} s" if pause else "starting it again"
        if process.failure:
            sentence = clean(process.failure)
            how = "failed" if process.was_ready else "cannot start"
            _LOGGER.error("Worker %d %s: %s; %s", self.number, how, sentence, again)
        else:
            how = "is stopping" if status is None else _describe(status)
            _LOGGER.warning("Worker %d %s; %s", self.number, how, again)

    def _hear(self, process: WorkerProcess, message: dict[str, Any]) -> None:
        if process is self._process:
            self.banner = message.get("banner", self.banner)
            self.status = message.get("status", self.status)
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
