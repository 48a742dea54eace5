"""What the console leaves on a terminal when it ends, and what cannot be sent from it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from client_support import Peer, serving
from console_support import console
from wire import CLOSE, DEADLINE_SECONDS, TEXT


def answer_close(peer: Peer) -> None:
    """Accept, and answer the close frame."""
    peer.answer()
    peer.send_frame(CLOSE, peer.read_frame().payload, mask=None)


def test_the_line_with_the_prompt_is_left_at_the_end_of_input(tmp_path: Path):
    with serving(answer_close) as url, console(tmp_path, url) as terminal:
        terminal.type("\x04")
        assert terminal.end() == 0
    assert terminal.shown.endswith("> \r\n# the peer closed the connection with 1000\r\n")


def test_the_line_with_the_prompt_is_left_after_an_interrupt(tmp_path: Path):
    with serving(answer_close) as url, console(tmp_path, url) as terminal:
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    assert terminal.shown.endswith("> \r\n")


def test_no_interrupt_is_lost(tmp_path: Path):
    # of those that came when the prompt did, every sixth was lost
    for _ in range(8):
        with serving(answer_close) as url, console(tmp_path, url) as terminal:
            terminal.process.send_signal(signal.SIGINT)
            assert terminal.end() == 130


def test_the_end_is_told_below_a_line_that_is_being_typed(tmp_path: Path):
    typed = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert typed.wait(DEADLINE_SECONDS)
        peer.send_frame(CLOSE, (4000).to_bytes(2) + b"enough", mask=None)
        peer.read_to_end()

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.type("half a line")
        terminal.wait_for("half a line")
        typed.set()
        assert terminal.end() == 3
    assert "half a line\r\n# the peer closed the connection with 4000 (enough)" in terminal.shown


def test_a_warning_is_shown_above_a_line_that_is_being_typed(tmp_path: Path):
    typed = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert typed.wait(DEADLINE_SECONDS)
        # two bytes for a length that fits into seven bits (RFC 6455 5.2)
        peer.send(b"\x81\x7e\x00\x01x")
        assert peer.read_frame().payload == b"half"
        peer.send_frame(CLOSE, peer.read_frame().payload, mask=None)

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.type("half")
        terminal.wait_for("half")
        typed.set()
        terminal.wait_for(r"\r\x1b\[J\x1b\[31m! Payload length is not encoded .*\x1b\[0m\r\n> half")
        terminal.wait_for(r"< x")
        terminal.type("\n/close\n")
        assert terminal.end() == 0


@pytest.mark.parametrize("command", [b"", b"/ping ", b"/pong ", b"/close 1000 "])
def test_what_is_typed_must_be_utf8(tmp_path: Path, command: bytes):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().opcode == TEXT
        peer.send_frame(CLOSE, peer.read_frame().payload, mask=None)

    with serving(script) as url, console(tmp_path, url) as terminal:
        os.write(terminal.descriptor, command + b"\xff\n")
        terminal.wait_for("! what was typed is not UTF-8; /binary sends other bytes")
        terminal.type("right\n/close\n")
        assert terminal.end() == 0
