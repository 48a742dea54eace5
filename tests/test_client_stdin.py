"""What `python -m fastwsh.client` makes of its standard input and of the bytes of its arguments."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import Server, clean_environment
from oneshot_support import echo, ends_with, messages_to, run, sent
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Frame, encode_frame

__all__ = ["echo"]  # the fixture


@pytest.mark.parametrize("stdin", [b"a\nb\n", b"a\nb", b"a\r\nb\r\n"])
def test_lines_are_sent_when_something_is_expected(echo: Server, stdin: bytes):
    done = run(echo.url("/echo"), "--expect", "2", stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\nb\n", b"")


def test_lines_are_sent_until_the_peer_closes():
    def script(peer: Peer) -> None:
        peer.answer()
        assert [peer.read_frame().payload for _ in range(2)] == [b"a", b"b"]
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        peer.read_frame()

    with serving(script) as url:
        done = run(url, "--exit-on-close", "--no-compression", stdin=b"a\nb\n")
    assert (done.returncode, done.stderr) == (0, b"")


def test_all_lines_are_sent_although_less_is_expected():
    lines = [b"line %d" % number for number in range(1000)]

    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"hello", mask=None))
        assert [peer.read_frame().payload for _ in lines] == lines
        frame = peer.read_frame()
        assert frame.close_code == 1000
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url:
        done = run(url, "--expect", "1", "--no-compression", stdin=b"\n".join(lines))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")


@pytest.mark.parametrize("fills", [False, True])
def test_input_that_never_ends_is_left(echo: Server, *, fills: bool):
    command = [sys.executable, "-m", "fastwsh.client", echo.url("/echo"), "--expect", "2"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"a\nb\n")
        process.stdin.flush()
        if fills:
            with suppress(BrokenPipeError):
                while process.poll() is None:
                    os.write(process.stdin.fileno(), b"more\n" * 1000)
        # Standard input is still open.
        assert process.wait(DEADLINE_SECONDS) == 0
        assert process.stdout.read() == b"a\nb\n"
        with suppress(BrokenPipeError):
            process.stdin.close()


def test_input_that_is_silent_does_not_hold_what_is_expected_for_ever():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().close_code == 1000

    with serving(script) as url:
        command = [sys.executable, "-m", "fastwsh.client", url, "--expect", "1", "--timeout", "0.3"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
        ) as process:
            assert process.wait(DEADLINE_SECONDS) == 1
            assert process.stderr is not None
            assert b"nothing more came within 0.3 s" in process.stderr.read()


def test_messages_of_the_command_line_go_without_standard_input():
    frames, _ = sent("--send", "x", stdin=b"a\nb\n")
    assert [frame.payload for frame in frames] == [b"x"]


def test_no_standard_input_is_an_empty_one():
    script = 'exec 0<&-; exec "$@"'

    def peer_script(peer: Peer) -> None:
        assert messages_to(peer) == []

    with serving(peer_script) as url:
        done = subprocess.run(
            ["sh", "-c", script, "sh", sys.executable, "-m", "fastwsh.client", url],
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("args", [[], ["--expect", "1"], ["--send-file", "-"], ["--raw"]])
def test_standard_input_that_cannot_be_read(echo: Server, args: list[str]):
    with Path(os.devnull).open("wb") as write_only:
        done = subprocess.run(
            [sys.executable, "-m", "fastwsh.client", echo.url("/echo"), *args],
            stdin=write_only,
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            check=False,
        )
    ends_with(done, 2, "cannot read standard input: Bad file descriptor")


@pytest.mark.parametrize(
    ("stdin", "number", "before"),
    [
        (b"\xff\n", 1, []),
        (b"good\nb\xe9d\nnever\n", 2, [b"good"]),
        (b"good\ntruncated \xc3", 2, [b"good"]),
        # A surrogate, and one that is longer than it need be (RFC 3629 3).
        (b"\xed\xa0\x80\n", 1, []),
        (b"\xc0\xaf\n", 1, []),
    ],
)
@pytest.mark.parametrize("more", [[], ["--expect", "9"], ["--exit-on-close"]])
def test_lines_that_are_not_utf8_are_an_error(
    stdin: bytes, number: int, before: list[bytes], more: list[str]
):
    frames: list[Frame] = []
    with serving(lambda peer: frames.extend(messages_to(peer))) as url:
        done = run(url, "--no-compression", *more, stdin=stdin)
    ends_with(done, 2, f"line {number} of standard input is not UTF-8; use --binary")
    assert [frame.payload for frame in frames] == before


def test_raw_lines_that_are_not_utf8_are_an_error():
    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_to_end()

    with serving(script) as url:
        ends_with(run(url, "--raw", stdin=b"/text \xff\n"), 2, "line 1 of standard input is not")


@pytest.mark.parametrize(
    "args",
    [
        [b"--send", b"\xff"],
        [b"--header", b"A: \xff"],
        [b"--subprotocol", b"\xff"],
        [b"--origin", b"\xff"],
        [b"--proxy", b"http://\xff"],
        [b"--server-hostname", b"\xff"],
    ],
)
def test_arguments_that_are_not_utf8_are_an_error(args: list[bytes]):
    command = [os.fsencode(sys.executable), b"-m", b"fastwsh.client", b"ws://127.0.0.1:1/", *args]
    done = subprocess.run(
        command, capture_output=True, timeout=DEADLINE_SECONDS, env=clean_environment(), check=False
    )
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_url_that_is_not_utf8_is_an_error():
    command = [os.fsencode(sys.executable), b"-m", b"fastwsh.client", b"ws://127.0.0.1:1/\xff"]
    done = subprocess.run(
        command, capture_output=True, timeout=DEADLINE_SECONDS, env=clean_environment(), check=False
    )
    assert done.returncode == 2
    assert b"the URL is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_long_line_is_read_in_linear_time():
    program = (
        "import sys, time\n"
        "from fastwsh.client.sending import StdinLines\n"
        "began = time.process_time()\n"
        "[line] = StdinLines()\n"
        "print(len(line), time.process_time() - began)\n"
    )
    took = []
    for size in (15_000_000, 60_000_000):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=b"x" * size + b"\n",
            capture_output=True,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            check=True,
        )
        length, seconds = done.stdout.split()
        assert int(length) == size
        took.append(float(seconds))
    # Four times as much, not sixteen times; where it is next to nothing, clocks are coarse.
    assert took[1] < 10 * max(took[0], 0.1)


def test_a_long_line_arrives(echo: Server):
    data = b"0123456789abcdef" * 3_750_000
    done = run(
        echo.url("/echo"), "--expect", "1", "--no-compression", "--timeout", "60", stdin=data
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data + b"\n"
