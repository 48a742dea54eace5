"""The command line of the benchmark, and the matrix of peers and scenarios that it runs."""

import argparse
import datetime as dt
import math
import shlex
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import environment
import machine
import peers
import scenarios
import tables
from environment import SetupError, note
from measurement import check, measure
from peers import Peer
from results import Results, value
from scenarios import Scenario


def main(description: str) -> int:
    """Do what the command line says; returns the exit status."""
    options = _options(description)
    # Servers are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(options)
    except (SetupError, OSError, ValueError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _options(description: str) -> argparse.Namespace:
    names = ", ".join(peer.name for peer in peers.PEERS)
    parser = argparse.ArgumentParser(
        prog="run.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peers", metavar="A,B", help=f"only these: {names}")
    add("--scenarios", metavar="A,B", help="only these: A to L")
    add("--rounds", type=_count, default=3, metavar="N", help="runs of each (default: 3)")
    add("--seconds", type=_seconds, default=2.5, metavar="S", help="of each run (default: 2.5)")
    add("--add", action="append", default=[], metavar="'NAME=COMMAND {port}'", help="one more peer")
    add(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="measure this fastwsh, not a build of the checkout",
    )
    add("--json", type=Path, metavar="FILE", help="write all reports to this file")
    add("--tables-from", type=Path, metavar="FILE", help="print the tables of such a file")
    add("--setup-only", action="store_true", help="install and build, but do not measure")
    options = parser.parse_args()
    try:
        more = [peers.added(text) for text in options.add]
        known = [*more, *peers.PEERS]
        options.peers = peers.chosen(options.peers, known) if options.peers else known
        letters = options.scenarios
        options.scenarios = scenarios.chosen(letters) if letters else scenarios.SCENARIOS
    except ValueError as error:
        parser.error(str(error))
    if options.wheel and not options.wheel.is_file():
        parser.error(f"--wheel {options.wheel} is no file: give a wheel of fastwsh")
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100")
    return int(text)


def _seconds(text: str) -> float:
    wrong = argparse.ArgumentTypeError(f"{text!r} is not a number from 0.1 to 600")
    try:
        seconds = float(text)
    except ValueError as error:
        raise wrong from error
    if not 0.1 <= seconds <= 600:
        raise wrong
    return seconds


def _run(options: argparse.Namespace) -> int:
    if options.tables_from:
        print(tables.write(Results.load(options.tables_from), options.scenarios))
        return 0
    if options.json:
        # Better now than after the measurement.
        _try_to_write(options.json)
    kinds = {scenario.kind for scenario in options.scenarios}
    wanted = [peer for peer in options.peers if any(map(peer.command_for, kinds))]
    usable = _working(environment.prepare(wanted, options.wheel), kinds)
    if options.setup_only:
        note(f"ready: {', '.join(peer.name for peer in usable)}")
        return 0
    results = Results(
        _header(usable, options.wheel), [peer.name for peer in usable if peer.subject]
    )
    matrix = [
        (turn, scenario, peer)
        for turn in range(options.rounds)
        for scenario in _possible(options.scenarios)
        for peer in _rotated(usable, turn)
        if peer.command_for(scenario.kind) and (peer.deflate or not scenario.deflate)
    ]
    minutes = sum(_expected_seconds(scenario, options.seconds) for _, scenario, _ in matrix) / 60
    note(f"this takes about {math.ceil(minutes)} min, more on a busy machine")
    for turn, scenario, peer in matrix:
        report = measure(peer, scenario, options.seconds)
        results.add(turn, scenario, peer, report)
        figure = scenario.rate or scenario.cost
        found = value(report, figure)
        shown = report.get("failed") or "; ".join(report.get("errors", {}))
        if found is not None:
            shown = f"{figure.shown(found)} {figure.title}"
        note(f"round {turn + 1}, {scenario.letter}, {peer.name}: {shown}")
        if options.json:
            results.save(options.json)
    print(tables.write(results))
    return 0


def _try_to_write(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written ({error.strerror}): name another file with --json"
        ) from error


def _working(usable: Sequence[Peer], kinds: Collection[str]) -> list[Peer]:
    """Leave out the peers that do not start or do not answer."""
    working = []
    for peer in usable:
        reasons = (check(peer, kind) for kind in kinds if peer.command_for(kind))
        if reason := next(filter(None, reasons), ""):
            note(f"{peer.name} is left out: {reason}")
        else:
            working.append(peer)
    if not working:
        raise SetupError("no server works: see the reasons above")
    return working


def _header(usable: Sequence[Peer], wheel: Path | None) -> list[str]:
    today = dt.datetime.now(dt.UTC).strftime("%d %B %Y, %H:%M UTC")
    cores = machine.two_cores()
    placement = (
        f"server on core {cores[0]}, load generator on core {cores[1]}"
        if cores
        else "server and load generator share one core, so rates and latencies mean little"
    )
    return [
        f"{today}; `{shlex.join(['python3', 'benches/run.py', *sys.argv[1:]])}`",
        f"{machine.description()}; {placement}",
        environment.languages(),
        environment.versions(usable, wheel),
    ]


def _possible(wanted: Sequence[Scenario]) -> list[Scenario]:
    """Leave out what needs more open files than are allowed."""
    possible = []
    for scenario in wanted:
        if machine.allow_connections(scenario.idle or scenario.subscribers or 1_000):
            possible.append(scenario)
        else:
            note(f"{scenario.title} are left out: raise the limit on open files with ulimit -Hn")
    return possible


def _rotated(usable: Sequence[Peer], turn: int) -> list[Peer]:
    """Change the order from round to round, so that nobody always follows the same one."""
    start = turn * 7 % len(usable)
    return [*usable[start:], *usable[:start]]


def _expected_seconds(scenario: Scenario, seconds: float) -> float:
    return 8.0 if scenario.idle or scenario.subscribers > 1_000 else seconds + 2.5
