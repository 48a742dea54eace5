"""What the inspector knows: numbers of the last minutes, the log, and the connections.

All pages share one `Watcher`, which takes a sample every second. Values here are ready for JSON.
"""

import base64
import logging
import re
import threading
import time
from collections import deque
from typing import Any, Final

from fastwsh.inspector.local import Source

__all__ = ["ALL", "Watcher"]

ALL: Final = 0
"""Stands for all workers together, and for the one process without workers."""

_SAMPLES: Final = 600
_LOG_LINES: Final = 500
_LINE_CHARACTERS: Final = 4000
_PREVIEW_BYTES: Final = 512
_HEX_BYTES: Final = 64
_BINARY: Final = 2

_METRIC: Final = re.compile(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)")
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

_Metrics = dict[str, list[tuple[dict[str, str], float]]]


class Watcher:
    """Looks at a server.

    Args:
        source: The server.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._ending = threading.Event()
        self._lock = threading.Lock()
        # by worker
        self._samples: dict[int, deque[list[float]]] = {
            worker: deque(maxlen=_SAMPLES) for worker in (ALL, *source.workers)
        }
        self._metrics: dict[int, _Metrics] = {}
        self._log: deque[dict[str, Any]] = deque(maxlen=_LOG_LINES)
        self._logged = 0
        self._seen_lines = 0
        self._handler = _LogHandler(self)
        self._thread = threading.Thread(
            target=self._run, name="fastwsh-inspector-samples", daemon=True
        )

    @property
    def inspection(self) -> Any:
        """What is known of connections, once the server has begun."""
        return self.source.inspection

    def start(self) -> None:
        """Take samples, and listen to the log."""
        logging.getLogger().addHandler(self._handler)
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples, and listen no more."""
        self._ending.set()
        logging.getLogger().removeHandler(self._handler)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            self.sample()
            self._ending.wait(1)

    def note(self, level: str, text: str, connection: int | None = None) -> None:
        """Add a line to the log of the inspector."""
        if len(text) > _LINE_CHARACTERS:
            text = f"{text[:_LINE_CHARACTERS]} ..."
        with self._lock:
            self._logged += 1
            line = {"number": self._logged, "time": time.time(), "level": level, "text": text}
            self._log.append({**line, "connection": connection})

    def log_after(self, number: int) -> list[dict[str, Any]]:
        """Return the lines behind the one with this number."""
        with self._lock:
            return [line for line in self._log if line["number"] > number]

    def sample(self) -> None:
        """Take a sample."""
        texts = self.source.metrics()
        if not texts:
            return
        self._take_lines()
        parsed = {worker: _parse(text) for worker, text in texts.items()}
        moment = round(time.time(), 2)
        with self._lock:
            self._metrics = parsed
            for worker, metrics in parsed.items():
                self._samples[worker].append([moment, *_counts(metrics)])

    def _take_lines(self) -> None:
        """Take the lines that a server of tests keeps for itself."""
        lines = getattr(self.source.log, "lines", [])
        for line in lines[self._seen_lines :]:
            level, _, text = line.partition(" ")
            if level in {"WARNING", "ERROR", "CRITICAL"} and not _has_token(text):
                self.note(level.lower(), text)
        self._seen_lines = len(lines)

    def samples_after(self, moment: float, worker: int = ALL) -> list[list[float]]:
        """Return the samples behind a moment: time, messages and bytes both ways, connections."""
        with self._lock:
            return [sample for sample in self._samples.get(worker, ()) if sample[0] > moment]

    def open_connections(self) -> float:
        """Return how many connections are open in all."""
        with self._lock:
            samples = self._samples[ALL]
            return samples[-1][-1] if samples else 0

    def overview(self, worker: int = ALL) -> dict[str, Any]:
        """Return what the first view shows beside the samples."""
        with self._lock:
            metrics = self._metrics.get(worker, {})

        def rows(name: str) -> list[list[Any]]:
            return [[labels, value] for labels, value in metrics.get(name, ())]

        return {
            **self.source.facts(worker),
            "worker": worker,
            "workers": self._workers(),
            "connections": rows("fastwsh_connections"),
            "handshakes": rows("fastwsh_handshakes_total"),
            "closes": rows("fastwsh_closes_total"),
            "errors": rows("fastwsh_handler_errors_total"),
            "slices": _total(metrics, "fastwsh_hub_slices_total"),
            "stalls": _total(metrics, "fastwsh_hub_stalls_total"),
            "threads": rows("fastwsh_handler_threads"),
            "memory": _total(metrics, "process_resident_memory_bytes"),
        }

    def _workers(self) -> list[dict[str, Any]]:
        """Return a row for each worker."""
        found = self.source.states()
        with self._lock:
            for row in found:
                metrics = self._metrics.get(row["number"], {})
                samples = self._samples[row["number"]]
                last = samples[-1] if samples else [0.0] * 6
                before = samples[-2] if len(samples) > 1 else last
                time_between = max(0.001, last[0] - before[0])
                rates = [
                    max(0.0, (now - then) / time_between)
                    for now, then in zip(last[1:5], before[1:5], strict=True)
                ]
                row.update(
                    open=last[5],
                    received=round(rates[0], 1),
                    sent=round(rates[1], 1),
                    bytes=round(rates[2] + rates[3]),
                    failed=_total(metrics, "fastwsh_handler_errors_total"),
                    memory=_total(metrics, "process_resident_memory_bytes"),
                )
        return found

    def page(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return some of the connections."""
        inspection = self.inspection
        if inspection is None:
            return {"open": 0, "ended": 0, "matching": 0, "rows": []}
        worker = {"worker": int(query.get("worker", ALL))} if self.source.workers else {}
        page: dict[str, Any] = inspection.page(
            key=str(query.get("key", "id")),
            descending=bool(query.get("descending")),
            filter=str(query.get("filter", "")),
            open=bool(query.get("open", True)),
            ended=bool(query.get("ended", True)),
            offset=max(0, int(query.get("offset", 0))),
            count=min(200, max(0, int(query.get("count", 50)))),
            **worker,
        )
        page["rows"] = [_row(row) for row in page["rows"]]
        return page

    def connection(self, number: int) -> dict[str, Any] | None:
        """Return all about a connection but its frames."""
        inspection = self.inspection
        found = None if inspection is None else inspection.connection(number)
        return None if found is None else _row(found)

    def frames(self, number: int, after: int, most: int) -> dict[str, Any] | None:
        """Return frames of a connection, with the beginnings of their payloads."""
        inspection = self.inspection
        if inspection is None:
            return None
        found: dict[str, Any] | None = inspection.records(
            number, after=after, most=most, data_bytes=_PREVIEW_BYTES
        )
        if found is not None:
            found["records"] = [_record(record) for record in found["records"]]
        return found

    def payload(self, number: int, frame: int) -> dict[str, Any] | None:
        """Return one frame with all of its payload that was kept."""
        inspection = self.inspection
        found = inspection and inspection.records(number, after=frame - 1, most=1)
        if not found or not found["records"] or found["records"][0]["number"] != frame:
            return None
        record: dict[str, Any] = found["records"][0]
        if "data" in record:
            record["data"] = base64.b64encode(record["data"]).decode()
        return record


class _LogHandler(logging.Handler):
    """Shows warnings and errors in the inspector."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__(logging.WARNING)
        self._watcher = watcher

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record; an error in formatting it is logged, and not raised to the caller."""
        try:
            text = f"{record.name}: {record.getMessage()}"
            if _has_token(text):
                return
            if record.exc_info:
                text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        except Exception:  # noqa: BLE001 (arguments format themselves)
            self.handleError(record)
            return
        self._watcher.note(record.levelname.lower(), text)


def _has_token(line: str) -> bool:
    """Tell whether a line of the log is the one with the URL of the inspector."""
    return line.startswith("fastwsh.server: Inspector ") and "?token=" in line


def _parse(text: str) -> _Metrics:
    """Return Prometheus' text format as values by name, each with its labels."""
    found: _Metrics = {}
    # not `splitlines`: paths in labels may have other line separators
    for line in text.split("\n"):
        if not line.startswith("#") and (match := _METRIC.fullmatch(line)):
            labels = dict(_LABEL.findall(match[2] or ""))
            found.setdefault(match[1], []).append((labels, float(match[3])))
    return found


def _total(metrics: _Metrics, name: str, **labels: str) -> float:
    """Return the sum of those with these labels."""
    return sum(
        value
        for of, value in metrics.get(name, ())
        if all(of.get(key) == label for key, label in labels.items())
    )


def _counts(metrics: _Metrics) -> list[float]:
    return [
        _total(metrics, "fastwsh_messages_total", direction="received"),
        _total(metrics, "fastwsh_messages_total", direction="sent"),
        _total(metrics, "fastwsh_wire_bytes_total", direction="received"),
        _total(metrics, "fastwsh_wire_bytes_total", direction="sent"),
        _total(metrics, "fastwsh_connections", state="open"),
    ]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    peer = row["peer"]
    if isinstance(peer, tuple) and peer:
        host, port = str(peer[0]), peer[1]
        row["peer"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    else:
        row["peer"] = "Unix socket"
    return row


def _record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the beginning of its payload as text, or in hex if it is binary."""
    if "note" in record:
        return record
    data: bytes = record.pop("data")
    record["kept"] = len(data)
    if record["first"] & 0xF == _BINARY:
        record["hex"] = data[:_HEX_BYTES].hex(" ")
        return record
    try:
        record["text"] = data.decode()
    except UnicodeDecodeError as error:
        is_cut = len(data) == _PREVIEW_BYTES and error.start > len(data) - 4
        if is_cut:
            # inside a character
            record["text"] = data[: error.start].decode()
        else:
            record["hex"] = data[:_HEX_BYTES].hex(" ")
    return record
