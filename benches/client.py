#!/usr/bin/env python3
"""What clients cost: `fastwsh.connect` beside other clients in Python.

    python3 benches/client.py
    python3 benches/client.py --clients fastwsh,websockets --rounds 1

The figure is the client's processor time per message, or per connection opened and closed. Every
run is a process of its own; all talk to one fastwsh server. It needs fastwsh in the interpreter
that runs it, and in the other one (--python) websockets, websocket-client, picows and uvloop.
"""
# ruff: noqa: PLC0415 (a client is imported only by the process that measures it)

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from echo_cost import HANDLER, fastwsh, serving

Measure = Callable[[str, int, int, int], float]
"""Takes the URL and a load; returns the processor seconds."""

SCENARIOS = {
    "A: 32 B, one at a time": (32, 1, 4_000),
    "B: 32 B, 64 under way": (32, 64, 32_000),
    "E: 64 KiB, 4 under way": (65536, 4, 400),
    "handshake": (0, 0, 300),
}
"""Size of a message, how many are under way, and how many there are."""


def in_threads(connect: Callable[[str], Any], send: str, receive: str) -> Measure:
    """Make the measurement of a client that blocks."""

    def measure(url: str, size: int, under_way: int, count: int) -> float:
        if not size:
            connect(url).close()
            started = time.process_time()
            for _ in range(count):
                connect(url).close()
            return time.process_time() - started
        connection = connect(url)
        message = "a" * size if size < 1000 else b"b" * size
        one, other = getattr(connection, send), getattr(connection, receive)
        started = 0.0
        for turn in range(-count // under_way // 10, count // under_way):
            if turn == 0:
                started = time.process_time()
            for _ in range(under_way):
                one(message)
            for _ in range(under_way):
                other()
        taken = time.process_time() - started
        connection.close()
        return taken

    return measure


def in_a_loop(connect: Callable[[str], Awaitable[Any]], *, uvloop: bool = False) -> Measure:
    """Make the measurement of a client for asyncio."""

    async def work(url: str, size: int, under_way: int, count: int) -> float:
        if not size:
            await (await connect(url)).close()
            started = time.process_time()
            for _ in range(count):
                await (await connect(url)).close()
            return time.process_time() - started
        connection = await connect(url)
        message = "a" * size if size < 1000 else b"b" * size
        started = 0.0
        for turn in range(-count // under_way // 10, count // under_way):
            if turn == 0:
                started = time.process_time()
            for _ in range(under_way):
                await connection.send(message)
            for _ in range(under_way):
                await connection.recv()
        taken = time.process_time() - started
        await connection.close()
        return taken

    def measure(*arguments: Any) -> float:
        if uvloop:
            import uvloop as loops

            return loops.run(work(*arguments))
        return asyncio.run(work(*arguments))

    return measure


def _fastwsh() -> Measure:
    from fastwsh.client import connect_sync

    return in_threads(lambda url: connect_sync(url, compression=False), "send", "recv")


def _fastwsh_asyncio() -> Measure:
    from fastwsh.client import connect_async

    async def connect(url: str) -> Any:
        return await connect_async(url, compression=False)

    return in_a_loop(connect)


def _websockets() -> Measure:
    from websockets.sync.client import connect

    return in_threads(lambda url: connect(url, compression=None, max_size=None), "send", "recv")


def _websockets_asyncio() -> Measure:
    from websockets.asyncio.client import connect

    return in_a_loop(lambda url: connect(url, compression=None, max_size=None))


def _websocket_client() -> Measure:
    import websocket

    def connect(url: str) -> Any:
        connection = websocket.create_connection(url)
        binary = connection.send_binary
        text = connection.send
        connection.send_any = lambda data: (binary if isinstance(data, bytes) else text)(data)
        return connection

    return in_threads(connect, "send_any", "recv")


def _picows() -> Measure:  # noqa: C901 (small methods)
    import picows

    class Connection(picows.WSListener):  # type: ignore[misc]
        """The callbacks of picows as a connection that can be awaited."""

        def __init__(self) -> None:
            self.received: asyncio.Queue[str | bytes] = asyncio.Queue()
            self.closed = asyncio.Event()

        def on_ws_connected(self, transport: Any) -> None:
            self.transport = transport

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                self.received.put_nowait(frame.get_payload_as_utf8_text())
            elif frame.msg_type == picows.WSMsgType.BINARY:
                self.received.put_nowait(frame.get_payload_as_bytes())
            else:
                transport.disconnect()

        def on_ws_disconnected(self, _: Any) -> None:
            self.closed.set()

        async def send(self, data: str | bytes) -> None:
            is_text = isinstance(data, str)
            kind = picows.WSMsgType.TEXT if is_text else picows.WSMsgType.BINARY
            self.transport.send(kind, data.encode() if is_text else data)

        async def recv(self) -> str | bytes:
            return await self.received.get()

        async def close(self) -> None:
            self.transport.send_close(1000)
            await self.closed.wait()

    async def connect(url: str) -> Any:
        _, listener = await picows.ws_connect(Connection, url)
        return listener

    return in_a_loop(connect, uvloop=True)


CLIENTS = {
    "fastwsh": _fastwsh,
    "fastwsh-asyncio": _fastwsh_asyncio,
    "websockets": _websockets,
    "websockets-asyncio": _websockets_asyncio,
    "websocket-client": _websocket_client,
    "picows": _picows,
}
OURS = ("fastwsh", "fastwsh-asyncio")


def main() -> None:
    """Measure everything in turns, and print a table of medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default=",".join(CLIENTS), help="which (default: %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the others")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, url, load = options.child
        print(CLIENTS[name]()(url, *json.loads(load)))
        return
    names = options.clients.split(",")
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo_wsh.py").write_text(HANDLER, encoding="utf-8")
        with serving(fastwsh("hub"), Path(folder)) as server:
            url = f"ws://127.0.0.1:{server.port}/echo"
            for _ in range(options.rounds):
                for scenario, load in SCENARIOS.items():
                    for name in names:
                        python = sys.executable if name in OURS else options.python
                        command = [python, __file__, "--child", name, url, json.dumps(load)]
                        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                        taken = float(output) / load[2] * 1e6
                        found.setdefault((scenario, name), []).append(taken)
                        print(f"{scenario}: {name}: {taken:.1f} µs", file=sys.stderr)
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for scenario in SCENARIOS:
        figures = (statistics.median(found[scenario, name]) for name in names)
        print(f"| {scenario}, µs | {' | '.join(f'{figure:,.1f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
