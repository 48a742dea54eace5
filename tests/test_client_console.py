"""The console of the client on a terminal, in messages and in frames."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import clean_environment
from console_support import console
from fastwsh.client.commands import (
    Close,
    CommandError,
    Frame,
    Ping,
    Pong,
    Raw,
    Send,
    encode,
    parse,
)
from fastwsh.client.terminal import elide, escape, hex_of
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame


def test_lines_are_messages_and_commands_do_the_rest(tmp_path: Path):
    file = tmp_path / "some file"
    file.write_bytes(b"\x01\x02")

    def script(peer: Peer) -> None:
        peer.answer()
        assert (peer.read_frame().payload, peer.read_frame().payload) == (b"hello", b"/slash")
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload) == (PING, b"are you there")
        peer.send_frame(PONG, frame.payload, mask=None)
        assert (peer.read_frame(), peer.read_frame()) is not None
        frame = peer.read_frame()
        assert (frame.close_code, frame.payload[2:]) == (4000, b"that is all")
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url, console(tmp_path, url, "--no-compression") as terminal:
        terminal.type("hello\n//slash\n/ping are you there\n")
        terminal.wait_for(r"pong b'are you there' after \d+\.\d ms")
        terminal.type(f"/file {file}\n/binary 00 ff\n/nonsense\n")
        terminal.wait_for("! no command /nonsense")
        terminal.type("/close 4000 that is all\n")
        terminal.wait_for(r"closed the connection with 4000 \(that is all\)")
        assert terminal.end() == 0


def test_close_that_could_not_be_sent_is_no_close(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"go"
        peer.send_frame(CLOSE, (4000).to_bytes(2), mask=None)

    with serving(script) as url, console(tmp_path, url, "--no-compression") as terminal:
        terminal.type("/close 99\n")
        terminal.wait_for("! cannot close with 99")
        terminal.type("go\n")
        terminal.wait_for("closed the connection with 4000")
        assert terminal.end() == 3


def test_message_comes_above_what_is_typed(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"go"
        peer.send_frame(TEXT, b"hi\x1b[2J\nthere", mask=None)
        peer.send_frame(BINARY, b"\x00\x1b", mask=None)
        assert peer.read_frame().payload == b"typed on"
        peer.send_frame(CLOSE, (4001).to_bytes(2), mask=None)
        peer.read_frame()

    with serving(script) as url, console(tmp_path, url, NO_COLOR="1") as terminal:
        terminal.type("go\ntyped")
        terminal.wait_for(re.escape(r"< hi\x1b[2J\nthere"))
        terminal.wait_for(r"< 2 bytes: 00 1b\r\n> (typed)?")
        terminal.type(" on\n")
        # The line that is being read ends, although nothing is typed.
        terminal.wait_for("the peer closed the connection with 4001")
        assert terminal.end() == 3
        assert "\x1b[3" not in terminal.shown


def test_pongs_that_nobody_asked_for(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload) == (PONG, b"")
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload) == (PONG, "hä".encode())
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.type(f"/pong\n/pong hä\n/pong {'x' * 126}\n")
        terminal.wait_for("! ping or pong of 126 bytes; the limit is 125")
        terminal.type("/close\n")
        assert terminal.end() == 0


def test_lines_are_binary_if_asked_for(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        for payload in ("hä".encode(), b"/slash", b"\xff"):
            frame = peer.read_frame()
            assert (frame.opcode, frame.payload) == (BINARY, payload)
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    options = ("--binary", "--no-compression")
    with serving(script) as url, console(tmp_path, url, *options) as terminal:
        terminal.type("hä\n//slash\n/binary ff\n/close\n")
        assert terminal.end() == 0


def test_passwords_are_not_shown(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url:
        named = url.replace("//", "//me:secret@")
        with console(tmp_path, named) as terminal:
            terminal.type("/close\n")
            assert terminal.end() == 0
            assert "secret" not in terminal.shown


def test_a_silent_peer_is_left(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().opcode == PING
        peer.read_to_end()

    with serving(script) as url, console(tmp_path, url, "--ping-interval", "0.3") as terminal:
        terminal.wait_for("! no pong came within 0.3 s; the connection is cut")
        assert terminal.end() == 1


def test_heads_are_shown_before_the_prompt(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url, console(tmp_path, url, "-v") as terminal:
        assert "> GET / HTTP/1.1" in terminal.shown
        assert "< HTTP/1.1 101 Switching Protocols" in terminal.shown
        terminal.type("/close\n")
        assert terminal.end() == 0


def test_end_of_input_closes(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert frame.close_code == 1000
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.type("\x04")
        assert terminal.end() == 0


def test_interrupt_closes_and_leaves(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert frame.close_code == 1001
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown


def test_history_is_kept(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_frame()
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        peer.read_frame()

    for line in ("first", "\x1b[A"):
        with serving(script) as url, console(tmp_path, url) as terminal:
            terminal.type(f"{line}\n")
            terminal.wait_for("first")
            assert terminal.end() == 0
    history = tmp_path / "fastwsh" / "client_history"
    assert "first" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_history_that_cannot_be_kept_is_no_error(tmp_path: Path):
    (tmp_path / "fastwsh").write_text("in the way")

    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"kept"
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        peer.read_frame()

    with serving(script) as url, console(tmp_path, url) as terminal:
        terminal.type("kept\n")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.shown


def test_raw_shows_frames_and_sends_bytes(tmp_path: Path):
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(PING, b"?", mask=None))
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload, frame.mask) == (TEXT, b"Hello", b"\x37\xfa\x21\x3d")
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload, frame.fin, frame.rsv) == (3, b"\x00\x01", False, 4)
        assert frame.mask is None
        peer.send_frame(TEXT, b"a" * 1000, rsv=1, fin=False, mask=None)
        assert peer.read_frame().close_code == 1000
        peer.send_frame(CLOSE, (1000).to_bytes(2) + b"bye", mask=None)

    with serving(script) as url, console(tmp_path, url, "--raw") as terminal:
        if "ping fin=1" not in terminal.shown:
            terminal.wait_for('< ping fin=1 rsv=000 mask=0 1 bytes: "\\?"')
        terminal.type("81 85 37fa213d 7f9f4d5158\n")
        terminal.wait_for("> 11 bytes: 81 85 37 fa 21 3d 7f 9f 4d 51 58")
        terminal.type("/frame 3 fin=0 rsv1=1 mask=0 0x0001\n")
        terminal.wait_for("> opcode 0x3 fin=0 rsv=100 mask=0 2 bytes: 00 01")
        terminal.wait_for('< text fin=0 rsv=001 mask=0 1000 bytes: "a+ … a+"')
        terminal.type("8\n")
        terminal.wait_for("! '8' are no bytes in hex")
        terminal.type("/close\n")
        terminal.wait_for('< close fin=1 rsv=000 mask=0 5 bytes: 1000: "bye"')
        assert terminal.end() == 0


def test_raw_from_a_pipe():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"hi"
        peer.send_frame(CLOSE, (4000).to_bytes(2), mask=None)

    with serving(script) as url:
        done = subprocess.run(
            [sys.executable, "-m", "fastwsh.client", url, "--raw"],
            input=b"/frame text hi\n",
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            check=False,
        )
    assert done.stdout.decode().splitlines() == [
        '> text fin=1 rsv=000 mask=1 2 bytes: "hi"',
        "< close fin=1 rsv=000 mask=0 2 bytes: 4000",
    ]
    assert (done.returncode, done.stderr) == (3, b"")


@pytest.mark.parametrize(
    ("line", "raw", "command"),
    [
        ("text", False, Send("text")),
        ("//text", False, Send("/text")),
        ("/binary 00 fF", False, Send(b"\x00\xff")),
        ("/ping", False, Ping(b"")),
        ("/pong", False, Pong(b"")),
        ("/pong a  b", True, Pong(b"a  b")),
        ("/close", False, Close(1000, "")),
        ("/close 4000 a  b", False, Close(4000, "a  b")),
        ("00ff", True, Raw(b"\x00\xff")),
        ("/text hi", True, Send("hi")),
        ("/frame text", True, Frame(1, b"")),
        ("/frame 0xf fin=0 x fin=1", True, Frame(15, b"x fin=1", fin=0)),
    ],
)
def test_lines_mean_commands(line: str, command: object, *, raw: bool):
    assert parse(line, raw=raw) == command


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        ("/", False),
        ("/frame text", False),
        ("/close now", False),
        ("/binary 0", False),
        ("/file /nowhere", False),
        ("/file ~nobody-of-this-name/file", False),
        ("/file a\0b", False),
        ("text", True),
        ("/frame 16", True),
        ("/frame", True),
        ("/frame text fin=2", True),
        ("/frame text 0x0", True),
    ],
)
def test_lines_that_mean_nothing(line: str, *, raw: bool):
    with pytest.raises(CommandError):
        parse(line, raw=raw)


def test_frames_are_encoded():
    assert encode(Frame(1, b"Hello", mask=0)) == bytes.fromhex("81 05 48 65 6c 6c 6f")
    assert encode(Frame(1, b"Hello")) != encode(Frame(1, b"Hello"))


def test_nothing_is_obeyed():
    assert escape("a\x1b[0m\x9b\u202e\n\u2028b") == r"a\x1b[0m\x9b\u202e\n\u2028b"
    assert escape("a\tb\n", keep="\t\n") == "a\tb\n"
    assert escape("gr\u00fc\u00df \U0001f600") == "gr\u00fc\u00df \U0001f600"
    assert elide("abcdef", 4) == "ab … ef"
    assert hex_of(bytes(6), 4) == "00 00 … 00 00"
