#!/usr/bin/env python3
"""What TLS costs: echoes, handshakes new and resumed, and memory, beside other servers in Python.

    python3 benches/tls.py
    python3 benches/tls.py --peers websockets-asyncio,picows --rounds 1

The figure is the server's processor time per message, and memory per idle connection. It needs
fastwsh and trustme in the interpreter that runs it, and for the others what `run.py --setup-only`
installs.
"""

import argparse
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from echo_cost import HANDLER
from instructions import connection_to, frame_of, skip
from peers import PYTHON

OTHERS = ("websockets-asyncio", "picows", "aiohttp-uvloop")
OURS = ("fastwsh-hub", "fastwsh-asyncio")
COROUTINE = HANDLER.replace("def web_socket_transfer", "async def web_socket_transfer")
for _name in ("receive_message", "send_message"):
    _call = f"request.ws_stream.{_name}"
    COROUTINE = COROUTINE.replace(_call, f"await {_call}")
SECONDS = 60.0
IDLE = 300


@dataclass(frozen=True)
class Server:
    """A running server, and how to trust it."""

    process: int
    port: int
    context: ssl.SSLContext

    def cpu(self) -> float:
        """Return its processor seconds so far."""
        total = 0
        for task in Path(f"/proc/{self.process}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory(self) -> float:
        """Return its memory in KiB, with its part of shared pages."""
        lines = Path(f"/proc/{self.process}/smaps_rollup").read_text().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("Pss:")))

    def connect(self, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """Open a TLS connection."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(plain, server_hostname="localhost", session=session)

    def open(self) -> ssl.SSLSocket:
        """Open a WebSocket connection."""
        connection = self.connect()
        connection_to(connection, "echo")
        return connection


def echo(connections: int, size: int, under_way: int, messages: int) -> Callable[[Server], float]:
    """Make the measurement of an echo: microseconds per message."""
    frame = frame_of(1 if size < 1000 else 2, b"a" * size) * under_way
    reply = (size + (2 if size < 126 else 4 if size < 65536 else 10)) * under_way

    def measure(server: Server) -> float:
        with ExitStack() as stack:
            opened = [stack.enter_context(server.open()) for _ in range(connections)]
            started = 0.0
            rounds = messages // connections // under_way
            for turn in range(-max(1, rounds // 10), rounds):
                if turn == 0:
                    started = server.cpu()
                for connection in opened:
                    connection.sendall(frame)
                for connection in opened:
                    skip(connection, reply)
            return (server.cpu() - started) / (rounds * connections * under_way) * 1e6

    return measure


def handshakes(server: Server, *, resumed: bool) -> float:
    """Return the microseconds of a TLS and a WebSocket handshake, with the end of both."""
    session: ssl.SSLSession | None = None
    started, count = 0.0, 200
    for turn in range(-5, count):
        if turn == 0:
            started = server.cpu()
        with server.connect(session) as connection:
            connection_to(connection, "echo")
            if turn >= 0 and connection.session_reused is not resumed:
                return float("nan")
            connection.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
            while connection.recv(4096):
                pass
            # the server's tickets come behind the handshake
            session = connection.session if resumed else None
    return (server.cpu() - started) / count * 1e6


def idle(server: Server) -> float:
    """Return the KiB of an idle connection after an echo."""
    with ExitStack() as stack:
        before = server.memory()
        for _ in range(IDLE):
            connection = stack.enter_context(server.open())
            connection.sendall(frame_of(1, b"a" * 32))
            skip(connection, 34)
        time.sleep(0.5)
        return (server.memory() - before) / IDLE


SCENARIOS: dict[str, Callable[[Server], float]] = {
    "A: 1 connection, 32 B, µs": echo(1, 32, 1, 3_000),
    "C: 64 connections, 32 B, µs": echo(64, 32, 1, 6_400),
    "E: 8 connections, 64 KiB, 4 under way, µs": echo(8, 65536, 4, 960),
    "handshake, new, µs": lambda server: handshakes(server, resumed=False),
    "handshake, resumed, µs": lambda server: handshakes(server, resumed=True),
    "idle connection, KiB": idle,
}


def main() -> None:
    """Measure everything in turns, and print a table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers", default=",".join(OTHERS), help="the others (default: %(default)s)"
    )
    parser.add_argument("--python", default=str(PYTHON), help="their interpreter")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = [*OURS, *filter(None, options.peers.split(","))]
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        authority = trustme.CA()
        pem = Path(folder, "server.pem")
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        servers = {
            name: stack.enter_context(running(name, options.python, pem, context)) for name in names
        }
        for _ in range(options.rounds):
            for scenario, measure in SCENARIOS.items():
                for name, server in servers.items():
                    found.setdefault((scenario, name), []).append(measure(server))
                    print(f"{scenario}: {name}: {found[scenario, name][-1]:.1f}", file=sys.stderr)
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for scenario in SCENARIOS:
        # later rounds use the memory that the first has left
        middle = max if "KiB" in scenario else statistics.median
        figures = (middle(found[scenario, name]) for name in names)
        print(f"| {scenario} | {' | '.join(f'{figure:,.1f}' for figure in figures)} |")


@contextmanager
def running(name: str, python: str, pem: Path, context: ssl.SSLContext) -> Iterator[Server]:
    """Run a server with TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if name in OURS:
        folder = pem.parent / name
        folder.mkdir()
        source = HANDLER if name == "fastwsh-hub" else COROUTINE
        (folder / "echo_wsh.py").write_text(source, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "fastwsh", "-H", "127.0.0.1", "-p", str(port)]
        command += ["-w", str(folder), "--ssl-certfile", str(pem)]
    else:
        module = name.removesuffix("-uvloop").replace("-", "_")
        script = Path(__file__).with_name("python") / f"{module}_echo.py"
        command = [python, str(script), str(port)]
    environ = {**os.environ, "ECHO_CERTIFICATE": str(pem)}
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        sys.exit(f"tls.py: {name} did not start")
                    time.sleep(0.05)
            yield Server(process.pid, port, context)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
