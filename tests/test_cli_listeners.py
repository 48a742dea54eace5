"""`--bind`, `--uds`, `--fd` and LISTEN_FDS: the server answers there, and cleans up."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler, clean_environment, run_fastwsh
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

HANDLERS = "-w", "handlers"

ECHO = "request.ws_stream.send_message(request.ws_stream.receive_message())\n"

# What a service manager does: descriptors from 3 on, and the variables that name them.
ACTIVATE = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
os.execv(sys.executable, [sys.executable, "-m", "fastwsh", *sys.argv[2:]])
"""


@contextmanager
def unix_client(path: Path) -> Iterator[Client]:
    """A client of a Unix socket."""
    ours = socket.socket(socket.AF_UNIX)
    ours.settimeout(DEADLINE_SECONDS)
    ours.connect(str(path))
    with Client.over(ours) as client:
        yield client


def assert_echoes(client: Client) -> None:
    client.handshake("/echo")
    client.send_frame(TEXT, b"hello")
    assert client.read_frame() == Frame(TEXT, b"hello")


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    """Serve one echo per connection at /echo."""
    write_handler("echo", ECHO)


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_fastwsh(*HANDLERS, *args, cwd=cwd)


class TestUnixSocket:
    """`--uds` and `--bind unix:`."""

    @pytest.mark.parametrize("option", ["--uds=own.sock", "--bind=unix:own.sock"])
    def test_serves_and_goes_at_exit(self, start_server: StartServer, tmp_path: Path, option: str):
        path = tmp_path / "own.sock"
        server = start_server(*HANDLERS, listen=[option])
        with unix_client(path) as client:
            assert_echoes(client)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert not path.exists()
        assert "Listening on unix:own.sock" in server.log.text()

    def test_an_empty_path_is_refused(self, tmp_path: Path):
        # as `--uds "$UNSET"`, which must not listen on port 80
        done = run("--uds", "", cwd=tmp_path)
        assert done.returncode == 2
        assert "argument --uds: the path of the Unix socket is empty" in done.stderr

    def test_peer_has_no_address(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ):
        write_handler("who", "request.ws_stream.send_message(repr(request.connection.remote_addr))")
        start_server(*HANDLERS, listen=["--uds", "own.sock"])
        with unix_client(tmp_path / "own.sock") as client:
            client.handshake("/who")
            assert client.read_frame() == Frame(TEXT, b"''")

    def test_serves_files(self, start_server: StartServer, tmp_path: Path):
        (tmp_path / "page.txt").write_text("a page", encoding="utf-8")
        start_server(*HANDLERS, listen=["--uds", "own.sock"])
        with unix_client(tmp_path / "own.sock") as client:
            client.send(b"GET /page.txt HTTP/1.0\r\nHost: x\r\n\r\n")
            assert client.read_response().status == 200
            assert client.read_to_end() == b"a page"

    def test_goes_when_a_second_sigint_ends_the_server(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ):
        write_handler(
            "sleeper",
            "import time\n"
            "request.ws_stream.send_message('asleep')\n"
            "while True:\n    time.sleep(3600)\n",
        )
        server = start_server(*HANDLERS, "--shutdown-timeout", "3600", listen=["--uds", "own.sock"])
        with unix_client(tmp_path / "own.sock") as client:
            client.handshake("/sleeper")
            assert client.read_frame() == Frame(TEXT, b"asleep")
            server.send_signal(signal.SIGINT)
            server.log.wait_for("Stopping")
            server.send_signal(signal.SIGINT)
            assert server.wait() == 130
        assert not (tmp_path / "own.sock").exists()

    def test_left_by_a_killed_server_is_replaced(self, start_server: StartServer, tmp_path: Path):
        first = start_server(*HANDLERS, listen=["--uds", "own.sock"])
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (tmp_path / "own.sock").is_socket()
        start_server(*HANDLERS, listen=["--uds", "own.sock"])
        with unix_client(tmp_path / "own.sock") as client:
            assert_echoes(client)

    def test_of_a_living_server_is_a_clear_error(self, start_server: StartServer, tmp_path: Path):
        start_server(*HANDLERS, listen=["--uds", "own.sock"])
        done = run("--uds", "own.sock", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr == (
            "fastwsh: cannot listen on unix:own.sock (another server listens there); "
            "name another place with --uds\n"
        )
        with unix_client(tmp_path / "own.sock") as client:
            assert_echoes(client)

    def test_follows_the_umask(self, start_server: StartServer, tmp_path: Path):
        before = os.umask(0o117)
        try:
            start_server(*HANDLERS, listen=["--uds", "own.sock"])
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "own.sock").stat().st_mode) == 0o660


def test_every_place_is_served(start_server: StartServer, tmp_path: Path):
    server = start_server(
        *HANDLERS, "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0", "--uds", "own.sock"
    )
    server.log.wait_for("Listening on unix:own.sock")
    ports = [
        int(line.rpartition(":")[2])
        for line in server.log.lines
        if "fastwsh.server: Listening on 127.0.0.1" in line
    ]
    assert len(set(ports)) == 3
    for port in ports:
        with Client(port) as client:
            assert_echoes(client)
    with unix_client(tmp_path / "own.sock") as client:
        assert_echoes(client)


def test_every_unix_socket_is_served(start_server: StartServer, tmp_path: Path):
    server = start_server(*HANDLERS, listen=["--uds", "a.sock", "--uds", "b.sock", "--uds=a.sock"])
    for name in ["a.sock", "b.sock"]:
        server.log.wait_for(f"Listening on unix:{name}")
        with unix_client(tmp_path / name) as client:
            assert_echoes(client)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not list(tmp_path.glob("*.sock"))


def test_place_of_a_variable_is_served(start_server: StartServer):
    server = start_server(*HANDLERS, listen=[], env={"FASTWSH_BIND": "127.0.0.1:0"})
    with server.connect() as client:
        assert_echoes(client)


def test_place_that_is_taken_ends_the_start_although_others_are_free(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"127.0.0.1:{listener.getsockname()[1]}"
        done = run("--bind", "127.0.0.1:0", "--bind", place, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"fastwsh: cannot listen on {place} ({os.strerror(errno.EADDRINUSE)}); "
        "name another place with --bind\n"
    )


class TestInheritedSocket:
    """`--fd` and LISTEN_FDS."""

    @pytest.fixture
    def listener(self) -> Iterator[socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener

    def test_of_fd_is_served(self, start_server: StartServer, listener: socket.socket):
        number = listener.fileno()
        server = start_server(*HANDLERS, listen=[f"--fd={number}"], pass_fds=[number])
        assert server.port == listener.getsockname()[1]
        with server.connect() as client:
            assert_echoes(client)

    def test_is_unix(self, start_server: StartServer, tmp_path: Path):
        path = tmp_path / "own.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            number = listener.fileno()
            server = start_server(*HANDLERS, listen=[f"--fd={number}"], pass_fds=[number])
            with unix_client(path) as client:
                assert_echoes(client)
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0
        assert path.is_socket()

    def test_of_listen_fds_is_served_and_hidden_from_children(
        self, tmp_path: Path, write_handler: WriteHandler, listener: socket.socket
    ):
        write_handler(
            "child",
            "import subprocess, sys\n"
            "code = 'import os; print([n for n in os.environ if \"LISTEN\" in n])'\n"
            "done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
            "request.ws_stream.send_message(done.stdout.strip())\n",
        )
        number = listener.fileno()
        command = [sys.executable, "-c", ACTIVATE, str(number), *HANDLERS, "--log-level", "info"]
        server = Server(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=[number],
            )
        )
        try:
            server.wait_until_listening()
            assert server.port == listener.getsockname()[1]
            with server.connect() as client:
                assert_echoes(client)
            with server.connect() as client:
                client.handshake("/child")
                assert client.read_frame() == Frame(TEXT, b"[]")
        finally:
            server.kill()

    def test_that_is_none_is_a_clear_error(self, tmp_path: Path):
        done = run("--fd", "99", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr == (
            "fastwsh: cannot listen on descriptor 99 (Bad file descriptor); "
            "name another place with --fd\n"
        )
