#!/usr/bin/env python3
"""The load from which a build with a profile learns what is run often.

    rustup component add llvm-tools
    maturin build --release --pgo

maturin builds a module that counts, runs this file with it, and builds once more: what this load
runs often becomes quick, and what it does not run becomes small. So whatever is to be quick has a
part here. Messages of the hub, of threads and of the event loop make up nearly all of it. Needs
trustme. `training.py --share 0.01` runs less of everything, to try it.
"""

import argparse
import asyncio
import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import instructions

import fastwsh
from fastwsh.testing import make_tls_files

_SECONDS: Final = 60.0
_TEXT: Final = "a" * 32
_PAGE: Final = "page.html"

# How often each part is run.
_SHORT_MESSAGES: Final = 5.0
_HANDSHAKES: Final = 2.0
_LONG_MESSAGES: Final = 0.2
_CONNECTIONS: Final = 64
_ROUNDS: Final = 2_000
_CLIENT_MESSAGES: Final = 300
_CLIENT_HANDSHAKES: Final = 10
_LARGE_MESSAGES: Final = 20
_LARGE: Final = bytes(65_536)
_PAGES: Final = 30


class Training:
    """The parts of the load; of each, a share of its full number is run."""

    def __init__(self, folder: Path, share: float) -> None:
        self._folder = folder
        self._share = share

    def run(self) -> None:
        """Run one server after the other, each with all kinds of clients that it can have."""
        for file, text in instructions.HANDLERS.items():
            (self._folder / file).write_text(text, encoding="utf-8")
        (self._folder / _PAGE).write_text("<p>a page</p>\n" * 100, encoding="utf-8")
        with self._server() as port:
            self._scenarios(port, hub=True)
            self._many(port, "hub")
            self._many(port, "loop")
            self._pages(port)
        with self._server("--concurrency", "threads") as port:
            self._scenarios(port, hub=False)
            self._many(port, "hub")
        with self._server("--http2") as port:
            self._clients(f"ws://127.0.0.1:{port}/hub", None)
        tls = make_tls_files(self._folder)
        files = ("--certificate", str(tls.certificate), "--private-key", str(tls.private_key))
        with self._server("--http2", "--tls", *files) as port:
            self._clients(f"wss://127.0.0.1:{port}/hub", tls.ca_file)

    def _times(self, number: float) -> range:
        return range(max(1, int(number * self._share)))

    @contextmanager
    def _server(self, *options: str) -> Iterator[int]:
        """Run a server, which writes down at its end what it has counted; yields its port."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        command = [sys.executable, "-P", "-m", "fastwsh", "-H", "127.0.0.1", "-p", str(port)]
        command += ["-w", str(self._folder), "-d", str(self._folder), "--log-level", "error"]
        command += options
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=self._folder) as process:
            try:
                end = time.monotonic() + _SECONDS
                while not instructions.listens(port):
                    if process.poll() is not None or time.monotonic() > end:
                        sys.exit("training.py: the server did not start: see what it says above")
                    time.sleep(0.05)
                yield port
                process.send_signal(signal.SIGTERM)
                if process.wait(_SECONDS) != 0:
                    sys.exit(f"training.py: the server ended with status {process.returncode}")
            finally:
                process.kill()

    def _scenarios(self, port: int, *, hub: bool) -> None:
        """Have messages of every kind echoed over HTTP/1.1."""
        for scenario in instructions.SCENARIOS:
            if hub or scenario.name.startswith("hub"):
                often = _LONG_MESSAGES
                if "32 B" in scenario.name:
                    often = _SHORT_MESSAGES
                elif "handshake" in scenario.name:
                    often = _HANDSHAKES
                scenario.prepare(port)(len(self._times(scenario.messages * often)))

    def _many(self, port: int, place: str) -> None:
        """Have many connections at once, as most servers do."""
        with ExitStack() as stack:
            clients = [
                stack.enter_context(instructions.connect(port, place)) for _ in range(_CONNECTIONS)
            ]
            for _ in self._times(_ROUNDS):
                for client in clients:
                    client.sendall(instructions.TEXT)
                for client in clients:
                    instructions.skip(client, len(_TEXT) + 2)

    def _pages(self, port: int) -> None:
        for _ in self._times(_PAGES):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
            client.request("GET", f"/{_PAGE}")
            client.getresponse().read()
            client.close()

    def _clients(self, url: str, ca_file: str | None) -> None:
        """Use our own clients, over both versions of HTTP."""
        for version in (1, 2):
            for _ in self._times(_CLIENT_HANDSHAKES):
                with fastwsh.connect(url, ca_file=ca_file, http_version=version) as connection:
                    connection.send(_TEXT)
                    connection.recv()
            # compression takes so long for each byte that it would seem to be most of all
            with fastwsh.connect(
                url, ca_file=ca_file, http_version=version, compression=False
            ) as connection:
                for _ in self._times(_CLIENT_MESSAGES):
                    connection.send(_TEXT)
                    connection.recv()
                for _ in self._times(_LARGE_MESSAGES):
                    connection.send(_LARGE)
                    connection.recv()
        asyncio.run(self._client_in_asyncio(url, ca_file))

    async def _client_in_asyncio(self, url: str, ca_file: str | None) -> None:
        async with fastwsh.connect(url, ca_file=ca_file, compression=False) as connection:
            for _ in self._times(_CLIENT_MESSAGES):
                await connection.send(_TEXT)
                await connection.recv()


def main() -> None:
    """Run the load once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, metavar="X", help="default: 1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        Training(Path(name), options.share).run()


if __name__ == "__main__":
    main()
