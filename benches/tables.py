"""Results as Markdown: the figures of all peers, and ratios to some of them."""

import statistics
from collections.abc import Iterable, Sequence

from measurement import Report
from peers import PEERS, REFERENCES
from results import Results, is_client_bound, is_disturbed, median, value
from scenarios import SCENARIOS, Figure, Scenario

_LEGEND = """\
Medians over the rounds. Compare the server's time per message first: it does not depend on how
quick the load generator is. "Client-bound" means that the server waited for the load generator, so
that the rate is a lower bound. "Spread" is the range over the rounds as a share of the median."""
_RATIO_LEGEND = """\
Medians of the ratios of each round, with their range in brackets. \\* One of the two was
client-bound. † One of the two was disturbed."""


def write(results: Results, scenarios: Sequence[Scenario] = SCENARIOS) -> str:
    """Return the whole report."""
    measured = [scenario for scenario in scenarios if results.peers(scenario)]
    parts = ["\n".join(f"- {line}" for line in results.header), _LEGEND]
    parts += [_figures(results, scenario) for scenario in measured]
    ratios = [
        table
        for kind in REFERENCES
        for subject in results.subjects
        for table in _ratio_tables(results, subject, kind, measured)
        if table
    ]
    if ratios:
        parts += [*ratios, _RATIO_LEGEND]
    return "\n\n".join(parts)


def _figures(results: Results, scenario: Scenario) -> str:
    titles = ["", *(figure.title for figure in scenario.figures), "spread", "notes"]
    rows = []
    for peer in _in_order(results.peers(scenario)):
        reports = results.counting(scenario, peer)
        cells = []
        for figure in scenario.figures:
            middle = median(reports, figure)
            cells.append("-" if middle is None else figure.shown(middle))
        spread = _spread(reports, scenario.rate or scenario.cost)
        rows.append([peer, *cells, spread, "; ".join(_notes(reports.values()))])
    return f"### {scenario.letter}. {scenario.title}\n\n{_table(titles, rows)}"


def _in_order(names: Iterable[str]) -> list[str]:
    order = [peer.name for peer in PEERS]
    return sorted(names, key=lambda name: (order.index(name) if name in order else -1, name))


def _spread(reports: dict[int, Report], figure: Figure) -> str:
    values = [found for report in reports.values() if (found := value(report, figure)) is not None]
    if len(values) < 2 or not any(values):
        return "-"
    return f"{(max(values) - min(values)) / statistics.median(values):.0%}"


def _notes(reports: Iterable[Report]) -> list[str]:
    notes: dict[str, None] = {}
    for report in reports:
        if failed := report.get("failed"):
            notes[f"failed: {failed}".replace("|", "/")] = None
        for message in report.get("errors", {}):
            notes[message.replace("|", "/")] = None
        if report.get("unanswered"):
            notes["unanswered messages"] = None
        if report.get("left_open"):
            notes["leaves connections open"] = None
        if is_client_bound(report):
            notes["client-bound"] = None
        if is_disturbed(report):
            notes["disturbed"] = None
    return list(notes)


# Of each kind: what its ratios of costs say.
_COST_TITLES = {
    "echo": "times less processor time per message (G: per handshake; H: times less memory)",
    "topics": "times less processor time per delivery",
    "workers": "times as many messages before the busiest process has no time left",
}


def _ratio_tables(
    results: Results, subject: str, kind: str, scenarios: Sequence[Scenario]
) -> tuple[str, str]:
    """Return the ratios of rates and of costs in the scenarios of a kind."""
    of_kind = [scenario for scenario in scenarios if scenario.kind == kind]
    rates = [
        (scenario, _ratios(results, subject, scenario, scenario.rate, more=True))
        for scenario in of_kind
        if scenario.rate is not None
    ]
    costs = [
        (scenario, _ratios(results, subject, scenario, scenario.cost, more=False))
        for scenario in of_kind
    ]
    references = list(REFERENCES[kind])
    return (
        _ratio_table(f"{subject}: times as many messages/s (G: handshakes/s)", references, rates),
        _ratio_table(f"{subject}: {_COST_TITLES[kind]}", references, costs),
    )


def _ratio_table(
    title: str, references: Sequence[str], rows: Sequence[tuple[Scenario, list[str]]]
) -> str:
    lines = [
        [f"{scenario.letter}. {scenario.title}", *cells]
        for scenario, cells in rows
        if any(cell != "-" for cell in cells)
    ]
    return f"### {title}\n\n{_table(['', *references], lines)}" if lines else ""


def _ratios(
    results: Results, subject: str, scenario: Scenario, figure: Figure, *, more: bool
) -> list[str]:
    """Return a cell per reference."""
    ours = results.counting(scenario, subject)
    cells = []
    for names in REFERENCES[scenario.kind].values():
        rated = [
            (middle, name)
            for name in names
            if name != subject and (middle := median(results.counting(scenario, name), figure))
        ]
        if not rated or not median(ours, figure):
            cells.append("-")
            continue
        name = (max if more else min)(rated)[1]
        cell = _ratio(ours, results.counting(scenario, name), figure, more=more)
        cells.append(cell if len(names) == 1 else f"{cell} {name}")
    return cells


def _ratio(
    ours: dict[int, Report], theirs: dict[int, Report], figure: Figure, *, more: bool
) -> str:
    """Compare round by round, because the machine may be slower in one than in another."""
    factors = []
    for turn in ours.keys() & theirs.keys():
        our_value, their_value = value(ours[turn], figure), value(theirs[turn], figure)
        if our_value and their_value:
            factors.append(our_value / their_value if more else their_value / our_value)
    if not factors:
        # Different rounds were disturbed.
        our_median, their_median = median(ours, figure), median(theirs, figure)
        if not our_median or not their_median:
            return "-"
        factors = [our_median / their_median if more else their_median / our_median]
    cell = _factor(statistics.median(factors))
    if len(factors) > 1:
        cell += f" ({_factor(min(factors))} to {_factor(max(factors))})"
    both = [*ours.values(), *theirs.values()]
    if more and any(map(is_client_bound, both)):
        cell += " \\*"
    if any(map(is_disturbed, both)):
        cell += " †"
    return cell


def _factor(ratio: float) -> str:
    if ratio >= 10:
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 2 else f"{ratio:.2f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---" if title in {"", "notes"} else "---:" for title in titles]
    lines = [titles, rule, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
