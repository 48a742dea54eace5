"""What the system runs out of, and the end of the server in the middle of everything."""

import errno
import os
import re
import resource
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from conftest import BOTH_WAYS, Server, StartServer, WriteHandler
from contract_support import close_code
from echo_handlers import ECHO
from faults_support import COLLECT, assert_answers
from waiting import wait_until
from wire import BINARY, CLOSE, CONTINUATION, TEXT, Client, Frame

SENDS = """\
while True:
    request.ws_stream.send_message("x" * 10000)
"""
BLOCKED = """\
import threading
threading.Event().wait()
"""

NO_DESCRIPTORS = os.strerror(errno.EMFILE)


@BOTH_WAYS
def test_sigterm_in_the_middle_of_everything_ends_in_time_with_0(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(bytes(32 << 20))
    for name, lines in {"echo": ECHO, "sends": SENDS, "blocked": BLOCKED}.items():
        write_handler(name, lines)
    limits = ("--shutdown-timeout", "2", "--cleanup-timeout", "0.5")
    server = start_server("-w", "handlers", *limits)
    with ExitStack() as stack:

        def opened(path: str) -> Client:
            client = stack.enter_context(server.connect())
            client.handshake(path)
            return client

        idle = [opened("/echo") for _ in range(20)]
        active = [opened("/echo") for _ in range(5)]
        for _ in range(5):
            # sending to a client that does not read; blocked; a download; heads that go no further
            opened("/sends")
            opened("/blocked")
            download = stack.enter_context(server.connect())
            download.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            stack.enter_context(server.connect()).send(b"GET /echo HTTP/1.1\r\n")
            stack.enter_context(server.connect())
        for client in active:
            client.send_frame(TEXT, b"x" * 1000)
        server.send_signal(signal.SIGTERM)
        for client in [*idle, *active]:
            # behind the answer to what the handler had received
            assert close_code(client) == 1001
            client.send_close(1001)
            assert client.read_to_end() == b""
        assert server.wait() == 0
    assert "panicked" not in server.log.text()


class TestDescriptors:
    LIMIT = 64

    @pytest.fixture
    def server(self, start_server: StartServer, write_handler: WriteHandler) -> Server:
        write_handler("echo", ECHO)
        write_handler("collect", COLLECT)
        server = start_server("-w", "handlers")
        # once it runs: starting takes some for a moment
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (self.LIMIT, self.LIMIT))
        return server

    def test_when_there_are_none_connections_wait_for_one(self, server: Server) -> None:
        began = time.monotonic()
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(self.LIMIT + 20)]
            for client in clients:
                client.send_request("/echo")
            server.log.wait_for(
                rf"\[ERROR\] .*Cannot accept a connection: {NO_DESCRIPTORS}.*trying again"
            )
            # in the order in which they came
            for client in clients:
                assert client.read_response().status == 101
                client.send_frame(TEXT, b"x")
                assert client.read_frame() == Frame(TEXT, b"x")
                client.send_close()
                assert client.read_frame().opcode == CLOSE
                client.close()
        assert_answers(server)
        server.log.wait_for("Connections are accepted again")
        # not one line for each try, however often descriptors become free and are used up
        for told in ("Cannot accept", "accepted again"):
            lines = [line for line in server.log.lines if told in line]
            assert len(lines) <= 1 + (time.monotonic() - began) / 10


FAILS_ONCE = """\
import difflib

def fail(*args):
    difflib.get_close_matches = found
    raise OSError(24, "Too many open files")

found, difflib.get_close_matches = difflib.get_close_matches, fail

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.receive_message()
"""


def test_an_event_that_cannot_be_logged_costs_no_later_lines(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("echo", FAILS_ONCE)
    server = start_server("-w", "handlers")
    for path, line in {
        "/ecko": r"\[ERROR\] fastwsh.server: An event of the server has no line in the log",
        "/other": r"No handler for resource: '/other'",
    }.items():
        with server.connect() as client:
            client.send_request(path)
            assert client.read_response().status == 404
            server.log.wait_for(line)


def test_the_access_log_needs_no_descriptor_for_its_first_line(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
) -> None:
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--access-log", "access.log")
    number = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir())) + 1
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (number, number))
    with server.connect() as client:
        client.handshake("/echo")
        client.send_close(1000)
        client.read_to_end()
    log = tmp_path / "access.log"
    wait_until(lambda: " /echo 101 " in log.read_text(encoding="utf-8"), "there is no line")


class TestFullDisk:
    def test_a_log_that_cannot_be_written_stops_nothing(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers", "--access-log", "/dev/full")
        for _ in range(50):
            assert_answers(server)
        server.log.wait_for(
            r"fastwsh: cannot write the log file '/dev/full' \(No space left on device"
        )
        # once, and not for every line
        log = "\n".join(server.log.lines)
        assert len(re.findall("No space left", log)) == 1
        assert "Traceback" not in log


@BOTH_WAYS
@pytest.mark.parametrize(
    ("opcode", "fin", "announced"),
    [(TEXT, True, 1 << 30), (BINARY, False, 1 << 20), (TEXT, False, 1 << 20)],
    ids=["one_frame", "binary_fragments", "text_fragments"],
)
def test_a_message_for_which_there_is_no_memory_costs_its_sender_alone(
    start_server: StartServer, write_handler: WriteHandler, opcode: int, fin: bool, announced: int
) -> None:
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--max-message-bytes", str(1 << 31))
    with server.connect() as client, server.connect() as other:
        client.handshake()
        other.handshake()
        status = Path(f"/proc/{server.process.pid}/statm").read_text(encoding="ascii")
        room = int(status.split()[0]) * resource.getpagesize() + (96 << 20)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (room, room))
        piece = bytes(1 << 20)
        # zeros are valid text, and masked by zeros they stay what they are
        header = lambda first: bytes([first, 0xFF]) + announced.to_bytes(8, "big") + bytes(4)  # noqa: E731
        client.send(header(opcode | 0x80 * fin))
        with suppress(ConnectionError):
            for _ in range(1 << 10):
                client.send(piece)
                if not fin:
                    client.send(header(CONTINUATION))
        other.send_frame(TEXT, b"still here")
        assert other.read_frame() == Frame(TEXT, b"still here")
    assert server.process.poll() is None
    server.log.wait_for("there is no memory for it")


@BOTH_WAYS
def test_handlers_are_scheduled_as_the_process_is(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    says = "import os\nrequest.ws_stream.send_message(str(os.sched_getscheduler(0)))"
    write_handler("policy", says)
    server = start_server("-w", "handlers")
    policy = str(os.sched_getscheduler(server.process.pid))
    with server.connect() as client:
        client.handshake("/policy")
        assert client.read_frame() == Frame(TEXT, policy.encode())
