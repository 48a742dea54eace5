"""How the program ends: SIGINT, SIGTERM, sleeping handlers, and signal handlers of embedders."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler, clean_environment
from waiting import wait_until
from wire import DEADLINE_SECONDS, Client

HANDLERS = "-w", "handlers"

# Tells the client that it runs, then never ends by itself.
SLEEPER = """\
import time
request.connection.write(b'\\x81\\x04here')
while True:
    time.sleep(3600)
"""

EMBEDDER = """\
import signal, sys
from fastwsh import cli

def mine(number, frame):
    print("own handler", flush=True)
    sys.exit(7)

signal.signal(signal.SIGINT, mine)
sys.exit(cli.main(sys.argv[1:]))
"""


@contextmanager
def occupy(server: Server, path: str = "/sleeper") -> Iterator[Client]:
    """Connect, and go on when the handler runs."""
    with server.connect() as client:
        client.send_request(path)
        assert client.read_response().status == 101
        assert client.read_frame().payload == b"here"
        yield client


def is_refused(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was waiting when the socket was closed
        return False
    return False


@pytest.mark.usefixtures("handler_root")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_server_with_status_0(start_server: StartServer, number: signal.Signals):
    server = start_server(*HANDLERS)
    server.send_signal(number)
    assert server.wait() == 0
    assert "Traceback" not in server.log.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sleeping_handler_does_not_keep_the_process_alive(
    start_server: StartServer, write_handler: WriteHandler, number: signal.Signals
):
    write_handler("sleeper", SLEEPER)
    server = start_server(*HANDLERS, "--shutdown-timeout", "0.1", "--cleanup-timeout", "0.1")
    with occupy(server):
        server.send_signal(number)
        assert server.wait() == 0


def test_thread_of_a_handler_does_not_keep_the_process_alive(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "sleeper",
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(3600,)).start()\n"
        "request.connection.write(b'\\x81\\x04here')\n",
    )
    server = start_server(*HANDLERS, "--shutdown-timeout", "5")
    with occupy(server) as client:
        client.send_close()
        client.read_to_end()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_sigint_after_a_first_signal_ends_the_server_at_once(
    start_server: StartServer, write_handler: WriteHandler, first: signal.Signals
):
    write_handler("sleeper", SLEEPER)
    server = start_server(*HANDLERS, "--shutdown-timeout", "3600")
    with occupy(server):
        server.send_signal(first)
        server.log.wait_for("Stopping")
        server.send_signal(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT


def test_second_sigterm_ends_the_server_at_once(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("sleeper", SLEEPER)
    server = start_server(*HANDLERS, "--shutdown-timeout", "3600")
    with occupy(server):
        server.send_signal(signal.SIGTERM)
        server.log.wait_for("Stopping")
        # right after the first one it does not count
        deadline = time.monotonic() + DEADLINE_SECONDS
        while server.process.poll() is None and time.monotonic() < deadline:
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(0.1)
        assert server.wait() == 128 + signal.SIGTERM


def test_two_signals_at_once_are_one(start_server: StartServer, write_handler: WriteHandler):
    """timeout(1) sends two SIGTERM, to the process and to its group."""
    write_handler(
        "waiter", "request.ws_stream.send_message('here')\nrequest.ws_stream.receive_message()\n"
    )
    server = start_server(*HANDLERS)
    with occupy(server, "/waiter") as client:
        # of signals that wait for the same process, only different ones are two
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            server.send_signal(number)
        assert client.read_frame().close_code == 1001
        client.send_close(1001)
        assert server.wait() == 0


def test_new_connections_are_refused_while_old_ones_end(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("sleeper", SLEEPER)
    server = start_server(*HANDLERS, "--shutdown-timeout", "3600")
    with occupy(server):
        server.send_signal(signal.SIGTERM)
        server.log.wait_for("Stopping")
        wait_until(lambda: is_refused(server), "the server still accepts connections")
        assert server.process.poll() is None


def test_handler_that_waits_is_told_that_the_server_goes(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "waiter", "request.ws_stream.send_message('here')\nrequest.ws_stream.receive_message()\n"
    )
    server = start_server(*HANDLERS)
    with occupy(server, "/waiter") as client:
        server.send_signal(signal.SIGTERM)
        close = client.read_frame()
        assert close.close_code == 1001
        client.send_close(1001)
        assert server.wait() == 0


def test_what_handlers_printed_is_not_lost(start_server: StartServer, write_handler: WriteHandler):
    write_handler("sleeper", "print('from the handler', end='')\n" + SLEEPER)
    limits = ("--shutdown-timeout", "0", "--cleanup-timeout", "0.1")
    server = start_server(*HANDLERS, *limits, env={"PYTHONUNBUFFERED": ""})
    with occupy(server):
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert server.out.text() == "from the handler"


@contextmanager
def embedder(tmp_path: Path) -> Iterator[Server]:
    """A program that has a SIGINT handler of its own and then runs the server."""
    script = tmp_path / "embedder.py"
    script.write_text(EMBEDDER, encoding="utf-8")
    args = [*HANDLERS, "-H", "127.0.0.1", "-p", "0", "--log-level", "info"]
    process = subprocess.Popen(
        [sys.executable, str(script), *args],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    server = Server(process)
    try:
        server.wait_until_listening()
        yield server
    finally:
        server.kill()


@pytest.mark.usefixtures("handler_root")
def test_own_sigint_handler_of_an_embedder_stays(tmp_path: Path):
    with embedder(tmp_path) as server:
        server.send_signal(signal.SIGINT)
        assert server.wait() == 7
        assert server.out.text() == "own handler"


@pytest.mark.usefixtures("handler_root")
def test_sigterm_stops_an_embedder_that_left_it_alone(tmp_path: Path):
    with embedder(tmp_path) as server:
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
