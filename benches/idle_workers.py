"""What idle connections cost that several workers hold together.

    python3 benches/idle_workers.py                              # 100,000 over 8 workers
    python3 benches/idle_workers.py --connections 10000 --workers 1

Each connection has had an echo. Clients have a source address for each 15,000 connections, from
127.0.0.2 on, and a process for it, because ports and descriptors are limited. Prints the memory
of the server (PSS: each process with its part of shared pages) before and after, and what a
connection costs. It needs Linux, and fastwsh in the interpreter that runs it.
"""

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ECHO = """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while (text := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(text)
"""
REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# A text of two bytes with a masking key of zeros, and its echo.
HELLO = b"\x81\x82\x00\x00\x00\x00hi"
ECHOED = b"\x81\x02hi"
FOR_EACH_ADDRESS = 15_000
# Descriptors of a client or worker that are no connections.
OTHERS = 200
UNDER_WAY = 100
SECONDS = 60.0


def connect(port: int, address: str, count: int) -> list[socket.socket]:
    """Open connections, some at a time, and have each echo."""
    peers: list[socket.socket] = []
    while len(peers) < count:
        some = []
        for _ in range(min(UNDER_WAY, count - len(peers))):
            peer = socket.socket()
            # the port is chosen when the other end is known, so that all ports can be used
            peer.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            peer.bind((address, 0))
            peer.settimeout(SECONDS)
            peer.connect(("127.0.0.1", port))
            peer.sendall(REQUEST)
            some.append(peer)
        for peer in some:
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += peer.recv(4096) or sys.exit("the server has closed a connection")
            if b" 101 " not in answer:
                sys.exit(f"no WebSocket connection: {answer!r}")
            peer.sendall(HELLO)
        for peer in some:
            if peer.recv(4) != ECHOED:
                sys.exit("no echo")
        peers += some
    return peers


def hold(port: int, address: str, count: int) -> None:
    """Be a client: open connections, say so, and hold them until standard input ends."""
    peers = connect(port, address, count)
    print(len(peers), flush=True)
    sys.stdin.read()


def memory_kib(pid: int) -> int:
    """Return the memory of a process and of those that it has started."""
    total = 0
    for process in [pid, *children(pid)]:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def measure(connections: int, workers: int) -> tuple[int, int, list[int]]:
    """Return the memory before and after, and how many connections each worker has."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as probe:
        Path(folder, "echo_wsh.py").write_text(ECHO)
        port = probe.getsockname()[1]
        probe.close()
        options = ["-H", "127.0.0.1", "-p", str(port), "-d", folder, "--workers", str(workers)]
        limits = ["--max-connections", "0", "--max-connections-per-address", "0"]
        never = ["--idle-timeout", "0", "--ping-interval", "0", "--log-level", "info"]
        command = [sys.executable, "-m", "fastwsh", *options, *limits, *never]
        log = Path(folder, "log")
        with log.open("wb") as output:
            server = subprocess.Popen(command, stderr=output, start_new_session=True)
        clients = []
        try:
            while "Listening on" not in log.read_text():
                time.sleep(0.05)
            # a first connection to each, so that nothing else is loaded later
            first = connect(port, "127.0.0.1", 20 * workers)
            before = memory_kib(server.pid)
            for number in range(0, connections, FOR_EACH_ADDRESS):
                address = f"127.0.0.{2 + number // FOR_EACH_ADDRESS}"
                count = min(FOR_EACH_ADDRESS, connections - number)
                client = [sys.executable, __file__, "--hold", str(port), address, str(count)]
                clients.append(
                    subprocess.Popen(client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                )
            for process in clients:
                if process.stdout is None or not process.stdout.readline():
                    sys.exit("a client has failed")
            after = memory_kib(server.pid)
            serving = children(server.pid) if workers > 1 else [server.pid]
            held = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in serving]
            for peer in first:
                peer.close()
            return before, after, held
        finally:
            for process in clients:
                process.kill()
                process.wait()
            server.send_signal(signal.SIGKILL)
            server.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--hold", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.hold:
        port, address, count = arguments.hold
        hold(int(port), address, int(count))
        return
    count, workers = arguments.connections, arguments.workers
    needed = max(min(FOR_EACH_ADDRESS, count), count // workers) + OTHERS
    if needed > hard:
        print(f"warning: a process needs {needed:,} descriptors, and {hard:,} are allowed")
    before, after, held = measure(count, workers)
    print(f"{count:,} connections, {workers} workers on {os.cpu_count()} cores")
    print(f"memory before {before / 1024:.0f} MiB, after {after / 1024:.0f} MiB")
    each = (after - before) / count
    print(f"{each:.2f} KiB for each connection; descriptors of the workers: {held}")


if __name__ == "__main__":
    main()
