"""Compare the echo of fastwsh with that of pywebsocket3, side by side.

    pip install pywebsocket3==4.0.2
    python benches/compare.py

Both servers run the same handler in this interpreter. Rounds are interleaved. What counts is the
processor time that the server takes per message, read from its process clock: it does not depend
on how quick this client is. With two cores or more, servers have the first and the client the
second.
"""

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HANDLER = """
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
SERVERS = {"fastwsh": "fastwsh", "pywebsocket3": "pywebsocket3.standalone"}
# name: payload bytes, messages under way
SCENARIOS = {
    "32 B, 64 under way": (32, 64),
    "64 KiB, 4 under way": (64 * 1024, 4),
    "1 MiB": (1 << 20, 1),
}
ROUNDS = 3
SECONDS = 2.0
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def main() -> None:
    """Measure and print a table."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "echo_wsh.py").write_text(HANDLER)
        running = {name: stack.enter_context(_serve(name, folder)) for name in SERVERS}
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {1})
        print(f"Python {sys.version.split()[0]}, server µs per message, median of {ROUNDS} rounds")
        for title, (size, depth) in SCENARIOS.items():
            taken: dict[str, list[float]] = {name: [] for name in SERVERS}
            for _ in range(ROUNDS):
                for name, (process, port) in running.items():
                    taken[name].append(_measure(process.pid, port, size, depth))
            ours, theirs = (statistics.median(taken[name]) for name in SERVERS)
            print(f"{title:>20}: {ours:10.2f} {theirs:12.2f} {theirs / ours:7.1f} times less")


@contextlib.contextmanager
def _serve(name: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", SERVERS[name], "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen([*command, "-d", str(folder)], stderr=subprocess.DEVNULL)
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(process.pid, {0})
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} does not start; is it installed in this environment?")
            time.sleep(0.05)
        yield process, port
    finally:
        process.terminate()
        process.wait()


def _measure(pid: int, port: int, size: int, depth: int) -> float:
    """Return the server's microseconds per echoed message."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(
            b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
        )
        reader = client.makefile("rb")
        while reader.readline() not in (b"\r\n", b""):
            pass
        # a masking key of zeros leaves the payload as it is
        batch = _header(size, mask=True) + bytes(4) + b"x" * size
        reply = len(_header(size, mask=False)) + size
        messages, started, used = 0, time.monotonic(), _cpu_seconds(pid)
        while time.monotonic() - started < SECONDS:
            client.sendall(batch * depth)
            if len(reader.read(reply * depth)) != reply * depth:
                sys.exit("the server closed the connection")
            messages += depth
        return (_cpu_seconds(pid) - used) / messages * 1e6


def _header(size: int, *, mask: bool) -> bytes:
    bit = 0x80 if mask else 0
    if size < 126:
        return bytes([0x82, bit | size])
    if size < 1 << 16:
        return bytes([0x82, bit | 126]) + size.to_bytes(2)
    return bytes([0x82, bit | 127]) + size.to_bytes(8)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
