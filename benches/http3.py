"""Say what an echo costs the server over HTTP/3.

    python3 benches/http3.py [--messages N]

The figures are those that `http2.py` has for the other versions. It needs aioquic, h2 and trustme.
"""

import argparse
import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import trustme
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from echo_cost import LARGE, MANY, ONE, Scenario, Server, Way, fastwsh, report, ways

SCENARIOS = (
    Scenario(ONE, 2, (Way("HTTP/3", 3, 1, 1),)),
    Scenario(MANY, 1, ways(3)),
    Scenario(LARGE, 10, ways(3, size=65536, under_way=4)),
)


class Client(QuicConnectionProtocol):
    """A connection that echoes over its streams."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.streams: dict[int, int] = {}
        self.unsent = self.left = 0
        self.frame = b""
        self.reply = 0
        self.is_open = asyncio.Event()
        self.is_done = asyncio.Event()
        self.opened = 0

    def open_streams(self, count: int, port: int) -> None:
        """Ask for WebSockets."""
        for _ in range(count):
            stream = self._quic.get_next_available_stream_id()
            self.streams[stream] = 0
            fields = {
                ":method": "CONNECT",
                ":protocol": "websocket",
                ":scheme": "https",
                ":authority": f"localhost:{port}",
                ":path": "/echo",
                "sec-websocket-version": "13",
            }
            self.http.send_headers(
                stream, [(name.encode(), value.encode()) for name, value in fields.items()]
            )
        self.transmit()

    def begin(self, way: Way, messages: int) -> None:
        """Send the first messages of each WebSocket; there are so many in all."""
        size = way.size
        length = bytes((0x80 | size,)) if size < 126 else b"\xff" + size.to_bytes(8)
        self.frame = b"\x82" + length + bytes(4) + bytes(size)
        # the answer is not masked
        self.reply = len(self.frame) - 4
        self.unsent = self.left = messages
        for stream in self.streams:
            for _ in range(way.under_way):
                self._send(stream)
        self.transmit()

    def _send(self, stream: int) -> None:
        if self.unsent > 0:
            self.unsent -= 1
            self.http.send_data(stream, self.frame, end_stream=False)

    def quic_event_received(self, event: Any) -> None:
        """Answer each reply with the next message."""
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self.opened += 1
                if self.opened == len(self.streams):
                    self.is_open.set()
            elif isinstance(found, DataReceived):
                self.streams[found.stream_id] += len(found.data)
                while self.streams[found.stream_id] >= self.reply:
                    self.streams[found.stream_id] -= self.reply
                    self.left -= 1
                    self._send(found.stream_id)
                    if self.left <= 0:
                        self.is_done.set()


async def measure(server: Server, way: Way, messages: int) -> float:
    """Return the processor seconds of a server for so many messages."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(way.connections):
            configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
            client = await stack.enter_async_context(
                connect(
                    "127.0.0.1", server.port, configuration=configuration, create_protocol=Client
                )
            )
            client.open_streams(way.streams, server.port)
            await client.is_open.wait()
            clients.append(client)
        before = server.cpu_seconds()
        for client in clients:
            client.begin(way, messages // way.connections)
        for client in clients:
            await client.is_done.wait()
        used = server.cpu_seconds() - before
        # all at once: each needs a moment to be closed
        for client in clients:
            client.close()
    return used


def write_certificate(folder: Path) -> None:
    """Write what HTTP/3 needs."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")


def main() -> None:
    """Measure all ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=4000)
    messages = parser.parse_args().messages
    options = ("--http3", "--ssl-certfile", "tls.pem")
    commands = {"hub": fastwsh("auto", *options), "threads": fastwsh("threads", *options)}

    def run(server: Server, way: Way, messages: int) -> float:
        return asyncio.run(measure(server, way, messages))

    report(commands, SCENARIOS, messages, run, write_certificate)


if __name__ == "__main__":
    main()
