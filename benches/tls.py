#!/usr/bin/env python3
"""What TLS costs: echoes, handshakes new and resumed, and memory, beside other servers.

    python3 benches/tls.py
    python3 benches/tls.py --peers websockets-asyncio,tokio-tungstenite --rounds 1

The figure is the server's processor time per message, and memory per idle connection; below it are
the multiples of the first server's. The load is the same for all, and Python's: compare servers by
it, and not with the tables of `run.py`. It needs fastwsh and trustme in the interpreter that runs
it, and for the others what `run.py --setup-only` installs.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trustme
from echo_cost import HANDLER
from instructions import connection_to, frame_of, read_answer, request, skip
from peers import BINARIES, PYTHON

# In Rust, over rustls with ring, as fastwsh.
RUST = ("tokio-tungstenite",)
OTHERS = ("websockets-asyncio", "picows", "aiohttp-uvloop", *RUST)
OURS = ("fastwsh-hub", "fastwsh-asyncio")
COROUTINE = HANDLER.replace("def web_socket_transfer", "async def web_socket_transfer")
for _name in ("receive_message", "send_message"):
    _call = f"request.ws_stream.{_name}"
    COROUTINE = COROUTINE.replace(_call, f"await {_call}")
SECONDS = 60.0
# Masked, with the code 1000.
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
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

    def connect(self, count: int, session: ssl.SSLSession | None = None) -> list[ssl.SSLSocket]:
        """Open TLS connections at the same time."""
        connections = []
        for _ in range(count):
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self.context.wrap_socket(
                plain,
                server_hostname="localhost",
                session=session,
                do_handshake_on_connect=False,
            )
            connections.append(connection)
        for connection in connections:
            # sends the first message of the handshake, and does not wait for the answer
            connection.settimeout(0)
            with suppress(ssl.SSLWantReadError):
                connection.do_handshake()
            connection.settimeout(SECONDS)
        for connection in connections:
            connection.do_handshake()
        return connections

    def open(self) -> ssl.SSLSocket:
        """Open a WebSocket connection."""
        (connection,) = self.connect(1)
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


def handshakes(at_once: int, *, resumed: bool) -> Callable[[Server], float]:
    """Make the measurement of connections that open and close, so many at the same time.

    The figure is the microseconds of a TLS and a WebSocket handshake, with the end of both.
    """

    def measure(server: Server) -> float:
        session: ssl.SSLSession | None = None
        started, rounds = 0.0, max(20, 200 // at_once)
        for turn in range(-3, rounds):
            if turn == 0:
                started = server.cpu()
            with ExitStack() as stack:
                opened = server.connect(at_once, session)
                for connection in opened:
                    stack.enter_context(connection)
                    request(connection, "echo")
                for connection in opened:
                    read_answer(connection)
                    if turn >= 0 and connection.session_reused is not resumed:
                        return float("nan")
                    connection.sendall(CLOSE)
                for connection in opened:
                    while connection.recv(4096):
                        pass
                # the server's tickets come behind the handshake
                session = opened[0].session if resumed else None
        return (server.cpu() - started) / (rounds * at_once) * 1e6

    return measure


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
    "handshake, new, µs": handshakes(1, resumed=False),
    "handshake, resumed, µs": handshakes(1, resumed=True),
    "handshake, new, 16 at a time, µs": handshakes(16, resumed=False),
    "handshake, resumed, 16 at a time, µs": handshakes(16, resumed=True),
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
    heading = f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}"
    print(heading)
    for scenario in SCENARIOS:
        figures = [statistics.median(of_rounds(found, scenario, name)) for name in names]
        print(f"| {scenario} | {' | '.join(f'{figure:,.1f}' for figure in figures)} |")
    print(f"\nMultiples of {names[0]}, round by round: median, least and greatest\n\n{heading}")
    for scenario in SCENARIOS:
        base = of_rounds(found, scenario, names[0])
        cells = []
        for name in names:
            figures = of_rounds(found, scenario, name)
            multiples = [one / other for one, other in zip(figures, base, strict=True)]
            least, most = min(multiples), max(multiples)
            cells.append(f"{statistics.median(multiples):.2f} ({least:.2f} to {most:.2f})")
        print(f"| {scenario} | {' | '.join(cells)} |")


def of_rounds(found: dict[tuple[str, str], list[float]], scenario: str, name: str) -> list[float]:
    """Return the figures of the rounds that count."""
    figures = found[scenario, name]
    # later rounds use the memory that the first has left
    return figures[:1] if scenario.endswith("KiB") else figures


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
    elif name in RUST:
        command = [str(BINARIES / name), str(port)]
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
