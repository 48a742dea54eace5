"""What scripts give `python -m fastwsh.client` to send, and what they get: input, options, JSON."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import Server, StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from forward_proxy import connect_proxy, socks_proxy
from oneshot_support import ends_with, run
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, Frame, encode_frame


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


# --- standard input -------------------------------------------------------------------------------


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


# --- what is sent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "stdin", "payloads"),
    [
        (["--send", "ü"], None, ["ü".encode()]),
        ([], b"a\n\xff\x00\n", [b"a", b"\xff\x00"]),
        (["--send", "x", "--send-file", "-"], b"a\nb\n", [b"x", b"a\nb\n"]),
    ],
)
def test_binary(args: list[str], stdin: bytes | None, payloads: list[bytes]):
    frames, _ = sent("--binary", *args, stdin=stdin)
    assert [(frame.opcode, frame.payload) for frame in frames] == [(BINARY, p) for p in payloads]


def test_binary_takes_all_bytes_of_the_command_line():
    frames: list[Frame] = []
    with serving(lambda peer: frames.extend(messages_to(peer))) as url:
        command = [sys.executable, "-m", "fastwsh.client", url, "--no-compression", "--binary"]
        subprocess.run(
            [*map(os.fsencode, command), b"--send", b"\xff\xfe"],
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            check=True,
        )
    assert [(frame.opcode, frame.payload) for frame in frames] == [(BINARY, b"\xff\xfe")]


@pytest.mark.parametrize("stdin", [b"", b"a\nb\n", bytes(range(256)) * 1000])
def test_send_file_takes_standard_input(stdin: bytes):
    frames, _ = sent("--send-file", "-", stdin=stdin)
    assert [(frame.opcode, frame.payload) for frame in frames] == [(BINARY, stdin)]


def test_files_and_messages_keep_their_order(tmp_path: Path):
    file = tmp_path / "a b"
    file.write_bytes(b"file")
    args = ["--send", "1", "--send-file", "-", "--send", "2", "--send-file", str(file)]
    frames, _ = sent(*args, stdin=b"stdin")
    assert [frame.payload for frame in frames] == [b"1", b"stdin", b"2", b"file"]
    assert [frame.opcode for frame in frames] == [TEXT, BINARY, TEXT, BINARY]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--send-file", "-", "--send-file", "-"], "can be sent once"),
        (["--raw", "--binary"], "leave out --binary"),
        (["--raw", "--json-lines"], "leave out"),
        (["--proxy", "h:1", "--no-proxy"], "--proxy and --no-proxy contradict"),
        (["--auth", "a:b", "-H", "authorization: x"], "--auth and an Authorization header"),
        (["--auth", "me"], "write USER:PASSWORD"),
        (["--proxy", "ftp://h"], "must begin with http://"),
        (["--ping-interval", "0"], "above 0"),
        (["--ping-interval", "soon"], "number of seconds"),
    ],
)
def test_status_2_for_a_wrong_command_line(args: list[str], says: str):
    done = run("ws://127.0.0.1:1/", *args)
    assert done.returncode == 2
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr


# --- the opening ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "userinfo", "credentials"),
    [
        (["--auth", "me:secret"], "", "me:secret"),
        (["--auth", "me:se:cret ü"], "", "me:se:cret ü"),
        (["--auth", "me:"], "", "me:"),
        ([], "me:se%20cret@", "me:se cret"),
        (["--auth", "me:secret"], "you:other@", "me:secret"),
    ],
)
def test_credentials(args: list[str], userinfo: str, credentials: str):
    value = "Basic " + base64.b64encode(credentials.encode()).decode()

    def script(peer: Peer) -> None:
        assert messages_to(peer) == []
        assert peer.request.header("Authorization") == value

    with serving(script) as url:
        done = run(url.replace("//", f"//{userinfo}"), *args)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("option", ["-v", "--verbose"])
def test_both_heads_are_shown(option: str):
    def script(peer: Peer) -> None:
        peer.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: \x1b[2J\r\n\r\n".replace(b"\x1b", b"\xc2\x9b")
        )
        peer.answer([("X-Name", "ü\u202e".encode().decode("latin-1"))])
        frame = peer.read_frame()
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url:
        done = run(url, option, "-H", "X-Mine: 1")
    assert (done.returncode, done.stdout) == (0, b"")
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "> GET / HTTP/1.1"
    assert "> x-mine: 1" in lines
    assert "> sec-websocket-extensions: permessage-deflate; client_max_window_bits" in lines
    first = lines.index("< HTTP/1.1 103 Early Hints")
    assert lines[first + 1 : first + 3] == [r"< Link: \x9b[2J", "< "]
    second = lines.index("< HTTP/1.1 101 Switching Protocols")
    assert lines[first - 1] == "> "
    assert r"< X-Name: ü\u202e" in lines[second:]
    assert lines[-1] == "< "


def test_both_heads_are_shown_when_there_is_no_connection():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.0 418 Teapot\r\nServer: pot\r\n\r\n")

    with serving(script) as url:
        done = run(url, "-v")
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert lines[0] == "> GET / HTTP/1.1"
    assert "< HTTP/1.0 418 Teapot" in lines
    assert "< Server: pot" in lines
    assert lines[-1].startswith("fastwsh.client: 127.0.0.1:")


def test_both_heads_are_shown_of_a_proxy_as_well(echo: Server):
    with connect_proxy(("me", "secret")) as proxy:
        url = f"ws://localhost:{echo.port}/echo"
        done = run(url, "-v", "--proxy", proxy.url("http", "me:secret@"), "--send", "x")
        assert (done.returncode, done.stdout) == (0, b"x\n")
        lines = done.stderr.decode().splitlines()
        assert lines[0] == f"> CONNECT localhost:{echo.port} HTTP/1.1"
        assert "< HTTP/1.0 200 Connection established" in lines
        assert "> GET /echo HTTP/1.1" in lines


def test_proxies_by_option_and_environment(echo: Server):
    url = f"ws://localhost:{echo.port}/echo"
    with socks_proxy(("me", "secret")) as proxy:
        named = proxy.url("socks5h", "me:secret@")
        assert run(url, "--send", "x", "--proxy", named).stdout == b"x\n"
        assert run(url, "--send", "x", env={"ALL_PROXY": named}).stdout == b"x\n"
        assert proxy.asked == [f"localhost:{echo.port}"] * 2
        assert run(url, "--send", "x", "--no-proxy", env={"ALL_PROXY": named}).stdout == b"x\n"
        without = {"ALL_PROXY": named, "NO_PROXY": "example.org,localhost"}
        assert run(url, "--send", "x", env=without).stdout == b"x\n"
        assert len(proxy.asked) == 2
        done = run(url, "--send", "x", "--proxy", proxy.url("socks5h"))
        ends_with(done, 1, "wants credentials")


def test_raw_offers_no_compression():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.request.header("Sec-WebSocket-Extensions") is None
        peer.read_to_end()

    with serving(script) as url:
        assert run(url, "--raw", "--timeout", "0.1").returncode == 0


# --- what comes -----------------------------------------------------------------------------------


def test_json_lines(echo: Server):
    before = time.time()
    text = 'two\nlines "quoted" \x00\x1b ü\U0001f600\u2028'
    done = run(echo.url("/echo"), "--json-lines", "--send", "x", "--expect", "1")
    assert (done.returncode, done.stderr) == (0, b"")

    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, text.encode(), mask=None))
        peer.send_frame(BINARY, b"\x00\xff\n", mask=None)
        peer.send_frame(TEXT, b"", mask=None)
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        peer.read_frame()

    with serving(script) as url:
        done = run(url, "--json-lines", "--exit-on-close")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().split("\n")
    assert lines.pop() == ""
    first, second, third = map(json.loads, lines)
    assert (first["type"], first["data"]) == ("text", text)
    assert (second["type"], base64.b64decode(second["data"])) == ("binary", b"\x00\xff\n")
    assert (third["type"], third["data"]) == ("text", "")
    assert all(before <= message["time"] <= time.time() for message in (first, second, third))


def test_lines_of_json_come_at_once():
    came = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"now", mask=None))
        assert came.wait(DEADLINE_SECONDS)

    with serving(script) as url:
        command = [sys.executable, "-m", "fastwsh.client", url, "--json-lines", "--exit-on-close"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=clean_environment()
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["data"] == "now"
            came.set()
            assert process.wait(DEADLINE_SECONDS) == 1


# --- pings ----------------------------------------------------------------------------------------


def test_pings_are_sent_while_there_is_a_connection():
    def script(peer: Peer) -> None:
        peer.answer()
        for _ in range(3):
            frame = peer.read_frame()
            assert frame.opcode == PING
            peer.send_frame(PONG, frame.payload, mask=None)
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)
        assert peer.read_frame().opcode == CLOSE

    with serving(script) as url:
        done = run(url, "--exit-on-close", "--ping-interval", "0.3")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("more", [["--exit-on-close"], ["--expect", "1", "--timeout", "60"]])
def test_a_peer_that_does_not_answer_pings_is_left(more: list[str]):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().opcode == PING
        peer.read_to_end()

    with serving(script) as url:
        done = run(url, *more, "--ping-interval", "0.3")
    ends_with(done, 1, "no pong came within 0.3 s; the connection is cut")


def test_raw_pings_are_frames():
    def script(peer: Peer) -> None:
        peer.answer()
        for _ in range(2):
            assert peer.read_frame().opcode == PING
        peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)

    with serving(script) as url:
        done = run(url, "--raw", "--ping-interval", "0.2", "--timeout", "20")
    assert done.returncode == 0
    assert done.stdout.decode().splitlines()[0] == "> ping fin=1 rsv=000 mask=1 0 bytes"


@pytest.mark.parametrize(
    ("line", "payload"),
    [("/pong", b""), ("/pong some text", b"some text"), ("/frame pong x", b"x")],
)
def test_raw_pongs(line: str, payload: bytes):
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload) == (PONG, payload)

    with serving(script) as url:
        assert run(url, "--raw", stdin=line.encode()).returncode == 0


def test_a_peer_that_closes_behind_the_last_expected_message_has_missed_nothing(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("greets", "request.ws_stream.send_message('hello')")
    url = start_server("-w", "handlers").url("/greets")
    command = [sys.executable, "-m", "fastwsh.client", url, "--expect", "1"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    ) as process:
        # standard input stays open, and has no line
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read() == b"hello\n"
        assert process.stderr.read() == b""
    assert process.returncode == 0
