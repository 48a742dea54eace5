#!/usr/bin/env python3
"""Load a server with everything at once for a while, and see that its memory stays flat.

    python tests/soak.py --minutes 5                 as many connections as come
    python tests/soak.py --minutes 5 --restarts 4    four servers, one after the other

Serves the examples and a few handlers that misbehave. Clients open short and long connections,
send small, large, compressed, fragmented and broken messages, read slowly, reset, ask for files,
and stop in the middle of a request. Prints what was done and the slope of the server's memory over
the second half of each server's life; exit status 1 if that is more than 1 MiB a minute, if a
server did not end with status 0, or if threads or descriptors were left.
"""

import argparse
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from conftest import to_coroutine_function
from usage import Usage
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 8
SLOPE_KIB_PER_MINUTE = 1024

HANDLERS = {
    "raises": "request.ws_stream.receive_message()\nraise ValueError('soak')",
    "floods": "while True:\n    request.ws_stream.send_message('x' * 1000)",
    "closes": "request.ws_stream.close_connection(3000, 'enough')",
}

_ENTRY = "def web_socket_do_extra_handshake(request):\n    pass\n\n"
_DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


def echo(client: Client) -> None:
    client.handshake("/echo")
    for size in (0, 1, 125, 126, 5000, 70_000):
        client.send_frame(BINARY, os.urandom(size))
        assert len(client.read_frame().payload) == size
    client.send_close()
    assert client.read_frame().opcode == CLOSE


def fragments(client: Client) -> None:
    client.handshake("/echo")
    client.send_frame(TEXT, b"a", fin=False)
    client.send_frame(PING, b"between")
    for _ in range(20):
        client.send_frame(CONTINUATION, b"b" * 10, fin=False)
    client.send_frame(CONTINUATION)
    assert client.read_frame() == Frame(PONG, b"between")
    assert len(client.read_frame().payload) == 201
    client.reset()


def compressed(client: Client) -> None:
    client.handshake("/echo", _DEFLATE)
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    for _ in range(5):
        text = bytes(random.choices(b"abcdefgh", k=2000))
        payload = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
        client.send_frame(TEXT, payload[:-4], rsv=4)
        assert client.read_frame().rsv == 4


def large(client: Client) -> None:
    client.handshake("/echo")
    size = 1 << 20
    sender = threading.Thread(target=client.send_frame, args=(BINARY, bytes(size)))
    sender.start()
    assert len(client.read_frame().payload) == size
    sender.join()


def broken(client: Client) -> None:
    client.handshake("/echo")
    client.send(os.urandom(200))
    # the server may take it for the beginning of a long frame
    client.socket.shutdown(socket.SHUT_WR)
    client.read_to_end()


def unread(client: Client) -> None:
    client.handshake("/floods")
    client.read(random.randrange(1, 100_000))
    random.choice([Client.reset, Client.close])(client)


def raising(client: Client) -> None:
    client.handshake("/raises")
    client.send_frame(TEXT, b"x")
    assert client.read_to_end() == b""


def closing(client: Client) -> None:
    client.handshake("/closes")
    assert client.read_frame().close_code == 3000
    if random.random() < 0.5:
        client.send_close(3000)
    client.close()


def chat(client: Client) -> None:
    client.handshake("/chat")
    client.send_frame(TEXT, b"hello")
    client.read_frame()
    client.send_close()


def page(client: Client) -> None:
    for target in (b"/", b"/index.html", b"/missing"):
        client.send(b"GET %s HTTP/1.1\r\nHost: soak\r\n\r\n" % target)
        response = client.read_response()
        client.read(int(response.header("Content-Length") or 0))


def half_a_head(client: Client) -> None:
    client.send(b"GET /echo HTTP/1.1\r\nHost: soak\r\nUpgrade: web"[: random.randrange(40)])
    random.choice([Client.reset, Client.close])(client)


SCENARIOS: tuple[Callable[[Client], None], ...] = (
    *(echo, fragments, compressed, large, broken, unread, raising, closing, chat, page),
    *(half_a_head, closing, half_a_head, broken),
)


class Load:
    """Clients that go on until they are told to stop."""

    def __init__(self, port: int) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        for scenario in itertools.islice(itertools.cycle(SCENARIOS), number, None):
            if self._stop.is_set():
                return
            try:
                with Client(self._port) as client:
                    scenario(client)
            except (AssertionError, EOFError, OSError) as error:
                self.failures.append(f"{scenario.__name__}: {error!r}")
            self.done[scenario.__name__] += 1

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def slope(samples: list[tuple[float, int]]) -> float:
    """KiB a minute, by least squares over the second half.

    Of every ten samples the smallest counts: the others hold large messages that are under way.
    """
    samples = samples[len(samples) // 2 :]
    samples = [min(samples[at : at + 10], key=lambda x: x[1]) for at in range(0, len(samples), 10)]
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / (spread or 1)


def _drain(log: IO[str]) -> None:
    """Read what is of no interest, and must not fill the pipe."""
    with log:
        while log.read(65536):
            pass


def serve(folder: Path, concurrency: str) -> tuple["subprocess.Popen[str]", int]:
    command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "-d", str(folder)]
    command += ["--log-level", "info", "--head-timeout", "2", "--close-timeout", "1"]
    command += ["--concurrency", "auto" if concurrency == "loop" else concurrency]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    assert server.stderr is not None
    for line in server.stderr:
        if match := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
            threading.Thread(target=_drain, args=(server.stderr,), daemon=True).start()
            return server, int(match[1])
    raise RuntimeError("the server has not started")


@dataclass(frozen=True)
class Report:
    """What came of one server's life."""

    connections: Counter[str]
    failures: list[str]
    memory: list[tuple[float, int]]
    status: int

    def print(self) -> None:
        first, middle, last = (self.memory[at][1] for at in (0, len(self.memory) // 2, -1))
        print(
            f"{sum(self.connections.values())} connections in {self.memory[-1][0]:.0f} s, memory "
            f"{first} KiB at first, {middle} in the middle, {last} at last, slope "
            f"{slope(self.memory):+.0f} KiB a minute, exit status {self.status}"
        )
        print("  " + ", ".join(f"{name} {n}" for name, n in self.connections.most_common()))
        for failure in self.failures[:10]:
            print(f"  {failure}", flush=True)


# Descriptors of the thread that sends messages of topics; the first subscription starts it.
TOPICS = 3


def soak(folder: Path, concurrency: str, seconds: float) -> Report:
    """Serve a folder that `fill` has filled, under load."""
    server, port = serve(folder, concurrency)
    idle = Usage.of_process(server.pid)
    load = Load(port)
    started = time.monotonic()
    samples = []
    while (now := time.monotonic()) < started + seconds:
        samples.append((now - started, Usage.of_process(server.pid).memory_kib))
        time.sleep(min(1, seconds / 20))
    load.stop()
    # until idle threads and half heads have had their time
    deadline = time.monotonic() + 20
    while (
        left := Usage.of_process(server.pid)
    ).descriptors > idle.descriptors + TOPICS or left.threads > idle.threads + 2:
        if time.monotonic() > deadline:
            load.failures.append("threads or descriptors are left")
            break
        time.sleep(0.1)
    server.send_signal(signal.SIGTERM)
    return Report(load.done, load.failures, samples, server.wait(30))


def fill(folder: Path, concurrency: str = "auto") -> None:
    """Put the examples and the handlers that misbehave into a folder.

    For "loop" the handlers that wait in their stream alone are made coroutine functions.
    """
    for example in (ROOT / "examples").iterdir():
        if example.is_file():
            (folder / example.name).write_bytes(example.read_bytes())
    for name, lines in HANDLERS.items():
        body = "".join(f"    {line}\n" for line in lines.splitlines())
        text = f"{_ENTRY}def web_socket_transfer_data(request):\n{body}"
        (folder / f"{name}_wsh.py").write_text(text)
    if concurrency == "loop":
        for name in ("echo", *HANDLERS):
            path = folder / f"{name}_wsh.py"
            path.write_text(to_coroutine_function(path.read_text()))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--restarts", type=int, default=1, metavar="SERVERS")
    parser.add_argument("--concurrency", choices=("auto", "threads", "hub", "loop"), default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        fill(Path(work), options.concurrency)
        status = 0
        for _ in range(options.restarts):
            seconds = 60 * options.minutes / options.restarts
            report = soak(Path(work), options.concurrency, seconds)
            report.print()
            is_flat = slope(report.memory) <= SLOPE_KIB_PER_MINUTE
            if report.failures or report.status or not is_flat:
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
