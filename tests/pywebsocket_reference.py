"""pywebsocket3 itself beside fastwsh: installed for the tests, and its server."""

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cached_folders import make_once
from conftest import ROOT, Server, clean_environment
from wire import DEADLINE_SECONDS

# Later Pythons lack what pywebsocket3 needs for TLS and for its configuration files: there, what
# it does is what the tests expect of fastwsh.
_RUNS_FULLY = sys.version_info[:2] == (3, 11)

SERVERS = ["fastwsh", "pywebsocket3"] if _RUNS_FULLY else ["fastwsh"]
"""The servers that a test of both runs against."""


@contextmanager
def serve_examples(source: Path) -> Iterator[Server]:
    """Serve the examples of a source package by pywebsocket3."""
    site = install_pywebsocket3(source)
    with pywebsocket3_server(site, "-w", source / "example") as server:
        yield server


def install_pywebsocket3(source: Path) -> Path:
    """Install the source package into a folder of its own for PYTHONPATH; kept in `.cache`."""

    def install(target: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
        with tempfile.TemporaryDirectory() as work:
            # The build leaves files in the folder it builds from: not in the one handlers are in.
            copy = Path(work, "source")
            shutil.copytree(source, copy, symlinks=True)
            subprocess.run([*command, str(copy)], check=True)

    return make_once(ROOT / ".cache" / f"{source.name}-{sys.implementation.cache_tag}", install)


@contextmanager
def pywebsocket3_server(site: Path, *args: str | Path) -> Iterator[Server]:
    """Start `python -m pywebsocket3.standalone` on a free port of 127.0.0.1."""
    command = [sys.executable, "-m", "pywebsocket3.standalone", "-H", "127.0.0.1", "-p", "0"]
    command += ["--log-level", "info", *map(str, args)]
    process = subprocess.Popen(
        command,
        cwd=site,
        env=clean_environment(PYTHONPATH=str(site)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    server = Server(process)
    try:
        server.port = int(server.log.wait_for(r"Port (\d+) is assigned")[1])
        _wait_until_accepting(server.port)
        yield server
    finally:
        server.kill()


def _wait_until_accepting(port: int) -> None:
    """Wait for the `listen` that follows the line about the port."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                pytest.fail("pywebsocket3 does not listen")
            threading.Event().wait(0.01)
        else:
            return
