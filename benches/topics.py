"""What it costs to tell something to many clients.

    python3 benches/topics.py --backplane redis://127.0.0.1

measures it across two servers of fastwsh, of which one publishes and the other one has all
subscribers, and prints the processor time of both. It needs fastwsh in the interpreter that runs
it, and the Redis or NATS server. `run.py` measures one server beside others with the same client.

The client asks for messages that go to all subscribers of a topic, one after the other: each is
asked for when all of them have got the one before.
"""

import argparse
import contextlib
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import machine

_REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
# A message is the topic's name and so many bytes in all.
_SIZE = 100
_UNDER_WAY = 100
_SECONDS = 60.0
_WARM_UP = 5
_LEAST_MESSAGES = 5
# Until a server of a backplane has subscribed, which nobody tells.
_SUBSCRIBED_SECONDS = 1.0


class Dialect:
    """How a client joins a topic and publishes: by the path, and by the message's first letters."""

    def path(self, topic: str) -> str:
        """Return what a subscriber of a topic asks for; without one, what a publisher does."""
        return f"/room?{topic}" if topic else "/publish"

    def join(self, peer: socket.socket, topic: str) -> None:
        """Do what is left to do on an open connection."""

    def ask(self, text: str) -> bytes:
        """Return what has a message published."""
        return _frame(text)

    def told(self, text: str) -> int:
        """Return how many bytes a subscriber gets."""
        return len(text) + 2


class SocketIo(Dialect):
    """The same in the words of socket.io 4."""

    def path(self, topic: str) -> str:  # noqa: ARG002 (the same for all)
        """Return the path of Engine.IO."""
        return "/socket.io/?EIO=4&transport=websocket"

    def join(self, peer: socket.socket, topic: str) -> None:
        """Connect to the namespace, and join the room."""
        asked = {"40": b"40{"}
        if topic:
            asked[f'42["join","{topic}"]'] = b"joined"
        for text, answer in asked.items():
            peer.sendall(_frame(text))
            said = b""
            while answer not in said:
                data = peer.recv(4096)
                if not data:
                    raise ConnectionError("the server has closed a connection")
                said += data

    def ask(self, text: str) -> bytes:
        """Return the event that has a message published."""
        return _frame(f'42["publish","{text}"]')

    def told(self, text: str) -> int:
        """Return how many bytes the event has."""
        return len(f'42["told","{text}"]') + (2 if len(text) < 110 else 4)


@dataclass(frozen=True)
class Load:
    """What is measured: so many subscribers, shared out among so many topics."""

    subscribers: int
    topics: int
    seconds: float


@dataclass(frozen=True)
class Use:
    """What was found: messages, processor time of each delivery, and two times of the clock."""

    messages: int
    delivery_us: float
    first_to_last_ms: float
    asked_to_last_ms: float


def deliver(
    ports: tuple[int, ...], load: Load, processor_seconds: Callable[[], float], dialect: Dialect
) -> Use:
    """Measure: subscribers are clients of the first port, the publisher is one of the last."""
    members = load.subscribers // load.topics
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for number in range(load.topics):
            sockets += _connect(ports[0], _name(number), members, dialect, stack)
        [publisher] = _connect(ports[-1], "", 1, dialect, stack)
        time.sleep(_SUBSCRIBED_SECONDS if len(ports) > 1 else 0)
        by_number = {peer.fileno(): peer for peer in sockets}
        poller = stack.enter_context(select.epoll())
        for peer in sockets:
            peer.setblocking(False)
            poller.register(peer, select.EPOLLIN)
        spans: list[float] = []
        totals: list[float] = []
        before, end, number = 0.0, 0.0, 0
        while len(totals) < _LEAST_MESSAGES or time.perf_counter() < end:
            if number == _WARM_UP:
                before, end = processor_seconds(), time.perf_counter() + load.seconds
            text = f"{_name(number % load.topics)}{'x' * _SIZE}"[:_SIZE]
            asked = time.perf_counter()
            publisher.sendall(dialect.ask(text))
            first, last = _receive(poller, by_number, members * dialect.told(text))
            if number >= _WARM_UP:
                spans.append(last - first)
                totals.append(last - asked)
            number += 1
        used = processor_seconds() - before
    return Use(
        messages=len(totals),
        delivery_us=used / (len(totals) * members) * 1e6,
        first_to_last_ms=statistics.median(spans) * 1e3,
        asked_to_last_ms=statistics.median(totals) * 1e3,
    )


def _receive(
    poller: select.epoll, by_number: dict[int, socket.socket], missing: int
) -> tuple[float, float]:
    """Receive so many bytes in all; return when the first and the last ones came."""
    first = 0.0
    while missing > 0:
        events = poller.poll(_SECONDS, 4096)
        if not events:
            raise TimeoutError(f"{missing} bytes have not come in {_SECONDS:.0f} s")
        first = first or time.perf_counter()
        for descriptor, _ in events:
            data = by_number[descriptor].recv(4096)
            if not data:
                raise ConnectionError("the server has closed a connection")
            missing -= len(data)
    if missing:
        raise ConnectionError(f"{-missing} bytes came that nobody has asked for")
    return first, time.perf_counter()


def _name(number: int) -> str:
    return f"topic{number:03}"


def _frame(text: str) -> bytes:
    """Return a frame of a client, whose masking key is zeros."""
    size = len(text)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126, size >> 8, size & 0xFF])
    return b"\x81" + length + bytes(4) + text.encode()


def _connect(
    port: int, topic: str, count: int, dialect: Dialect, stack: contextlib.ExitStack
) -> list[socket.socket]:
    """Open WebSocket connections, some at a time."""
    peers: list[socket.socket] = []
    while len(peers) < count:
        some = []
        for _ in range(min(_UNDER_WAY, count - len(peers))):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", port), _SECONDS))
            peer.sendall(_REQUEST.format(path=dialect.path(topic)).encode())
            some.append(peer)
        for peer in some:
            head = b""
            while b"\r\n\r\n" not in head:
                head += peer.recv(4096) or b"\r\n\r\n"
            if b" 101 " not in head:
                raise ConnectionError(f"no WebSocket connection: {head[:100]!r}")
            dialect.join(peer, topic)
        peers += some
    return peers


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _across(backplane: str, load: Load) -> tuple[Use, float]:
    """Measure two servers; return also the µs of the one that publishes, for each message."""
    folder = Path(__file__).resolve().parent / "python" / "rooms"
    with contextlib.ExitStack() as stack:
        ports, pids = [], []
        for _ in range(2):
            ports.append(_free_port())
            options = ["-H", "127.0.0.1", "-p", str(ports[-1]), "-d", str(folder)]
            command = [sys.executable, "-m", "fastwsh", *options, "--log-level", "error"]
            server = subprocess.Popen([*command, "--backplane", backplane], start_new_session=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            pids.append(server.pid)
        for port in ports:
            _wait_until_listening(port)
        used = _seconds(pids[1])
        use = deliver(tuple(ports), load, lambda: _seconds(pids[0]), Dialect())
        return use, (_seconds(pids[1]) - used) / (use.messages + _WARM_UP) * 1e6


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + _SECONDS
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on port {port}")
            time.sleep(0.05)


def main() -> None:
    """Measure across two servers, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backplane", required=True, metavar="URL")
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    machine.allow_connections(arguments.subscribers)
    load = Load(arguments.subscribers, 1, arguments.seconds)
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for _ in range(arguments.runs):
        use, published = _across(arguments.backplane, load)
        print(
            f"{use.delivery_us:.2f} µs each, {use.first_to_last_ms:.1f} ms from first to last; "
            f"the server that publishes: {published:.0f} µs for each message"
        )


if __name__ == "__main__":
    main()
