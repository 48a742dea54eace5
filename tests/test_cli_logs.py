"""Log formats, the access log, and SIGHUP with log files."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler, clean_environment, run_fastwsh
from waiting import wait_until
from wire import CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame

HANDLERS = "-w", "handlers"


def lines(file: Path, count: int) -> list[str]:
    """The lines of a log file that has as many; the connection's end comes before its line."""
    text = file.read_text(encoding="utf-8").splitlines()
    assert len(text) == count, text
    return text


def connect_and_close(server: Server, path: str = "/echo") -> None:
    """Open a connection, close it with 1001, and wait for its end."""
    with server.connect() as client:
        client.handshake(path)
        client.send_close(1001)
        client.read_to_end()


def stop(server: Server) -> None:
    """End the server, so that its log files are complete."""
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    """Serve a handler at /echo that waits for the end."""
    write_handler("echo", "request.ws_stream.receive_message()\n")


class TestJson:
    """`--log-format json`."""

    def test_every_line_of_a_server_is_an_object(
        self, start_server: StartServer, write_handler: WriteHandler
    ):
        write_handler("bad", "def web_socket_transfer_data(:\n")
        write_handler("fail", "raise ValueError('a\\r\\n[CRITICAL] forged\\x1b[31m')\n")
        server = start_server(*HANDLERS, "--log-format", "json", log_level="debug")
        with server.connect() as client:
            client.handshake("/fail")
            client.read_to_end()
        stop(server)
        entries = [json.loads(line) for line in server.log.lines]
        loggers = {entry["logger"] for entry in entries}
        assert {"fastwsh.server", "fastwsh.cli"} <= loggers
        assert any("forged" in entry["message"] for entry in entries)


class TestAccessLog:
    """`--access-log`."""

    def test_is_off_by_default(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS)
        connect_and_close(server)
        stop(server)
        assert server.out.text() == ""

    def test_line_of_a_connection(
        self, start_server: StartServer, tmp_path: Path, write_handler: WriteHandler
    ):
        write_handler(
            "chat",
            "def web_socket_do_extra_handshake(request):\n"
            "    request.ws_protocol = 'chat'\n"
            "def web_socket_transfer_data(request):\n"
            "    request.ws_stream.receive_message()\n",
        )
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            port = client.socket.getsockname()[1]
            client.handshake(
                "/chat?room=1",
                [
                    ("Sec-WebSocket-Protocol", "chat, other"),
                    ("Sec-WebSocket-Extensions", "permessage-deflate"),
                ],
            )
            client.send_close(4321)
            client.read_to_end()
        stop(server)
        (line,) = lines(tmp_path / "access.log", 1)
        assert re.fullmatch(
            r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "
            rf'127\.0\.0\.1:{port} "/chat\?room=1" 101 '
            r"subprotocol=chat extensions=permessage-deflate close_received=4321 "
            r"close_sent=1000 messages_received=0 messages_sent=0 bytes_received=8 bytes_sent=\d+ "
            r"opened=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z seconds=\d+\.\d+ http_version=1\.1",
            line,
        )

    def test_object_of_a_connection(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS, "--access-log=access.log", "--log-format=json")
        connect_and_close(server)
        stop(server)
        (line,) = lines(tmp_path / "access.log", 1)
        entry: dict[str, Any] = json.loads(line)
        assert entry.pop("opened") <= entry.pop("time")
        assert entry.pop("peer").startswith("127.0.0.1:")
        assert entry.pop("seconds") >= 0
        # our close frame is behind the answer to the opening handshake
        assert entry.pop("bytes_sent") > 100
        assert entry == {
            "resource": "/echo",
            "status": 101,
            "http_version": "1.1",
            "subprotocol": None,
            "extensions": None,
            "close_received": 1001,
            "close_sent": 1000,
            "messages_received": 0,
            "messages_sent": 0,
            "bytes_received": 8,
        }

    @ALL_WAYS
    def test_counts_what_went_over_a_connection(
        self, start_server: StartServer, tmp_path: Path, write_handler: WriteHandler
    ):
        write_handler(
            "count",
            "request.ws_stream.receive_message()\n"
            "for end in (False, False, True):\n"
            "    request.ws_stream.send_message('xyz', end)\n"
            "request.ws_stream.send_message(request.ws_stream.receive_message())\n"
            "request.ws_stream.close_connection(3000, 'enough')\n",
        )
        server = start_server(*HANDLERS, "--access-log=access.log", "--log-format=json")
        with server.connect() as client:
            answer = client.handshake("/count")
            frames = [encode_frame(PING, b"p"), encode_frame(TEXT, b"a", fin=False)]
            frames += [encode_frame(CONTINUATION, b"b"), encode_frame(TEXT, b"c")]
            client.send(b"".join(frames))
            opcodes = [client.read_frame().opcode for _ in range(6)]
            assert opcodes == [PONG, TEXT, CONTINUATION, CONTINUATION, TEXT, CLOSE]
            client.send_close(3000)
            client.read_to_end()
        stop(server)
        entry: dict[str, Any] = json.loads(lines(tmp_path / "access.log", 1)[0])
        names = ("messages_received", "messages_sent", "bytes_received", "close_sent")
        received = sum(map(len, frames)) + len(encode_frame(CLOSE, b"\x0b\xb8"))
        assert tuple(entry[name] for name in names) == (2, 2, received, 3000)
        assert entry["close_received"] == 3000
        head = [answer.status_line, *(f"{name}: {value}" for name, value in answer.headers), ""]
        # a pong, 3 pieces of 3 bytes, a message of 1, and the close frame
        sent = (2 + 1) + 3 * (2 + 3) + (2 + 1) + (2 + 2 + len("enough"))
        assert entry["bytes_sent"] == sum(len(line) + 2 for line in head) + sent

    def test_a_server_that_stops_has_sent_1001(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS, "--access-log=access.log", "--log-format=json")
        with server.connect() as client:
            client.handshake("/echo")
            server.send_signal(signal.SIGTERM)
            assert client.read_frame().close_code == 1001
            client.send_close(1001)
            assert server.wait() == 0
        entry: dict[str, Any] = json.loads(lines(tmp_path / "access.log", 1)[0])
        assert (entry["close_sent"], entry["close_received"]) == (1001, 1001)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("raise handshake.HandshakeException('no', 418)", 418),
            ("raise ValueError", 403),
        ],
    )
    def test_connection_that_is_refused(
        self,
        start_server: StartServer,
        tmp_path: Path,
        write_handler: WriteHandler,
        body: str,
        status: int,
    ):
        write_handler(
            "no",
            "from pywebsocket3 import handshake\n"
            f"def web_socket_do_extra_handshake(request):\n    {body}\n"
            "def web_socket_transfer_data(request):\n    pass\n",
        )
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            client.send_request("/no")
            assert client.read_response().status == status
        stop(server)
        (line,) = lines(tmp_path / "access.log", 1)
        assert re.search(rf" /no {status} seconds=[\d.]+ http_version=1\.1$", line)

    @pytest.mark.parametrize(
        ("request_line", "status"),
        [
            ("GET /none HTTP/1.1", 404),
            ("GET /a_file HTTP/1.1", 200),
            ("GET /echo#fragment HTTP/1.1", 400),
            ("PUT /none HTTP/1.1", 501),
        ],
    )
    def test_request_that_comes_to_no_handler(
        self, start_server: StartServer, tmp_path: Path, request_line: str, status: int
    ):
        (tmp_path / "a_file").write_text("x", encoding="ascii")
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            port = client.socket.getsockname()[1]
            # a request for a file has no line here
            client.send(b"GET /a_file HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.read_response().status == 200
            assert client.read(1) == b"x"
            client.send(f"{request_line}\r\nHost: x\r\nUpgrade: websocket\r\n\r\n".encode())
            assert client.read_response().status == status
        stop(server)
        resource = request_line.split(" ")[1]
        (line,) = lines(tmp_path / "access.log", 1)
        name = resource if "#" not in resource else f'"{resource}"'
        assert line.endswith(f" 127.0.0.1:{port} {name} {status} http_version=1.1")

    def test_bad_handshake_is_refused_with_400(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            client.send_request("/echo", [("Sec-WebSocket-Version", "8")])
            assert client.read_response().status == 400
        stop(server)
        assert " /echo 400 " in lines(tmp_path / "access.log", 1)[0]

    @pytest.mark.parametrize("args", [["--access-log=-"], ["--access-log"]])
    def test_dash_or_nothing_is_standard_output(self, start_server: StartServer, args: list[str]):
        server = start_server(*HANDLERS, *args)
        connect_and_close(server)
        server.out.wait_for(r" /echo 101 close_received=1001 close_sent=1000 ")

    def test_resource_is_quoted_unless_it_is_plain(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            client.handshake('/echo?"x')
            client.send_close()
            client.read_to_end()
        stop(server)
        (line,) = lines(tmp_path / "access.log", 1)
        assert r' "/echo?\"x" 101 ' in line

    def test_odd_things_in_the_request_do_no_harm(
        self, start_server: StartServer, tmp_path: Path, write_handler: WriteHandler
    ):
        write_handler("odd", "request.ws_extensions = 5\nrequest.ws_close_code = 'x'\n")
        server = start_server(*HANDLERS, "--access-log", "access.log")
        with server.connect() as client:
            client.handshake("/odd")
            client.send_close()
            client.read_to_end()
        server.log.wait_for("A connection has no line in the access log")
        connect_and_close(server)
        stop(server)
        lines(tmp_path / "access.log", 1)

    def test_file_that_cannot_be_opened_is_a_clear_error(self, tmp_path: Path):
        done = run_fastwsh(*HANDLERS, "-p0", "--access-log", "none/a.log", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr == (
            f"fastwsh: cannot open the log file '{tmp_path}/none/a.log' (No such file or "
            "directory); name one in an existing, writable folder with --access-log\n"
        )


class TestHangUp:
    """SIGHUP opens log files anew, as logrotate expects."""

    def test_opens_the_access_log_anew(self, start_server: StartServer, tmp_path: Path):
        server = start_server(*HANDLERS, "--access-log", "access.log")
        connect_and_close(server)
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        server.send_signal(signal.SIGHUP)
        server.log.wait_for("Log files opened anew")
        connect_and_close(server)
        stop(server)
        lines(tmp_path / "access.log.1", 1)
        lines(tmp_path / "access.log", 1)

    def test_opens_the_log_file_anew(self, tmp_path: Path):
        with served_on_own_socket(tmp_path, "--log-file", "own.log") as server:
            wait_for_line(tmp_path / "own.log", "Listening on")
            (tmp_path / "own.log").rename(tmp_path / "own.log.1")
            server.send_signal(signal.SIGHUP)
            wait_for_line(tmp_path / "own.log", "Log files opened anew")
            stop(server)
        assert "anew" not in (tmp_path / "own.log.1").read_text(encoding="utf-8")
        assert "Stopping" in (tmp_path / "own.log").read_text(encoding="utf-8")

    def test_keeps_a_file_that_cannot_be_opened_anew(self, tmp_path: Path):
        folder = tmp_path / "logs"
        folder.mkdir()
        with served_on_own_socket(tmp_path, "--log-file", "logs/own.log") as server:
            folder.rename(tmp_path / "elsewhere")
            server.send_signal(signal.SIGHUP)
            moved = tmp_path / "elsewhere" / "own.log"
            wait_for_line(moved, r"Cannot open the log file anew: .* No such file or directory")
            stop(server)

    def test_ends_a_server_that_has_nothing_to_renew(self, start_server: StartServer):
        server = start_server(*HANDLERS)
        connect_and_close(server)
        server.send_signal(signal.SIGHUP)
        assert server.wait() == -signal.SIGHUP

    def test_is_left_alone_where_it_is_ignored(self, tmp_path: Path):
        with served_on_own_socket(tmp_path, "--log-file", "own.log", under="nohup") as server:
            server.send_signal(signal.SIGHUP)
            connect_and_close(server)
            stop(server)
        assert "anew" not in (tmp_path / "own.log").read_text(encoding="utf-8")


@contextmanager
def served_on_own_socket(tmp_path: Path, *args: str, under: str = "env") -> Iterator[Server]:
    """A server that says nothing on standard error; its socket is there before it is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        command = [under, sys.executable, "-m", "fastwsh", *HANDLERS, f"--fd={number}"]
        process = subprocess.Popen(
            [*command, "--log-level=info", *args],
            cwd=tmp_path,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[number],
        )
        server = Server(process)
        server.port = listener.getsockname()[1]
    try:
        connect_and_close(server)
        yield server
    finally:
        server.kill()


def wait_for_line(file: Path, pattern: str) -> None:
    """Wait until a file has a line that matches."""
    wait_until(
        lambda: file.exists() and re.search(pattern, file.read_text(encoding="utf-8")),
        f"nothing matches {pattern!r} in {file}",
    )
