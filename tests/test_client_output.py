"""Standard output of the client that is full or closed: a sentence and a status."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import clean_environment
from oneshot_support import ends_with
from wire import CLOSE, DEADLINE_SECONDS, PING, TEXT, encode_frame

FULL = "cannot write to standard output: No space left on device"
CLOSED = "cannot write to standard output: it is closed"
SCRIPTS = {FULL: 'exec "$@" >/dev/full', CLOSED: 'exec "$@" >&-'}


def shell(
    script: str, *args: str, stdin: int = subprocess.DEVNULL
) -> "subprocess.CompletedProcess[bytes]":
    """Run the client by a line for the shell."""
    return subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, "-m", "fastwsh.client", *args],
        stdin=stdin,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(TERM="xterm"),
        check=False,
    )


def greet(peer: Peer) -> None:
    """Send a message and a ping, and wait until the client has gone."""
    peer.answer(behind=encode_frame(TEXT, b"hello", mask=None) + encode_frame(PING, b"", mask=None))
    peer.read_to_end()


@pytest.fixture(params=[FULL, CLOSED], ids=["full", "closed"])
def says(request: pytest.FixtureRequest) -> str:
    if request.param == FULL and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    return request.param


@pytest.mark.parametrize(
    "args",
    [
        ["--expect", "1"],
        ["--expect", "2"],
        ["--exit-on-close"],
        ["--exit-on-close", "--json-lines"],
        ["--expect", "1", "--send", "x"],
        ["--raw"],
    ],
)
def test_messages_that_cannot_be_written(says: str, args: list[str]):
    with serving(greet) as url:
        ends_with(shell(SCRIPTS[says], url, *args), 1, says)


def test_who_writes_nothing_has_no_error(says: str):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert frame.payload == b"x"
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url:
        done = shell(SCRIPTS[says], url, "--send", "x", "--no-compression")
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_peer_is_told():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"hello", mask=None))
        assert peer.read_frame().close_code == 1001

    with serving(script) as url:
        ends_with(shell(SCRIPTS[CLOSED], url, "--exit-on-close"), 1, CLOSED)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_cannot_be_written(says: str, option: str):
    ends_with(shell(SCRIPTS[says], option), 1, says)


@pytest.mark.parametrize("raw", [[], ["--raw"]])
def test_the_console_without_output(says: str, raw: list[str]):
    ours, theirs = pty.openpty()
    # What is typed is not shown in place of what the client shows.
    mode = termios.tcgetattr(theirs)
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(theirs, termios.TCSANOW, mode)
    try:
        with serving(greet) as url:
            ends_with(shell(SCRIPTS[says], url, *raw, stdin=theirs), 1, says)
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.parametrize("close_stdin", ["", " 0<&-"])
def test_a_failure_without_standard_error_has_a_status(close_stdin: str):
    done = shell(f'exec "$@" 2>&-{close_stdin}', "ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (1, b"")
    done = shell(f'exec "$@" 2>&-{close_stdin}', "http://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (2, b"")
    done = shell(f'exec "$@" 2>&-{close_stdin}', "--nonsense")
    assert (done.returncode, done.stdout) == (2, b"")
    done = shell('exec "$@" 2>/dev/full', "-v", "ws://127.0.0.1:1/")
    assert (done.returncode, done.stdout) == (1, b"")


def test_sockets_do_not_get_the_numbers_of_closed_streams():
    """Nothing but WebSocket frames reaches the peer when all three are closed."""

    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"hello", mask=None))
        assert peer.read_frame().close_code == 1001
        assert peer.read_to_end() == b""

    with serving(script) as url:
        done = shell('exec "$@" 0<&- >&- 2>&-', url, "--exit-on-close", "-v")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
