"""What scripts give `python -m fastwsh.client` to send, and what they get: options, JSON, pings."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from client_support import Peer, serving
from conftest import Server, StartServer, WriteHandler, clean_environment
from forward_proxy import connect_proxy, socks_proxy
from oneshot_support import echo, ends_with, messages_to, run, sent
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, Frame, encode_frame

__all__ = ["echo"]  # the fixture


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
