"""The metrics port of the parent: `/metrics` and `/healthz` of all workers."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from fastwsh.metrics import MetricsPort
from fastwsh.workers.metric_totals import MetricTotals
from fastwsh.workers.worker import Worker

__all__ = ["MetricsServer"]

# As the native port: far more connections than ask at a time, and little time for silent ones.
_MAX_CONNECTIONS: Final = 256
_HEAD_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0
_LONGEST_HEAD: Final = 16384
# A worker that has not answered by then counts as it did when it was asked before.
_ASK_SECONDS: Final = 2.0

_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class MetricsServer:
    """Answers one request for each connection.

    Args:
        workers: Of whom to tell.
        is_stopping: Whether the server is about to end.
    """

    def __init__(self, workers: Sequence[Worker], is_stopping: Callable[[], bool]) -> None:
        self._workers = workers
        self._is_stopping = is_stopping
        self._totals = MetricTotals()
        self._connections = 0

    async def start(self, port: MetricsPort) -> None:
        """Answer on these sockets until the event loop ends."""
        for listener in port.listeners:
            await asyncio.start_server(self._serve, sock=listener, limit=_LONGEST_HEAD)

    def ended(self, worker: Worker, turn: int, last_metrics: str | None) -> None:
        """Keep what a process of a worker has counted that has ended."""
        if last_metrics is not None:
            self._totals.update(worker.number, turn, last_metrics)
        self._totals.keep(worker.number, turn)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            # a peer that breaks off, or is too slow, needs no answer
            with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
                if self._connections <= _MAX_CONNECTIONS:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        await self._answer(reader, writer)
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            status, kind, text = 400, _TEXT, "This is no request of HTTP/1.1\n"
        else:
            status, kind, text = await self._decide(method, target.partition("?")[0])
        body = text.encode()
        lines = [
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Server: fastwsh",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if status == 405:
            lines.append("Allow: GET, HEAD")
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body))
        await writer.drain()

    async def _decide(self, method: str, path: str) -> tuple[int, str, str]:
        if path not in {"/metrics", "/healthz"}:
            return 404, _TEXT, "Try /metrics or /healthz\n"
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, "Only GET and HEAD are answered\n"
        if path == "/metrics":
            await self._ask()
            return 200, _METRICS, self._text(self._workers)
        return await self._health()

    async def texts(self) -> dict[int, str]:
        """Return the metrics of all workers by 0, and those of each by its number."""
        await self._ask()
        texts = {worker.number: self._text([worker]) for worker in self._workers}
        return {0: self._text(self._workers), **texts}

    async def _ask(self) -> None:
        await asyncio.gather(*map(self._ask_one, self._workers))

    async def _ask_one(self, worker: Worker) -> None:
        turn = worker.turn
        answer = await worker.ask("metrics", _ASK_SECONDS)
        # now, and not when all have answered: the process may have ended by then
        if answer is not None and answer.get("metrics") is not None:
            self._totals.update(worker.number, turn, answer["metrics"])

    def _text(self, workers: Sequence[Worker]) -> str:
        return self._totals.to_text(
            {worker.number: (worker.state == "ready", worker.starts) for worker in workers}
        )

    async def _health(self) -> tuple[int, str, str]:
        """Say whether to send clients here: not if no worker takes any."""
        asked = (worker.ask("ping", _ASK_SECONDS) for worker in self._workers)
        answers = await asyncio.gather(*asked)
        lines, ready, alone = [], 0, 0
        for worker, answer in zip(self._workers, answers, strict=True):
            state = worker.state
            if state in {"ready", "reloading"}:
                state = "ok" if answer is not None else "not answering"
            ready += state == "ok"
            if answer is not None and answer.get("is_alone"):
                alone += 1
                state += ", no connection to the backplane"
            lines.append(f"worker {worker.number}: {state}")
        if self._is_stopping():
            word = "stopping"
        elif ready == len(self._workers) and not alone:
            word = "ok"
        else:
            word = "degraded" if ready else "down"
        status = 200 if word in {"ok", "degraded"} else 503
        return status, _TEXT, "\n".join([word, *lines, ""])
