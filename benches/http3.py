"""Say what an echo costs the server over HTTP/3.

    python3 benches/http3.py [--messages N]

The figure is the server's processor time per message of 32 bytes, one message of each WebSocket
under way, as `http2.py` has it for the other versions. It needs aioquic, h2 and trustme.
"""

import argparse
import asyncio
import contextlib
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import trustme
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration

HANDLER = """\
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message)
"""

TEXT = b"x" * 32
FRAME = bytes((0x81, 0x80 | len(TEXT), 0, 0, 0, 0)) + TEXT
REPLY = 2 + len(TEXT)

# Name, connections, streams of each.
WAYS = (
    ("64 streams on one connection", 1, 64),
    ("one stream on each of 64 connections", 64, 1),
)

ROUNDS = 3


class Client(QuicConnectionProtocol):
    """A connection that echoes over its streams."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.streams: dict[int, int] = {}
        self.left = 0
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

    def begin(self, messages: int) -> None:
        """Send the first message of each WebSocket; there are so many in all."""
        self.left = messages
        for stream in self.streams:
            self.http.send_data(stream, FRAME, end_stream=False)
        self.transmit()

    def quic_event_received(self, event: Any) -> None:
        """Answer each reply with the next message."""
        for found in self.http.handle_event(event):
            if isinstance(found, HeadersReceived):
                self.opened += 1
                if self.opened == len(self.streams):
                    self.is_open.set()
            elif isinstance(found, DataReceived):
                self.streams[found.stream_id] += len(found.data)
                while self.streams[found.stream_id] >= REPLY:
                    self.streams[found.stream_id] -= REPLY
                    self.left -= 1
                    if self.left <= 0:
                        self.is_done.set()
                    else:
                        self.http.send_data(found.stream_id, FRAME, end_stream=False)


def cpu_seconds(process: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_server(folder: str, concurrency: str) -> tuple[subprocess.Popen[str], int]:
    """Start a server; return it and its port."""
    command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "--http3"]
    command += ["--ssl-certfile", "tls.pem", "--log-level", "info", "--concurrency", concurrency]
    server = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    for line in server.stderr or ():
        if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
            return server, int(found[1])
    sys.exit("http3.py: the server did not start")


async def measure(
    server: subprocess.Popen[str], port: int, connections: int, streams: int, messages: int
) -> float:
    """Return the microseconds of the server per message."""
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(connections):
            configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
            client = await stack.enter_async_context(
                connect("127.0.0.1", port, configuration=configuration, create_protocol=Client)
            )
            client.open_streams(streams, port)
            await client.is_open.wait()
            clients.append(client)
        before = cpu_seconds(server.pid)
        for client in clients:
            client.begin(messages // connections)
        for client in clients:
            await client.is_done.wait()
        used = cpu_seconds(server.pid) - before
        # all at once: each needs a moment to be closed
        for client in clients:
            client.close()
    return used / messages * 1e6


def main() -> None:
    """Measure all ways in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=20_000)
    messages = parser.parse_args().messages
    for concurrency in ("auto", "threads"):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "echo_wsh.py").write_text(HANDLER)
            certificate = trustme.CA().issue_cert("localhost")
            certificate.private_key_and_cert_chain_pem.write_to_path(Path(folder, "tls.pem"))
            server, port = start_server(folder, concurrency)
            try:
                found: dict[str, list[float]] = {name: [] for name, *_ in WAYS}
                for _ in range(ROUNDS):
                    for name, connections, streams in WAYS:
                        cost = measure(server, port, connections, streams, messages)
                        found[name].append(asyncio.run(cost))
            finally:
                server.kill()
        print(f"--concurrency {concurrency}", flush=True)
        for name, values in found.items():
            print(f"  {name:38} {statistics.median(values):6.0f} µs per message", flush=True)


if __name__ == "__main__":
    main()
