"""The workers of a parent, as one server for the inspector: it asks each by its channel."""

import asyncio
import base64
import contextlib
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final, Protocol, TypeVar

__all__ = ["AllWorkers"]

# A worker that has not answered by then is shown as one that does not answer.
_ASK_SECONDS: Final = 2.0
# What the event loop of the parent may need beyond that.
_MARGIN_SECONDS: Final = 3.0

_T = TypeVar("_T")


class _Worker(Protocol):
    """A worker of the parent, see `fastwsh.workers.worker`."""

    number: int
    state: str
    starts: int

    @property
    def pid(self) -> int | None:
        """Its process."""

    async def ask(self, what: str, seconds: float, **details: Any) -> dict[str, Any] | None:
        """Ask it."""


class _Metrics(Protocol):
    """Adds up the metrics of workers, see `fastwsh.workers.metrics_server`."""

    async def texts(self) -> dict[int, str]:
        """Return those of all by 0, and those of each by its number."""


class AllWorkers:
    """All workers. Its methods are called from threads, and ask in the parent's event loop.

    Connections have the numbers n, n + count, n + 2 * count and so on in worker n, so that a number
    says where its connection is. A process that replaces another one goes on behind the numbers
    that were seen of that.

    Args:
        count: How many workers there are.
        kept_bytes: The most bytes of frames that all workers keep together.
    """

    log = None

    def __init__(self, count: int, kept_bytes: int) -> None:
        self.workers: Sequence[int] = range(1, count + 1)
        self._kept_bytes = kept_bytes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_number: dict[int, _Worker] = {}
        self._metrics: _Metrics | None = None
        self._seen = dict.fromkeys(self.workers, 0)
        self._silent: set[int] = set()

    def attach(self, workers: Iterable[_Worker], metrics: _Metrics) -> None:
        """Begin; called in the event loop of the parent."""
        self._by_number = {worker.number: worker for worker in workers}
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()

    def detach(self) -> None:
        """Ask no worker any more."""
        self._loop = None

    def settings(self, worker: int) -> tuple[int, int, int]:
        """Return what a new process of a worker is told: see `inspect` of `_core.Server`."""
        count = len(self.workers)
        first = self._seen[worker] + count if self._seen[worker] else worker
        return self._kept_bytes // count, first, count

    @property
    def inspection(self) -> "AllWorkers | None":
        """These workers, once one of them can be asked."""
        return None if self._loop is None else self

    def metrics(self) -> dict[int, str]:
        """Return the metrics of all by 0, and those of each by its number."""
        return {} if self._metrics is None else self._run(self._metrics.texts(), {})

    def facts(self, worker: int) -> dict[str, Any]:
        """Return the facts of a worker, or the sums of all."""
        found = self._ask(self._those(worker), "facts")
        return _sum(found)

    def states(self) -> list[dict[str, Any]]:
        """Return number, process, state and starts of each worker."""
        return [
            {
                "number": worker.number,
                "pid": worker.pid,
                "state": "not answering" if self._is_silent(worker) else worker.state,
                "starts": worker.starts,
            }
            for worker in self._by_number.values()
        ]

    def _is_silent(self, worker: _Worker) -> bool:
        return worker.number in self._silent and worker.state in {"ready", "reloading"}

    def ids(self) -> list[int]:
        """Return the numbers of all known connections."""
        return sorted(number for ids in self._ask(self.workers, "ids").values() for number in ids)

    def page(
        self, *, worker: int = 0, offset: int = 0, count: int = 50, **query: Any
    ) -> dict[str, Any]:
        """Return some connections: each worker sorts its own, and the rows in sight are fetched."""
        found = self._ask(self._those(worker), "keys", most=offset + count, **query)
        keys = sorted(
            ((value, number) for answer in found.values() for value, number in answer["keys"]),
            reverse=bool(query.get("descending")),
        )
        wanted = [number for _, number in keys[offset : offset + count]]
        by_worker: dict[int, list[int]] = {}
        for number in wanted:
            by_worker.setdefault(self._worker_of(number), []).append(number)
        asked = {at: {"ids": numbers} for at, numbers in by_worker.items()}
        rows = {row["id"]: row for some in self._ask_each("rows", asked).values() for row in some}
        return {
            **{
                name: sum(answer[name] for answer in found.values())
                for name in ("open", "ended", "matching")
            },
            "rows": [self._row(rows[number]) for number in wanted if number in rows],
        }

    def connection(self, number: int) -> dict[str, Any] | None:
        """Return all that is known of a connection but its frames."""
        found: dict[str, Any] | None = self._ask_of(number, "connection")
        if found is None:
            return None
        for name in ("request_headers", "response_headers"):
            found[name] = [(key, value) for key, value in found[name]]
        return self._row(found)

    def records(self, number: int, **which: Any) -> dict[str, Any] | None:
        """Return frames and notes of a connection; fewer than are asked for if they are long."""
        found: dict[str, Any] | None = self._ask_of(number, "records", **which)
        for record in found["records"] if found else ():
            if "data" in record:
                record["data"] = base64.b64decode(record["data"])
        return found

    def note(self, number: int, text: str) -> bool:
        """Add a note to a connection."""
        return bool(self._ask_of(number, "note", text=text))

    def insert(self, number: int, data: bytes, is_message: bool) -> str:
        """Send bytes between frames of the handler."""
        encoded = base64.b64encode(data).decode()
        result = self._ask_of(number, "insert", data=encoded, is_message=is_message)
        return str(result or "ended")

    def close(self, number: int, code: int, reason: str = "") -> bool:
        """Send a close frame."""
        return bool(self._ask_of(number, "close", code=code, reason=reason))

    def reset(self, number: int) -> bool:
        """Reset a connection."""
        return bool(self._ask_of(number, "reset"))

    def half_close(self, number: int) -> bool:
        """End our direction without a close frame."""
        return bool(self._ask_of(number, "half_close"))

    def set_pace(self, number: int, bytes_per_second: int | None) -> bool:
        """Let a connection trickle, or stall."""
        return bool(self._ask_of(number, "set_pace", bytes_per_second=bytes_per_second))

    def drop_at(self, number: int, count: int) -> bool:
        """Reset a connection at a message."""
        return bool(self._ask_of(number, "drop_at", count=count))

    def _those(self, worker: int) -> Sequence[int]:
        return [worker] if worker in self._by_number else self.workers

    def _worker_of(self, number: int) -> int:
        return (number - 1) % len(self.workers) + 1

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        row["worker"] = self._worker_of(row["id"])
        if isinstance(row["peer"], list):
            row["peer"] = tuple(row["peer"])
        return row

    def _ask_of(self, number: int, call: str, **arguments: Any) -> Any:
        """Ask the worker of a connection; None if it does not know it, or does not answer."""
        if number < 1:
            return None
        worker = self._worker_of(number)
        return self._ask_each(call, {worker: {"id": number, **arguments}}).get(worker)

    def _ask(self, workers: Iterable[int], call: str, **arguments: Any) -> dict[int, Any]:
        return self._ask_each(call, dict.fromkeys(workers, arguments))

    def _ask_each(self, call: str, arguments: dict[int, dict[str, Any]]) -> dict[int, Any]:
        """Ask workers at the same time; return the results of those that answer.

        Raises:
            ValueError: One that knows the connection cannot do this with it.
        """
        answers: list[dict[str, Any] | None] = self._run(self._gather(call, arguments), [])
        found = {}
        for worker, answer in zip(arguments, answers, strict=False):
            if answer is None or not answer.get("knows", True):
                continue
            if "error" in answer:
                raise ValueError(answer["error"])
            found[worker] = answer["result"]
        return found

    async def _gather(
        self, call: str, arguments: dict[int, dict[str, Any]]
    ) -> list[dict[str, Any] | None]:
        return await asyncio.gather(
            *(self._ask_one(worker, call, given) for worker, given in arguments.items())
        )

    async def _ask_one(
        self, number: int, call: str, arguments: dict[str, Any]
    ) -> dict[str, Any] | None:
        worker = self._by_number[number]
        answer = await worker.ask("inspect", _ASK_SECONDS, call=call, arguments=arguments)
        if answer is None:
            self._silent.add(number)
            return None
        self._silent.discard(number)
        # before the process can have been replaced
        match call, answer.get("result"):
            case "ids", [*ids]:
                seen = ids
            case "keys", {"keys": keys}:
                seen = [key[1] for key in keys]
            case _:
                seen = []
        self._seen[number] = max(self._seen[number], *seen, 0)
        return answer

    def _run(self, asking: Coroutine[Any, Any, _T], otherwise: _T) -> _T:
        """Run a coroutine in the parent's event loop, and wait for it."""
        loop = self._loop
        if loop is None:
            asking.close()
            return otherwise
        try:
            future = asyncio.run_coroutine_threadsafe(asking, loop)
        except RuntimeError:
            # the loop has been closed
            asking.close()
            return otherwise
        with contextlib.suppress(TimeoutError, CancelledError):
            return future.result(_ASK_SECONDS + _MARGIN_SECONDS)
        future.cancel()
        return otherwise


def _sum(found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Add up what workers say of themselves. All have the same handlers, unless they reload."""
    handlers: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    latency: list[int] = []
    kept = {"used": 0, "limit": 0, "dropped": 0}
    for facts in found.values():
        for handler in facts["handlers"]:
            known = handlers.setdefault(handler["path"], handler)
            if known["where"] != handler["where"]:
                known["where"], known["why"] = "mixed", "it differs: choose a worker to see why"
        failed += [text for text in facts["failed"] if text not in failed]
        counts = facts["latency"]
        latency = [a + b for a, b in zip(latency, counts, strict=True)] if latency else counts
        for name in kept:
            kept[name] += facts["kept"][name]
    return {
        "handlers": [handlers[path] for path in sorted(handlers)],
        "failed": failed,
        "latency": latency,
        "kept": kept,
    }
