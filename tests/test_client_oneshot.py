"""`python -m fastwsh.client` in scripts: what is sent, what is printed, and the exit status."""

import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from oneshot_support import ends_with, run
from wire import BINARY, CLOSE, CONTINUATION, DEADLINE_SECONDS, TEXT, encode_frame


@pytest.fixture
def echo(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    return start_server("-w", "handlers")


def test_prints_what_is_expected_and_leaves(echo: Server):
    done = run(echo.url("/echo"), "--send", "one", "--send", "two", "--expect", "2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one\ntwo\n", b"")


def test_each_line_of_standard_input_is_a_message(echo: Server):
    done = run(echo.url("/echo"), stdin="a\r\n\nüb\nlast".encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n\nüb\nlast\n".encode(), b"")


def test_sends_a_file_as_it_is(echo: Server, tmp_path: Path):
    file = tmp_path / "data"
    file.write_bytes(b"\x00\xffdata")
    done = run(echo.url("/echo"), "--send", "x", "--send-file", str(file), "--no-compression")
    assert (done.returncode, done.stdout) == (0, b"x\n\x00\xffdata\n")


@pytest.mark.parametrize("is_stdin", [False, True])
def test_a_file_that_may_not_fit_into_memory_is_sent_in_fragments(tmp_path: Path, is_stdin: bool):
    file = tmp_path / "long"
    data = random.Random(0).randbytes(1 << 20) * 33
    file.write_bytes(data)

    def script(peer: Peer) -> None:
        peer.answer()
        frames = [peer.read_frame() for _ in range(5)]
        sizes = [16 << 20, 16 << 20, 1 << 20, 0]
        assert [len(frame.payload) for frame in frames[:4]] == sizes
        assert [frame.opcode for frame in frames] == [BINARY, *[CONTINUATION] * 3, TEXT]
        assert [frame.fin for frame in frames] == [False, False, False, True, True]
        assert b"".join(frame.payload for frame in frames[:4]) == data
        peer.send_frame(CLOSE, peer.read_frame().payload, mask=None)

    with serving(script) as url:
        args = [url, "--send-file", "-" if is_stdin else str(file), "--send", "behind"]
        done = run(*args, "--no-compression", stdin=data if is_stdin else b"")
    assert (done.returncode, done.stderr) == (0, b"")


def test_many_messages_do_not_jam(echo: Server):
    lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(5000))
    done = run(echo.url("/echo"), stdin=lines)
    assert done.returncode == 0
    assert done.stdout == lines


def test_exit_on_close_waits_for_the_peer():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().payload == b"hello"
        peer.send_frame(TEXT, b"bye", mask=None)
        peer.send_frame(CLOSE, (1001).to_bytes(2), mask=None)
        assert peer.read_frame().close_code == 1001

    with serving(script) as url:
        done = run(url, "--send", "hello", "--exit-on-close")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"bye\n", b"")


@pytest.mark.parametrize("more", [["--expect", "1"], ["--exit-on-close"], ["--send", "x"]])
def test_status_3_for_another_close_code(more: list[str]):
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(CLOSE, (4000).to_bytes(2) + b"go\x1b[2J", mask=None))
        peer.read_to_end()

    with serving(script) as url:
        ends_with(run(url, *more), 3, r"the peer closed the connection with 4000 (go\x1b[2J)")


def test_status_1_when_too_few_come():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"one", mask=None))
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        peer.read_to_end()

    with serving(script) as url:
        ends_with(run(url, "--expect", "2"), 1, "after 1 of 2 messages")


def test_status_1_when_nothing_comes_in_time():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().close_code == 1000

    with serving(script) as url:
        ends_with(run(url, "--expect", "1", "--timeout", "0.3"), 1, "within 0.3 s; got 0")


def test_status_1_when_the_connection_is_lost():
    def script(peer: Peer) -> None:
        peer.answer()

    with serving(script) as url:
        ends_with(run(url, "--exit-on-close"), 1, "lost")


def test_status_1_for_a_refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ends_with(run(f"ws://127.0.0.1:{port}/", "--send", "x"), 1, "is the server running")


def test_status_1_for_another_http_status(echo: Server):
    done = run(echo.url("/nothing"), "--send", "x")
    ends_with(done, 1, "404 Not Found")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "required: url"),
        (["http://x/"], "use ws://"),
        (["ws://x/", "-H", "nocolon"], "has no colon"),
        (["ws://x/", "--expect", "0"], "above 0"),
        (["ws://x/", "--timeout", "nan"], "above 0"),
        (["ws://x/", "--timeout", "1e300"], "above 0 and below"),
        (["ws://x/", "--key", "k"], "--key needs --cert"),
        (["ws://x/", "--raw", "--send", "x"], "--raw"),
        (["ws://x/", "--send-file", "/nowhere/file"], "cannot read /nowhere/file: No such file"),
        (["wss://x/", "--cacert", "/nowhere/ca"], "cannot read the CA certificate file"),
    ],
)
def test_status_2_for_a_wrong_command_line(args: list[str], says: str):
    done = run(*args)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_options_reach_the_request():
    def script(peer: Peer) -> None:
        peer.answer([("Sec-WebSocket-Protocol", "b")])
        request = peer.request
        assert request.header("Sec-WebSocket-Protocol") == "a, b"
        assert request.header("Origin") == "http://example.org"
        assert request.header("X-A") == "1: 2"
        assert request.header("Sec-WebSocket-Extensions") is None
        peer.read_frame()

    with serving(script) as url:
        options = "--subprotocol a --subprotocol b --no-compression --origin http://example.org"
        done = run(url, *options.split(), "-H", "X-A: 1: 2", "--timeout", "1")
    assert done.returncode in {0, 1}


def test_binary_messages_are_written_as_they_are():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(BINARY, b"\x00\x1b\xff", mask=None))
        peer.read_frame()

    with serving(script) as url:
        done = run(url, "--expect", "1", "--timeout", "1")
    assert (done.returncode, done.stdout) == (0, b"\x00\x1b\xff\n")


def test_reader_that_leaves_ends_it_quietly():
    def script(peer: Peer) -> None:
        peer.answer()
        # Until the client is gone.
        with suppress(OSError):
            while True:
                peer.send_frame(TEXT, b"x" * 10_000, mask=None)

    with serving(script) as url:
        command = [sys.executable, "-m", "fastwsh.client", url, "--exit-on-close"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr:
            assert process.stdout.readline() == b"x" * 10_000 + b"\n"
            process.stdout.close()
            assert process.wait(DEADLINE_SECONDS) == 141
            assert process.stderr.read() == b""


def test_a_warning_has_the_name_of_the_program():
    def script(peer: Peer) -> None:
        peer.answer()
        # the length of one byte in two (RFC 6455 5.2)
        peer.send(b"\x81\x7e\x00\x01x")
        peer.read_frame()
        peer.send(encode_frame(CLOSE, b"\x03\xe8", mask=None))

    with serving(script) as url:
        done = run(url, "--expect", "1")
    assert done.stdout == b"x\n"
    assert done.stderr
    ends_with(done, 0, "length")
