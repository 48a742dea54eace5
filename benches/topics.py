"""What it costs to tell something to thousands of clients (scenario J).

    python3 benches/topics.py                     # 1,000 and 10,000 subscribers
    python3 benches/topics.py --subscribers 1000 --servers fastwsh

A client asks for messages that go to all subscribers, one after the other: each is asked for when
all subscribers have got the one before. Prints for each server its processor time for each
delivery, and the time from the first subscriber that gets a message to the last one. It needs
fastwsh, and for `websockets` the package of that name, in the interpreter that runs it.

`loop` is no WebSocket server: it sends the same bytes to the same sockets by one `send` each, which
is what the kernel's part costs, and what Python's loop around it adds.
"""

import argparse
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HANDLERS = {
    "room": """\
from fastwsh import topics

def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "room")

def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        pass
""",
    "publish": """\
from fastwsh import topics

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while (text := request.ws_stream.receive_message()) is not None:
        topics.publish("room", text)
""",
}

WEBSOCKETS = """\
import asyncio
import sys
from websockets.asyncio.server import broadcast, serve

room = set()

async def handler(connection):
    if connection.request.path == "/publish":
        async for message in connection:
            broadcast(room, message)
        return
    room.add(connection)
    try:
        await connection.wait_closed()
    finally:
        room.discard(connection)

async def main():
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096):
        await asyncio.Future()

asyncio.run(main())
"""

LOOP = """\
import selectors
import socket
import sys

ANSWER = (b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
room = []
watched = selectors.DefaultSelector()
watched.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in watched.select():
        if key.fileobj is listener:
            peer, _ = listener.accept()
            head = peer.recv(4096)
            if not head:
                continue
            peer.sendall(ANSWER)
            peer.setblocking(False)
            if b"/publish" in head:
                watched.register(peer, selectors.EVENT_READ)
            else:
                room.append(peer)
        elif data := key.fileobj.recv(4096):
            # a short frame with a masking key of zeros
            frame = bytes([data[0], data[1] & 0x7F]) + data[6:]
            for peer in room:
                peer.send(frame)
        else:
            watched.unregister(key.fileobj)
"""

REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PAYLOAD = b"x" * 100
START_SECONDS = 20.0
SECONDS = 60.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def command(server: str, folder: Path, port: int) -> list[str]:
    """Return what starts a server."""
    if server.startswith("fastwsh"):
        for name, body in HANDLERS.items():
            (folder / f"{name}_wsh.py").write_text(body)
        place = server.partition("-")[2] or "hub"
        options = ["-H", "127.0.0.1", "-p", str(port), "-d", str(folder), "--log-level", "error"]
        return [sys.executable, "-m", "fastwsh", *options, "--concurrency", place]
    program = folder / f"{server}_server.py"
    program.write_text({"websockets": WEBSOCKETS, "loop": LOOP}[server])
    return [sys.executable, str(program), str(port)]


def connect(port: int, path: str) -> socket.socket:
    """Open a WebSocket connection."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            peer = socket.create_connection(("127.0.0.1", port), SECONDS)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    peer.sendall(REQUEST.format(path=path).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += peer.recv(1)
    if b" 101 " not in head:
        raise ValueError(f"no WebSocket connection: {head!r}")
    return peer


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(server: str, subscribers: int, messages: int) -> tuple[float, float, float]:
    """Measure one server: µs of each delivery, ms from first to last, ms from asking to last."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with subprocess.Popen(
            command(server, Path(folder), port), stdout=subprocess.DEVNULL, start_new_session=True
        ) as process:
            try:
                return _measure(port, process.pid, subscribers, messages)
            finally:
                process.kill()


def _measure(port: int, pid: int, subscribers: int, messages: int) -> tuple[float, float, float]:
    sockets = [connect(port, "/room") for _ in range(subscribers)]
    publisher = connect(port, "/publish")
    by_number = {peer.fileno(): peer for peer in sockets}
    poller = select.epoll()
    for peer in sockets:
        peer.setblocking(False)
        poller.register(peer, select.EPOLLIN)
    size = len(PAYLOAD) + 2
    asking = bytes([0x81, 0x80 | len(PAYLOAD)]) + bytes(4) + PAYLOAD
    spans, totals = [], []
    before = 0.0
    warm_up = 5
    for number in range(messages + warm_up):
        if number == warm_up:
            before = cpu_seconds(pid)
        missing = subscribers * size
        asked = time.perf_counter()
        first = 0.0
        publisher.sendall(asking)
        while missing:
            events = poller.poll(SECONDS, 4096)
            if not events:
                raise TimeoutError(f"{missing} bytes have not come")
            first = first or time.perf_counter()
            for descriptor, _ in events:
                missing -= len(by_number[descriptor].recv(4096))
        last = time.perf_counter()
        if number >= warm_up:
            spans.append(last - first)
            totals.append(last - asked)
    used = cpu_seconds(pid) - before
    for peer in [*sockets, publisher]:
        peer.close()
    each = used / (messages * subscribers)
    return each * 1e6, statistics.median(spans) * 1e3, statistics.median(totals) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subscribers", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--deliveries", type=int, default=200_000, help="in each run")
    servers = ["fastwsh-hub", "websockets", "loop"]
    parser.add_argument("--servers", nargs="+", default=servers)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    titles = f"{'µs each':>10}{'first to last':>16}{'asked to last':>16}"
    print(f"{'server':<18}{'subscribers':>12}{titles}")
    for subscribers in arguments.subscribers:
        for server in arguments.servers:
            messages = max(5, arguments.deliveries // subscribers)
            runs = [run(server, subscribers, messages) for _ in range(arguments.runs)]
            each, span, total = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{server:<18}{subscribers:>12,}{each:>10.2f}{span:>13.1f} ms{total:>13.1f} ms")


if __name__ == "__main__":
    main()
