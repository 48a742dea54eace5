"""Say what an echo costs the server over HTTP/1.1 and over HTTP/2.

    python3 benches/http2.py [--messages N] [--scenarios ACE]

The scenarios are A, C and E of `run.py`, the last with 64 WebSockets. hypercorn, which speaks
HTTP/2 as well, is measured beside fastwsh if the interpreter has it (`pip install hypercorn`). The
load needs Node.js.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from echo_cost import LARGE, MANY, ONE, Scenario, Server, Way, fastwsh, report, ways

LOAD = Path(__file__).parent / "node" / "http2_load.js"

HYPERCORN = Path(__file__).parent / "python" / "hypercorn_echo.py"

SCENARIOS = (
    Scenario(ONE, 5, (Way("HTTP/1.1", 1, 1, 1), Way("HTTP/2", 2, 1, 1))),
    Scenario(MANY, 1, (Way("HTTP/1.1, 64 connections", 1, 64, 1), *ways(2))),
    Scenario(
        LARGE,
        25,
        (
            Way("HTTP/1.1, 64 connections", 1, 64, 1, 65536, 4),
            *ways(2, size=65536, under_way=4),
        ),
    ),
)


def measure(server: Server, way: Way, messages: int) -> float:
    """Return the processor seconds of a server for so many messages."""
    numbers = (way.version, way.connections, way.streams, way.size, way.under_way, messages)
    command = ["node", str(LOAD), str(server.port), *map(str, numbers)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as load:
        lines, say = load.stdout, load.stdin
        if lines is None or say is None or lines.readline() != "open\n":
            sys.exit(f"http2.py: the clients did not connect ({way.name})")
        before = server.cpu_seconds()
        say.write("go\n")
        say.flush()
        if lines.readline() != "done\n":
            sys.exit(f"http2.py: the clients lost their connections ({way.name})")
        return server.cpu_seconds() - before


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--scenarios", default="ACE", metavar="LETTERS")
    options = parser.parse_args()
    commands = {
        "hub": fastwsh("auto", "--http2"),
        "threads": fastwsh("threads", "--http2"),
    }
    if importlib.util.find_spec("hypercorn"):
        commands["hypercorn*"] = [sys.executable, str(HYPERCORN)]
    chosen = [scenario for scenario in SCENARIOS if scenario.name[0] in options.scenarios]
    report(commands, chosen, options.messages, measure)


if __name__ == "__main__":
    main()
