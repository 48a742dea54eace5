"""Say what an echo costs the server over HTTP/1.1 and over HTTP/2.

    python3 benches/http2.py [--messages N]

The figure is the server's processor time per message of 32 bytes, one message of each WebSocket
under way. It needs Node.js, and fastwsh in the interpreter that runs it.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HANDLER = """\
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message)
"""

LOAD = Path(__file__).parent / "node" / "http2_load.js"

# Name, version, connections, streams of each.
WAYS = (
    ("HTTP/1.1, 64 connections", 1, 64, 1),
    ("HTTP/2, 64 connections", 2, 64, 1),
    ("HTTP/2, 64 streams on one connection", 2, 1, 64),
)

ROUNDS = 3


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_server(folder: str, concurrency: str) -> tuple[subprocess.Popen[str], int]:
    """Start a server; return it and its port."""
    command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "--http2"]
    command += ["--log-level", "info", "--concurrency", concurrency]
    server = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    for line in server.stderr or ():
        if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
            return server, int(found[1])
    sys.exit("http2.py: the server did not start")


def measure(server: subprocess.Popen[str], port: int, way: tuple[int, ...], messages: int) -> float:
    """Return the microseconds of the server per message."""
    command = ["node", str(LOAD), str(port), *map(str, way), str(messages)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines, say = load.stdout, load.stdin
    if lines is None or say is None or lines.readline() != "open\n":
        sys.exit("http2.py: the clients did not connect")
    before = cpu_seconds(server.pid)
    say.write("go\n")
    say.flush()
    if lines.readline() != "done\n":
        sys.exit("http2.py: the clients lost their connections")
    used = cpu_seconds(server.pid) - before
    load.wait()
    return used / messages * 1e6


def main() -> None:
    """Measure all ways in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    messages = parser.parse_args().messages
    for concurrency in ("auto", "threads"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "echo_wsh.py").write_text(HANDLER)
            server, port = start_server(folder, concurrency)
            try:
                found: dict[str, list[float]] = {name: [] for name, *_ in WAYS}
                for _ in range(ROUNDS):
                    for name, *way in WAYS:
                        found[name].append(measure(server, port, tuple(way), messages))
            finally:
                server.kill()
        medians = {name: statistics.median(values) for name, values in found.items()}
        base = medians[WAYS[0][0]]
        print(f"--concurrency {concurrency}")
        for name, median in medians.items():
            print(f"  {name:38} {median:6.2f} µs per message, {median / base:4.2f} times")


if __name__ == "__main__":
    main()
