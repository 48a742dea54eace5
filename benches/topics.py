"""What it costs to tell something to thousands of clients (scenarios J and K).

    python3 benches/topics.py                     # J: 1,000 and 10,000 subscribers of one topic
    python3 benches/topics.py --subscribers 1000 --servers fastwsh-hub socketify
    python3 benches/topics.py --subscribers 1000 --topics 100          # K: 10 in each of 100

A client asks for messages that go to all subscribers of a topic, one after the other: each is asked
for when all of them have got the one before. Prints for each server its processor time for each
delivery, and the time from the first subscriber that gets a message to the last one. It needs
fastwsh in the interpreter that runs it, and for `websockets` and `socketify`, which is uWebSockets,
the packages of these names.

`loop` is no WebSocket server: it sends the same bytes to the same sockets by one `send` each, which
is what the kernel's part costs, and what Python's loop around it adds.
"""

import argparse
import contextlib
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
    topics.subscribe(request, request.ws_resource.partition("?")[2])

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
        topics.publish(text[:8], text)
""",
}

WEBSOCKETS = """\
import asyncio
import sys
from websockets.asyncio.server import broadcast, serve

rooms = {}

async def handler(connection):
    if connection.request.path == "/publish":
        async for message in connection:
            broadcast(rooms[message[:8]], message)
        return
    room = rooms.setdefault(connection.request.path.partition("?")[2], set())
    room.add(connection)
    try:
        await connection.wait_closed()
    finally:
        room.discard(connection)

async def main():
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096,
                     ping_interval=None):
        await asyncio.Future()

asyncio.run(main())
"""

SOCKETIFY = """\
import sys
from socketify import App, AppListenOptions, OpCode

def upgrade(response, request, context):
    key = request.get_header("sec-websocket-key")
    response.upgrade(key, "", "", context, request.get_url().partition("?")[2]
                     or request.get_full_url().partition("?")[2])

def open_room(connection):
    connection.subscribe(connection.get_user_data())

def publish(connection, message, opcode):
    app.publish(message[:8], message, OpCode.TEXT)

app = App()
room = {"upgrade": upgrade, "open": open_room, "message": lambda *_: None, "idle_timeout": 0}
app.ws("/room", room)
app.ws("/publish", {"message": publish, "idle_timeout": 0})
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _: None)
app.run()
"""

LOOP = """\
import selectors
import socket
import sys

ANSWER = (b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
rooms = {}
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
                topic = head.split()[1].partition(b"?")[2]
                rooms.setdefault(topic, []).append(peer)
        elif data := key.fileobj.recv(4096):
            # a short frame with a masking key of zeros
            frame = bytes([data[0], data[1] & 0x7F]) + data[6:]
            for peer in rooms[data[6:14]]:
                peer.send(frame)
        else:
            watched.unregister(key.fileobj)
"""

PROGRAMS = {"websockets": WEBSOCKETS, "socketify": SOCKETIFY, "loop": LOOP}

REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PAYLOAD = b"x" * 100
UNDER_WAY = 100
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
    program.write_text(PROGRAMS[server])
    return [sys.executable, str(program), str(port)]


def wait_until_listening(port: int) -> None:
    """Wait until a server accepts connections."""
    deadline = time.monotonic() + START_SECONDS
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on port {port}")
            time.sleep(0.05)


def connect(port: int, path: str, count: int) -> list[socket.socket]:
    """Open WebSocket connections, some at a time."""
    peers: list[socket.socket] = []
    while len(peers) < count:
        some = []
        for _ in range(min(UNDER_WAY, count - len(peers))):
            peer = socket.create_connection(("127.0.0.1", port), SECONDS)
            peer.sendall(REQUEST.format(path=path).encode())
            some.append(peer)
        for peer in some:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += peer.recv(4096) or b"\r\n\r\n"
            if b" 101 " not in head:
                raise ValueError(f"no WebSocket connection: {head!r}")
        peers += some
    return peers


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def topic_name(number: int) -> str:
    """Return the name of a topic; messages begin with it."""
    return f"topic{number:03}"


def run(
    server: str, subscribers: int, topics: int, messages: int, backplane: str
) -> tuple[float, float, float, float]:
    """Measure one server: µs of each delivery, ms from first to last, ms from asking to last.

    With a backplane, another server publishes; its µs for each message come last.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        more = ["--backplane", backplane] if backplane else []
        ports, processes = [], []
        for _ in range(2 if backplane else 1):
            ports.append(free_port())
            process = subprocess.Popen(
                [*command(server, Path(folder), ports[-1]), *more], start_new_session=True
            )
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        for port in ports:
            wait_until_listening(port)
        used = cpu_seconds(processes[-1].pid)
        figures = _measure(ports, processes[0].pid, subscribers, topics, messages)
        used = cpu_seconds(processes[-1].pid) - used
        return (*figures, used / messages * 1e6 if backplane else 0.0)


def _measure(
    ports: list[int], pid: int, subscribers: int, topics: int, messages: int
) -> tuple[float, float, float]:
    sockets = []
    members = subscribers // topics
    for number in range(topics):
        sockets += connect(ports[0], f"/room?{topic_name(number)}", members)
    [publisher] = connect(ports[-1], "/publish", 1)
    # until a server of a backplane has subscribed, which nobody tells
    time.sleep(1 if len(ports) > 1 else 0)
    by_number = {peer.fileno(): peer for peer in sockets}
    poller = select.epoll()
    for peer in sockets:
        peer.setblocking(False)
        poller.register(peer, select.EPOLLIN)
    size = len(PAYLOAD) + 2
    header = bytes([0x81, 0x80 | len(PAYLOAD)]) + bytes(4)
    spans, totals = [], []
    before = 0.0
    warm_up = 5
    for number in range(messages + warm_up):
        if number == warm_up:
            before = cpu_seconds(pid)
        missing = members * size
        asking = header + topic_name(number % topics).encode() + PAYLOAD[8:]
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
    each = used / (messages * members)
    return each * 1e6, statistics.median(spans) * 1e3, statistics.median(totals) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subscribers", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--deliveries", type=int, default=200_000, help="in each run")
    parser.add_argument(
        "--topics", type=int, default=1, help="to share the subscribers, at most 999"
    )
    parser.add_argument("--backplane", default="", help="publish at another server (fastwsh only)")
    servers = ["fastwsh-hub", "websockets", "loop"]
    parser.add_argument("--servers", nargs="+", default=servers)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    topics, backplane = arguments.topics, arguments.backplane
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    titles = f"{'µs each':>10}{'first to last':>16}{'asked to last':>16}"
    print(f"{'server':<18}{'subscribers':>12}{titles}")
    for subscribers in arguments.subscribers:
        for server in arguments.servers:
            messages = max(5, min(5000, arguments.deliveries * topics // subscribers))
            runs = [
                run(server, subscribers, topics, messages, backplane) for _ in range(arguments.runs)
            ]
            each, span, total, published = map(statistics.median, zip(*runs, strict=True))
            print(f"{server:<18}{subscribers:>12,}{each:>10.2f}{span:>13.1f} ms{total:>13.1f} ms")
            if backplane:
                print(f"{'':<18}the server that publishes: {published:.0f} µs for each message")


if __name__ == "__main__":
    main()
