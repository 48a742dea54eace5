#!/usr/bin/env python3
"""How long a server takes from exec to accepting, beside pywebsocket3.

    python3 benches/startup.py /path/to/pywebsocket3/example

The argument is a folder of handlers, usually pywebsocket3's examples. The figures are the processor
time until a connection is accepted, which other work on the machine changes least, and the time on
the clock. It needs fastwsh in the interpreter that runs it, and in the other one (--python)
pywebsocket3.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 30.0


def start(python: str, module: str, folder: str) -> tuple[float, float]:
    """Start a server; return its milliseconds of processor time, and on the clock."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, "-P", "-m", module, "-H", "127.0.0.1", "-p", str(port), "-w", folder]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--log-level", "error"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while time.perf_counter() - started < SECONDS:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.0005)
            else:
                sys.exit(f"startup.py: {module} did not start")
            clock = time.perf_counter() - started
            tasks = Path(f"/proc/{process.pid}/task").iterdir()
            used = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)
        finally:
            process.kill()
    return used / 1e6, clock * 1e3


def main() -> None:
    """Start both in turns, and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=os.path.abspath)
    parser.add_argument("--python", default=sys.executable, help="has pywebsocket3")
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    servers = {"fastwsh": sys.executable, "pywebsocket3.standalone": options.python}
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        for module, python in servers.items():
            found.setdefault(module, []).append(start(python, module, options.folder))
    for module, figures in found.items():
        used, clock = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{module:24} {used:6.1f} ms of processor time, {clock:6.1f} ms on the clock")


if __name__ == "__main__":
    main()
