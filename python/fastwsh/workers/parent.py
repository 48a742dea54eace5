"""The parent: starts the workers, passes signals on, and speaks for all of them."""

import argparse
import asyncio
import contextlib
import logging
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from fastwsh.backplane import engines
from fastwsh.backplane.relay import Relay
from fastwsh.config_error import ConfigError
from fastwsh.listening import listeners
from fastwsh.output import banner, logs
from fastwsh.output.access import AccessLog
from fastwsh.output.log_file import LogFile
from fastwsh.process.notify import Notifier
from fastwsh.workers import signal_handlers
from fastwsh.workers.metrics_server import MetricsServer
from fastwsh.workers.mixed_lines import MixedFormatter
from fastwsh.workers.parent_resources import ParentResources, opened
from fastwsh.workers.start_message import StartMessage, WorkerSettings
from fastwsh.workers.worker import Worker

__all__ = ["WorkerError", "run"]

# A SIGTERM this soon after the first signal is the same one: timeout(1) sends it twice.
_SAME_SIGNAL_SECONDS: Final = 0.2
# What a worker may need beyond its own limits before it is killed.
_KILL_MARGIN_SECONDS: Final = 2.0
# The time to end at once: a worker runs functions of atexit for a second.
_END_SECONDS: Final = 3.0
# A worker that needs longer for its certificates does not delay the answer to the service manager.
_RENEW_SECONDS: Final = 10.0

_LOGGER: Final = logging.getLogger("fastwsh.workers")


class WorkerError(ConfigError):
    """A worker cannot start: `str()` is one sentence.

    Attributes:
        status: The exit status of the worker, and now of the program.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class _Failure:
    status: int
    sentence: str


@dataclass(frozen=True)
class _AllReady:
    """All workers have been ready."""


_Event = signal.Signals | _Failure | _AllReady


def run(
    options: argparse.Namespace,
    count: int,
    *,
    folder: str,
    log: logging.Handler,
    stop_seconds: float,
) -> int:
    """Serve with several workers until a signal ends it; return the exit status.

    Args:
        options: After all checks; the current folder is the document root.
        count: How many workers.
        folder: The folder in which the program was started.
        log: Where log lines go.
        stop_seconds: How long a worker may need to end.

    Raises:
        ConfigError: An option cannot be used.
        WorkerError: A worker could not start.
    """
    if getattr(options, "http3", False):
        raise ConfigError(
            f"--http3 needs one process, for a connection must find its process again when its "
            f"client has a new address; leave out --http3 or --workers {count}"
        )
    options.fd = [*(options.fd or ()), *listeners.take_inherited(os.environ)]
    notifier = Notifier.take_from(os.environ)
    with contextlib.closing(notifier), opened(options, count) as resources:
        access_log = AccessLog(options.access_log, options) if options.access_log else None
        parent = _Parent(options, resources, notifier, log, access_log)
        _need_descriptors()
        return asyncio.run(parent.run(count, folder, stop_seconds))


def _need_descriptors() -> None:
    """Fail here if an event loop cannot be made: half of one would complain when it is freed."""
    with selectors.DefaultSelector():
        for end in socket.socketpair():
            end.close()


class _Parent:
    """See `run`."""

    def __init__(
        self,
        options: argparse.Namespace,
        resources: ParentResources,
        notifier: Notifier,
        log: logging.Handler,
        access_log: AccessLog | None,
    ) -> None:
        self._options = options
        self._sockets = resources.sockets
        self._shared_counts = resources.shared_counts
        self._port = resources.metrics_port
        self._inspector = resources.inspector
        self._folder = resources.private_folder
        self._notifier = notifier
        self._log = log
        self._access_log = access_log
        self._relay: Relay | None = None
        self._near, self._group = "", f"{secrets.token_hex(8)}."
        self._workers: list[Worker] = []
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._renewing: set[int] = set()
        self._renewed = asyncio.Event()
        self._status = ""
        self.is_starting = True
        self.is_stopping = False

    async def run(self, count: int, folder: str, stop_seconds: float) -> int:
        log_formatter = self._log.formatter
        self._log.setFormatter(MixedFormatter(log_formatter))
        try:
            with self._signals():
                self._workers = [Worker(number, folder, self) for number in range(1, count + 1)]
                await self._open_relay()
                answering = MetricsServer(self._workers, lambda: self.is_stopping)
                await answering.start(self._port)
                self._answering = answering
                self._inspector.attach(self._workers, answering)
                tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
                for task in tasks:
                    task.add_done_callback(self._fails)
                watching = asyncio.create_task(self._watch())
                try:
                    return await self._serve(tasks, stop_seconds)
                finally:
                    watching.cancel()
                    await self._inspector.end()
                    if self._relay is not None:
                        await self._relay.close()
                    for worker in self._workers:
                        worker.send_signal(signal.SIGKILL)
        finally:
            self._log.setFormatter(log_formatter)

    async def _open_relay(self) -> None:
        """Carry messages of topics between the workers, also while the backplane is away."""
        own = f"unix:{self._folder}/topics"
        url = self._options.backplane = self._options.backplane or own
        if (path := engines.unix_path(url)) is None:
            self._near, path = own, f"{self._folder}/topics"
        relay = Relay(path)
        # another server of this machine may do it
        self._relay = relay if await relay.open() else None

    async def _serve(self, tasks: list["asyncio.Task[None]"], stop_seconds: float) -> int:
        background = set()
        while True:
            match await self._events.get():
                case signal.Signals.SIGHUP:
                    background.add(asyncio.create_task(self._renew()))
                case signal.Signals() as number:
                    # one that is ready may have served clients already
                    was_up = any(worker.state == "ready" for worker in self._workers)
                    self.is_starting = False
                    status = await self._stop(number, tasks, stop_seconds)
                    # a program that has not been up ends as it would by default
                    return status if was_up or status else 128 + number
                case _Failure(status=status, sentence=sentence):
                    self.is_starting = False
                    await self._stop_workers(tasks, _END_SECONDS)
                    raise WorkerError(sentence, status)
                case _AllReady():
                    await self._tell_ready()

    def start_message(self, worker: Worker, log_descriptor: int) -> StartMessage:
        number = worker.number
        options = argparse.Namespace(**vars(self._options))
        entries = self._sockets.of(number)
        options.start_warnings = ()
        options.worker = WorkerSettings(
            number,
            len(self._workers),
            [(listener.fileno(), info) for listener, info in entries],
            self._port.urls,
            log_descriptor,
            self._near,
            self._folder,
            self._group,
            self._shared_counts.of(number, worker.turn),
            self._inspector.settings(number),
        )
        folder = os.getcwd()  # noqa: PTH109 (a string)
        return StartMessage(options, folder, sys.path, sys.argv)

    def changed(self, worker: Worker) -> None:
        if worker.state != "reloading" and worker.number in self._renewing:
            self._renewing.discard(worker.number)
            self._renewed.set()
        if self.is_starting:
            if all(other.state == "ready" and other.banner for other in self._workers):
                self.is_starting = False
                self._events.put_nowait(_AllReady())
        elif not self.is_stopping:
            self._tell_status()

    def write(self, kind: str, level: int, text: str) -> None:
        if kind == "access" and self._access_log is not None:
            self._access_log.write_line(text)
            return
        self._inspector.write(level, text)
        values = {"name": MixedFormatter.NAME, "msg": text, "levelno": level}
        self._log.handle(logging.makeLogRecord(values))

    def ended(self, worker: Worker, turn: int, last_metrics: str | None) -> None:
        self._shared_counts.release(worker.number, turn)
        self._answering.ended(worker, turn, last_metrics)

    def give_up(self, worker: Worker) -> None:
        other = next((other for other in self._workers if other.state == "ready"), None)
        if other is not None:
            self._sockets.share(worker.number, other.number)
            _LOGGER.warning(
                "Worker %d ends again and again; until it works, worker %d gets its connections",
                worker.number,
                other.number,
            )

    def _fails(self, task: "asyncio.Task[None]") -> None:
        """End the program by a mistake in watching a worker, which would never be replaced."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.critical("Watching a worker failed: %s", error, exc_info=error)
            self.fail(1, f"watching a worker failed: {error}")

    def fail(self, status: int, sentence: str) -> None:
        self._events.put_nowait(_Failure(status, sentence))

    async def _tell_ready(self) -> None:
        for address in self._sockets.addresses:
            _LOGGER.info("Listening on %s", address)
        for url in self._port.urls:
            _LOGGER.info("Metrics on %s", url)
        await self._inspector.start()
        for line in self._workers[0].banner:
            banner.say(line)
        self._status = self._describe()
        self._notifier.ready(self._status)

    def _describe(self) -> str:
        ready = [worker for worker in self._workers if worker.state in {"ready", "reloading"}]
        status = next((worker.status for worker in ready if worker.status), "Serving nothing")
        count = len(self._workers)
        share = f"{count}" if len(ready) == count else f"{len(ready)} of {count}"
        return f"{status} in {share} workers"

    def _tell_status(self) -> None:
        status = self._describe()
        if self._notifier.is_active and status != self._status:
            self._status = status
            self._notifier.status(status)

    async def _watch(self) -> None:
        """Tell the watchdog as long as all workers are alive and answer."""
        seconds = self._notifier.beat_seconds
        while seconds is not None:
            asked = [worker for worker in self._workers if worker.is_alive or not self.is_stopping]
            answers = await asyncio.gather(*(worker.ask("ping", seconds) for worker in asked))
            wait = seconds / 2
            if not self.is_starting and all(
                answer is not None or (self.is_stopping and not worker.is_alive)
                for worker, answer in zip(asked, answers, strict=True)
            ):
                wait = min(self._notifier.beat(), wait)
            await asyncio.sleep(max(wait, 0.01))

    def _signals(self) -> AbstractContextManager[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if self._options.use_tls or self._log_files() or self._notifier.is_active:
            numbers.append(signal.SIGHUP)
        return signal_handlers.handled(numbers, self._events.put_nowait, self._suspend)

    def _suspend(self) -> None:
        """Stop with all workers until SIGCONT: a terminal's Ctrl-Z does not reach them."""
        for worker in self._workers:
            worker.send_signal(signal.SIGSTOP)
        # of this thread, so that the next line is one after SIGCONT
        signal.raise_signal(signal.SIGSTOP)
        for worker in self._workers:
            worker.send_signal(signal.SIGCONT)

    def _log_files(self) -> list[LogFile]:
        files = [self._access_log.file] if self._access_log and self._access_log.file else []
        return logs.log_files() + files

    async def _renew(self) -> None:
        """Open log files again, and let the workers read their certificates again."""
        self._notifier.reloading()
        files = self._log_files()
        for file in files:
            try:
                file.reopen()
            except OSError as error:
                _LOGGER.error("Cannot open the log file anew: %s", error)  # noqa: TRY400
        if files:
            _LOGGER.info("Log files opened anew")
        # one that is starting will read the new files anyway, and has no handler for the signal
        ready = [worker for worker in self._workers if worker.state == "ready"]
        self._renewing.update(worker.number for worker in ready)
        for worker in ready:
            worker.state = "reloading"
            worker.send_signal(signal.SIGHUP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RENEW_SECONDS):
                while self._renewing:
                    self._renewed.clear()
                    await self._renewed.wait()
        if not self.is_stopping:
            self._status = self._describe()
            self._notifier.ready(self._status)

    async def _stop(
        self, first: signal.Signals, tasks: list["asyncio.Task[None]"], stop_seconds: float
    ) -> int:
        """Close every connection; return the exit status. A second signal ends the workers."""
        self.is_stopping = True
        timeout = self._options.shutdown_timeout
        _LOGGER.info("Stopping; connections have %g s to close", timeout)
        self._notifier.stopping(f"Stopping; connections have {timeout:g} s to close")
        if first is signal.SIGINT:
            banner.say("Stopping; press Ctrl-C again to stop now")
        started = time.monotonic()
        stopping = asyncio.create_task(
            self._stop_workers(tasks, stop_seconds + _KILL_MARGIN_SECONDS)
        )
        while not stopping.done():
            event = asyncio.create_task(self._events.get())
            await asyncio.wait({stopping, event}, return_when=asyncio.FIRST_COMPLETED)
            if not event.done():
                event.cancel()
                break
            number = event.result()
            if not isinstance(number, signal.Signals) or number is signal.SIGHUP:
                continue
            is_same = number is signal.SIGTERM
            if is_same and time.monotonic() < started + _SAME_SIGNAL_SECONDS:
                continue
            for worker in self._workers:
                worker.send_signal(signal.SIGINT)
            await asyncio.wait({stopping}, timeout=_END_SECONDS)
            return 128 + number
        return 0

    async def _stop_workers(self, tasks: list["asyncio.Task[None]"], seconds: float) -> None:
        """End the workers, and kill those that have not ended in time."""
        self._sockets.close()
        for worker in self._workers:
            worker.stop()
        _, left = await asyncio.wait(tasks, timeout=seconds)
        for worker in self._workers:
            worker.send_signal(signal.SIGKILL)
        if left:
            await asyncio.wait(left, timeout=_END_SECONDS)
