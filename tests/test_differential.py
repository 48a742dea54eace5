"""fastwsh answers as pywebsocket3 does, except where `differential/expected.toml` says why not."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import Server
from differential import behaviour, frames, handshakes
from differential.player import Scenario, play
from embed_support import free_port, running, wait_until_accepting
from pywebsocket_reference import install_pywebsocket3

if sys.version_info[:2] != (3, 11):
    pytest.skip("pywebsocket3 4.0.2 runs fully on Python 3.11 only", allow_module_level=True)

FOLDER = Path(__file__).parent / "differential"
DIFFERENCES = tomllib.loads((FOLDER / "expected.toml").read_text(encoding="utf-8"))["difference"]
EXPECTED = {
    (name, mode): entry["reason"]
    for entry in DIFFERENCES
    for mode in (*entry["modes"], *(["threads"] if "default" in entry["modes"] else ()))
    for name in entry["scenarios"]
}
SCENARIOS = {
    scenario.name: scenario
    for part in (handshakes, frames, behaviour)
    for scenario in part.scenarios()
}
MODES = {
    "default": (),
    "threads": ("--concurrency", "threads"),
    "strict": ("--strict-compat",),
}

# Seconds of silence, and connections at a time: quickly, and again for what looks wrong.
ROUNDS = ((0.25, 32), (0.6, 4), (1.5, 1))
# More of them are no accident, and would take minutes.
MOST_PLAYED_ALONE = 12

pytestmark = pytest.mark.timeout(600)

Outcomes = dict[str, list[str]]


class Servers:
    """pywebsocket3 and both modes of fastwsh, each with the options that scenarios ask for."""

    def __init__(self, source: Path, root: Path, stack: ExitStack) -> None:
        self._site = install_pywebsocket3(source)
        self._root = root
        self._stack = stack
        self._running: dict[tuple[str, tuple[str, ...]], Server] = {}

    def play(self, name: str, scenarios: list[Scenario], quiet: float, at_a_time: int) -> Outcomes:
        outcomes: Outcomes = {}
        for options in sorted({scenario.options for scenario in scenarios}):
            chosen = [scenario for scenario in scenarios if scenario.options == options]
            port = self._server(name, options).port
            outcomes |= play(chosen, port, quiet=quiet, at_a_time=at_a_time)
        return outcomes

    def _server(self, name: str, options: tuple[str, ...]) -> Server:
        key = (name, options)
        if key not in self._running:
            self._running[key] = self._start(name, options)
        return self._running[key]

    def _start(self, name: str, options: tuple[str, ...]) -> Server:
        port = self._stack.enter_context(free_port())
        args = [option.replace("<port>", str(port)) for option in options]
        args += ["-H", "127.0.0.1", "-p", str(port), "-d", str(self._root)]
        if name == "pywebsocket3":
            command, path = ["-m", "pywebsocket3.standalone", *args], str(self._site)
        else:
            command, path = ["-m", "fastwsh", *args, *MODES[name]], os.environ.get("PYTHONPATH", "")
        server = self._stack.enter_context(running(*command, cwd=self._root, PYTHONPATH=path))
        wait_until_accepting(server, port)
        return server


@pytest.fixture(scope="module")
def outcomes(
    pywebsocket3_source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Outcomes]]:
    """What came of every scenario, by server."""
    root = tmp_path_factory.mktemp("differential") / "handlers"
    shutil.copytree(FOLDER / "handlers", root, ignore=shutil.ignore_patterns("__pycache__"))
    # names that are awkward in a repository
    for name in ("sp ace", "uni-\xe9", "UPPER"):
        shutil.copy(root / "echo_wsh.py", root / f"{name}_wsh.py")
    with ExitStack() as stack:
        servers = Servers(pywebsocket3_source, root, stack)
        result: dict[str, Outcomes] = {name: {} for name in ("pywebsocket3", *MODES)}
        again = list(SCENARIOS.values())
        for quiet, at_a_time in ROUNDS:
            for name in result:
                result[name] |= servers.play(name, again, quiet, at_a_time)
            again = [item for item in again if is_surprising(item.name, result)]
            if at_a_time != ROUNDS[0][1] and len(again) > MOST_PLAYED_ALONE:
                break
        yield result


def is_surprising(name: str, outcomes: dict[str, Outcomes]) -> bool:
    return any(
        (outcomes[mode][name] != outcomes["pywebsocket3"][name]) != ((name, mode) in EXPECTED)
        for mode in MODES
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_same_as_pywebsocket3(name: str, mode: str, outcomes: dict[str, Outcomes]):
    if reason := EXPECTED.get((name, mode)):
        message = f"no difference any more: take it out of expected.toml ({reason})"
        assert outcomes[mode][name] != outcomes["pywebsocket3"][name], message
    else:
        assert outcomes[mode][name] == outcomes["pywebsocket3"][name]


def test_expected_differences_are_listed_once():
    listed = [name for entry in DIFFERENCES for name in entry["scenarios"]]
    assert len(listed) == len(set(listed))
    assert set(listed) <= SCENARIOS.keys()
    assert all(entry["reason"] and set(entry["modes"]) <= MODES.keys() for entry in DIFFERENCES)


def test_scenarios_have_names_of_their_own():
    count = sum(1 for part in (handshakes, frames, behaviour) for _ in part.scenarios())
    assert len(SCENARIOS) == count
