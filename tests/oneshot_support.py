"""Runs the client as a program that ends by itself."""

import subprocess
import sys

import pytest

from client_support import Peer, serving
from conftest import Server, StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from wire import CLOSE, DEADLINE_SECONDS, Frame

__all__ = ["echo", "ends_with", "messages_to", "run", "sent"]


def run(
    *args: str, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the client to its end; without `stdin`, its standard input is empty."""
    return subprocess.run(
        [sys.executable, "-m", "fastwsh.client", *args],
        input=stdin or b"",
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(**(env or {})),
        check=False,
    )


def ends_with(done: subprocess.CompletedProcess[bytes], status: int, says: str) -> None:
    """Check the status, and that there is one sentence and no traceback."""
    text = done.stderr.decode()
    assert done.returncode == status, text
    assert says in text
    assert "Traceback" not in text
    assert all(line.startswith("fastwsh.client: ") for line in text.splitlines())


@pytest.fixture
def echo(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    return start_server("-w", "handlers", "--max-message-bytes", "100000000")


def messages_to(peer: Peer) -> list[Frame]:
    """Answer the opening handshake; return the frames before the close frame, and answer that."""
    peer.answer()
    frames = []
    while (frame := peer.read_frame()).opcode != CLOSE:
        frames.append(frame)
    peer.send_frame(CLOSE, frame.payload, mask=None)
    return frames


def sent(*args: str, stdin: bytes | None = None) -> tuple[list[Frame], object]:
    """Run the client with these arguments; return what it sent, and how it ended."""
    frames: list[Frame] = []
    with serving(lambda peer: frames.extend(messages_to(peer))) as url:
        done = run(url, "--no-compression", *args, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, b"")
    return frames, done
