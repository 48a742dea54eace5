"""Adds up the metrics of all workers.

Counters are sums, and do not fall when a worker is replaced: what it had counted stays. Gauges, and
what is about a process, stand there for each worker, with a label.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

__all__ = ["MetricTotals"]

_Values = dict[str, float]

# Metrics that have the same value in all workers, and are not added up.
_COMMON: Final = frozenset({"fastwsh_build_info"})

# The most samples of a counter that are kept of the ended processes of a worker. Clients choose
# paths of handlers with subpaths, and codes, and each process may have had some 400 others.
_MAX_KEPT: Final = 500
_FIRST_LABEL: Final = re.compile(r'(\{[^=]*=)"(?:[^"\\]|\\.)*"')


class MetricTotals:
    """What the workers have counted."""

    def __init__(self) -> None:
        # name: type and help, in the order in which they are told
        self._families: dict[str, tuple[str, str]] = {}
        # what each process said last, and what those that have ended had counted, by worker
        self._current: dict[tuple[int, int], _Values] = {}
        self._kept: dict[int, _Values] = {}

    def update(self, worker: int, turn: int, text: str) -> None:
        """Take what a process says now.

        Args:
            worker: The number of its worker.
            turn: Which of the two that the worker may have, 0 or 1.
            text: Its metrics.
        """
        values: _Values = {}
        # not `splitlines`: paths in labels may have other line separators
        for line in text.split("\n"):
            if line.startswith("# "):
                _, word, name, rest = line.split(" ", 3)
                kind, help_text = self._families.get(name, ("", ""))
                changed = (rest, help_text) if word == "TYPE" else (kind, rest)
                self._families[name] = changed
            elif line:
                sample, _, value = line.rpartition(" ")
                values[sample] = float(value)
        self._current[worker, turn] = values

    def keep(self, worker: int, turn: int) -> None:
        """Keep the counters of a process that has ended."""
        kept = self._kept.setdefault(worker, {})
        counts = Counter(map(_name, kept))
        for sample, value in self._current.pop((worker, turn), {}).items():
            if not self._is_counter(sample):
                continue
            if sample not in kept:
                counts[_name(sample)] += 1
            own = sample in kept or counts[_name(sample)] <= _MAX_KEPT
            key = sample if own else _as_other(sample)
            kept[key] = kept.get(key, 0) + value

    def to_text(self, workers: Mapping[int, tuple[bool, int]]) -> str:
        """Return all metrics.

        Args:
            workers: For each, whether it is ready, and how often it was started.
        """
        by_family: dict[str, _Values] = {name: {} for name in self._families}
        for number, (_, times) in workers.items():
            current = self._current.get((number, times % 2), {})
            former = self._counted_before(number, times % 2)
            for sample in {**former, **current}:
                name = _name(sample)
                value = former.get(sample, 0) + current.get(sample, 0)
                family = by_family[name]
                if name in _COMMON:
                    family[sample] = value
                elif self._is_counter(sample) and name.startswith("fastwsh_"):
                    family[sample] = family.get(sample, 0) + value
                else:
                    family[_with_label(sample, number)] = value
        lines = []
        for name, family in by_family.items():
            kind, help_text = self._families[name]
            lines += _lines(name, kind, help_text, family)
        states = {
            f'fastwsh_worker_ready{{worker="{number}"}}': float(is_ready)
            for number, (is_ready, _) in workers.items()
        }
        starts = {
            f'fastwsh_worker_starts_total{{worker="{number}"}}': float(count)
            for number, (_, count) in workers.items()
        }
        help_text = "Whether the worker accepts connections."
        lines += _lines("fastwsh_worker_ready", "gauge", help_text, states)
        help_text = "How often a process was started for the worker."
        lines += _lines("fastwsh_worker_starts_total", "counter", help_text, starts)
        return "\n".join([*lines, ""])

    def _counted_before(self, worker: int, turn: int) -> _Values:
        """Return the counters of the processes before the one that has the turn."""
        counted = dict(self._kept.get(worker, {}))
        for sample, value in self._current.get((worker, 1 - turn), {}).items():
            if self._is_counter(sample):
                counted[sample] = counted.get(sample, 0) + value
        return counted

    def _is_counter(self, sample: str) -> bool:
        return self._families[_name(sample)][0] == "counter"


def _lines(name: str, kind: str, help_text: str, samples: _Values) -> list[str]:
    told = [f"{sample} {_number(value)}" for sample, value in samples.items()]
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *told]


def _name(sample: str) -> str:
    return sample.partition("{")[0]


def _as_other(sample: str) -> str:
    """Return the sample as which a process counts what it does not count separately."""
    return _FIRST_LABEL.sub(r'\1"other"', sample, count=1)


def _with_label(sample: str, worker: int) -> str:
    name, _, labels = sample.partition("{")
    more = f",{labels}" if labels else "}"
    return f'{name}{{worker="{worker}"{more}'


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
