"""Silent peers and busy handlers: keepalive pings, idle connections, pings answered meanwhile."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conftest import BOTH_WAYS, Server
from contract_support import PATH, Serve, extra_handshake, opened, serve
from echo_handlers import ECHO
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, Client, Frame

__all__ = ["serve"]

# less than the system takes for a peer that reads nothing
HELD_BYTES = 2 << 20

SHORT_LIMITS = ("--ping-interval", "0.1", "--ping-timeout", "2", "--idle-timeout", "2.4")

SILENT = """\
try:
    print(repr(request.ws_stream.receive_message()), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
    raise
"""


@BOTH_WAYS
class TestPings:
    def test_a_peer_that_answers_stays(self, serve: Serve) -> None:
        body = extra_handshake(
            "request.on_pong_handler = lambda request, body: print('pong', body, flush=True)", ECHO
        )
        server = serve(body, "--ping-interval", "0.02", "--ping-timeout", "20")
        with opened(server) as client:
            bodies = []
            for _ in range(5):
                ping = client.read_frame()
                assert ping.opcode == PING
                bodies.append(ping.payload)
                client.send_frame(PONG, ping.payload)
            assert len(set(bodies)) == 5
            client.send_frame(PONG, b"unasked")
            client.send_frame(TEXT, b"still here")
            while (frame := client.read_frame()).opcode == PING:
                client.send_frame(PONG, frame.payload)
            assert frame == Frame(TEXT, b"still here")
        # the handler's hook hears of the client's own pong alone
        assert server.out.wait_for("pong")[0]
        assert server.out.lines == ["pong b'unasked'"]

    def test_a_peer_that_does_not_answer_is_cut_off_with_1011(self, serve: Serve) -> None:
        server = serve(SILENT, "--ping-interval", "0.02", "--ping-timeout", "0.1")
        with opened(server) as client:
            assert client.read_frame().opcode == PING
            close = client.read_frame()
            assert (close.opcode, close.close_code) == (CLOSE, 1011)
            assert close.payload[2:] == b"keepalive ping timeout"
            assert client.read_to_end() == b""
        server.out.wait_for(r"ConnectionTerminatedException .* answered no ping within 0\.1 s")
        server.log.wait_for(r"127\.0\.0\.1 answered no ping within 0\.1 s: connection closed")

    def test_any_bytes_of_the_peer_are_an_answer(self, serve: Serve) -> None:
        server = serve(ECHO, "--ping-interval", "0.02", "--ping-timeout", "1")
        with opened(server) as client:
            # twice the time that a silent peer has
            for _ in range(25):
                client.send_frame(TEXT, b"x")
                while (frame := client.read_frame()).opcode == PING:
                    pass
                assert frame == Frame(TEXT, b"x")
                time.sleep(0.08)

    def test_a_peer_that_takes_nothing_is_cut_off_while_the_handler_sends(
        self, serve: Serve
    ) -> None:
        server = serve(
            "try:\n"
            "    while True:\n"
            "        request.ws_stream.send_message(bytes(1 << 20), binary=True)\n"
            "except Exception as error:\n"
            "    print('ended', flush=True)\n"
            "    raise",
            "--ping-interval",
            "0.05",
            "--ping-timeout",
            "0.2",
        )
        with opened(server):
            server.out.wait_for("ended")

    def test_a_peer_that_takes_a_long_message_slowly_stays(self, serve: Serve) -> None:
        server = serve(
            "request.ws_stream.send_message(bytes(80 << 20), binary=True)",
            *SHORT_LIMITS,
        )
        with opened(server) as client:
            client.read(10)
            # twice the time that a silent peer has; at the end, the systems hold a second's worth
            for _ in range(80):
                time.sleep(0.06)
                client.read(1 << 20)
            while (frame := client.read_frame()).opcode == PING:
                client.send_frame(PONG, frame.payload)
            assert frame.close_code == 1000

    def test_a_peer_that_takes_slowly_what_the_system_holds_stays(self, serve: Serve) -> None:
        server = serve(
            f"request.ws_stream.send_message(bytes({HELD_BYTES}), binary=True)\n"
            "print('sent', flush=True)\n"
            "assert request.ws_stream.receive_message() is None",
            *SHORT_LIMITS,
        )
        # the rest waits at the server's end
        with socket.socket() as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            connected.settimeout(DEADLINE_SECONDS)
            connected.connect(("127.0.0.1", server.port))
            client = Client.over(connected, server.port)
            client.handshake(PATH)
            server.out.wait_for("sent")
            client.read(10)
            # twice the time that a silent peer has
            for _ in range(80):
                time.sleep(0.06)
                client.read(HELD_BYTES // 80)
            client.read(HELD_BYTES % 80)
            assert client.read_frame().opcode == PING
            client.send_close()
            while (frame := client.read_frame()).opcode == PING:
                pass
            assert frame.close_code == 1000

    def test_a_handler_that_does_not_receive_is_not_the_peers_fault(self, serve: Serve) -> None:
        server = serve(
            "import time\n"
            "time.sleep(1.2)\n"
            "request.ws_stream.receive_message()\n"
            "request.ws_stream.send_message('done')",
            "--ping-interval",
            "0.02",
            "--ping-timeout",
            "0.5",
        )
        with opened(server) as client:
            client.send_frame(TEXT, b"x")
            while (frame := client.read_frame()).opcode == PING:
                client.send_frame(PONG, frame.payload)
            assert frame == Frame(TEXT, b"done")

    def test_none_is_sent_into_a_handlers_own_frames(self, serve: Serve) -> None:
        server = serve(
            "import time\n"
            "request.connection.write(b'\\x81\\x04ab')\n"
            "time.sleep(0.3)\n"
            "request.connection.write(b'cd')\n"
            "request.ws_stream.receive_message()",
            "--ping-interval",
            "0.02",
        )
        with opened(server) as client:
            while (frame := client.read_frame()).opcode == PING:
                pass  # before the handler has begun
            assert frame == Frame(TEXT, b"abcd")


@BOTH_WAYS
class TestIdle:
    def test_an_idle_connection_is_closed_with_1001(self, serve: Serve) -> None:
        server = serve(SILENT, "--idle-timeout", "0.1")
        with opened(server) as client:
            close = client.read_frame()
            assert (close.opcode, close.close_code) == (CLOSE, 1001)
            assert close.payload[2:] == b"idle for 0.1 s"
            client.send_close()
            assert client.read_to_end() == b""
        server.out.wait_for("None")
        server.log.wait_for(r"127\.0\.0\.1 was idle for 0\.1 s: connection closed")

    def test_keepalive_pings_are_no_activity(self, serve: Serve) -> None:
        server = serve(ECHO, "--idle-timeout", "0.5", "--ping-interval", "0.05")
        with opened(server) as client:
            pings = 0
            while (frame := client.read_frame()).opcode == PING:
                client.send_frame(PONG, frame.payload)
                pings += 1
            assert frame.close_code == 1001
            assert pings > 0

    @pytest.mark.parametrize("direction", ["in", "out"])
    def test_traffic_either_way_keeps_it_open(self, serve: Serve, direction: str) -> None:
        # 25 times 80 ms, where 1 s is allowed
        feed = (
            "import time\n"
            "for _ in range(25):\n"
            "    time.sleep(0.08)\n"
            "    request.ws_stream.send_message('x')"
        )
        sink = "for _ in range(25):\n    request.ws_stream.receive_message()"
        server = serve(feed if direction == "out" else sink, "--idle-timeout", "1")
        with opened(server) as client:
            for _ in range(25):
                if direction == "out":
                    assert client.read_frame() == Frame(TEXT, b"x")
                else:
                    time.sleep(0.08)
                    client.send_frame(TEXT, b"x")
            close = client.read_frame()
            assert close.close_code == 1000

    def test_a_peer_that_does_not_answer_the_close_is_cut_off(self, serve: Serve) -> None:
        server = serve(SILENT, "--idle-timeout", "0.1", "--close-timeout", "0.1")
        with opened(server) as client:
            assert client.read_frame().close_code == 1001
            assert client.read_to_end() == b""


# Works until the client has something for it on a second connection.
BUSY = """\
import threading
free = threading.Event()

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    if request.ws_resource.endswith("?free"):
        free.set()
        return
    request.ws_stream.send_message("busy")
    while not free.wait(0.01):
        sum(range(1000))
    free.clear()
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message)
"""


class TestPongWhileBusy:
    @pytest.fixture(params=["threads", "hub"])
    def busy(self, serve: Serve, request: pytest.FixtureRequest) -> Server:
        """In the hub the handler keeps everybody waiting; its pings are answered all the same."""
        return serve(BUSY, "--pong-while-busy", "--concurrency", request.param)

    @contextmanager
    def working(self, server: Server) -> Iterator[Client]:
        with opened(server) as client:
            assert client.read_frame() == Frame(TEXT, b"busy")
            yield client

    def let_go(self, server: Server) -> None:
        with opened(server, "/h?free"):
            pass

    def test_pings_are_answered(self, busy: Server) -> None:
        with self.working(busy) as client:
            for number in range(5):
                client.send_frame(PING, b"%d" % number)
                assert client.read_frame() == Frame(PONG, b"%d" % number)
            # a flood, in pieces
            client.send_frame(PING, b"a" * 125)
            for _ in range(1000):
                client.send_frame(PING, b"b" * 125)
            assert client.read_frame() == Frame(PONG, b"a" * 125)
            for _ in range(1000):
                assert client.read_frame() == Frame(PONG, b"b" * 125)
            self.let_go(busy)
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")

    def test_pings_behind_unread_data_are_not(self, busy: Server) -> None:
        with self.working(busy) as client:
            client.send_frame(PING, b"before")
            client.send_frame(TEXT, b"data")
            client.send_frame(PING, b"behind")
            assert client.read_frame() == Frame(PONG, b"before")
            assert not self.has_frame(client)
            self.let_go(busy)
            assert client.read_frame() == Frame(TEXT, b"data")
            assert client.read_frame() == Frame(PONG, b"behind")

    def test_half_a_ping_waits_for_the_other_half(self, busy: Server) -> None:
        with self.working(busy) as client:
            client.send(b"\x89\x81\0\0\0")
            assert not self.has_frame(client)
            client.send(b"\0x")
            assert client.read_frame() == Frame(PONG, b"x")
            client.send(b"\x89\x81\0\0")
            self.let_go(busy)
            client.send(b"\0\0y")
            assert client.read_frame() == Frame(PONG, b"y")

    def test_what_breaks_a_rule_is_left_to_the_handler(self, busy: Server) -> None:
        with self.working(busy) as client:
            client.send_frame(PING, b"reserved", rsv=4)
            client.send_frame(PING, b"fine")
            assert not self.has_frame(client)
            self.let_go(busy)
            assert client.read_frame().close_code == 1002

    def test_without_the_option_the_client_waits(self, serve: Serve) -> None:
        server = serve(BUSY, "--concurrency", "threads")
        with self.working(server) as client:
            client.send_frame(PING, b"x")
            assert not self.has_frame(client)
            self.let_go(server)
            assert client.read_frame() == Frame(PONG, b"x")

    def has_frame(self, client: Client) -> bool:
        """Whether a frame comes in more than the time between two looks for pings."""
        client.socket.settimeout(0.6)
        try:
            client.socket.recv(1, 0x2)  # MSG_PEEK
        except TimeoutError:
            return False
        finally:
            client.socket.settimeout(DEADLINE_SECONDS)
        return True

    @pytest.mark.parametrize(
        "lines",
        [
            # wants to see pings, or may be in the middle of a frame
            "request.on_ping_handler = lambda request, body: None",
            "request.connection.read(2)",
            "request.ws_stream.receive_bytes(2)",
        ],
    )
    def test_pings_of_a_handler_that_looks_below_messages_are_its_own(
        self, serve: Serve, lines: str
    ) -> None:
        server = serve(
            f"{lines}\nrequest.ws_stream.send_message('busy')\n"
            "import time\n"
            "time.sleep(0.7)\n"
            "request.ws_stream.send_message('free')\n"
            "request.connection.read(3)",
            "--pong-while-busy",
        )
        with opened(server) as client:
            client.send(b"\x89\x80")  # what two of the three read
            assert client.read_frame() == Frame(TEXT, b"busy")
            client.send_frame(PING, b"x")
            assert client.read_frame() == Frame(TEXT, b"free")

    def test_a_hook_that_is_taken_away_is_none(self, serve: Serve) -> None:
        server = serve(
            "request.on_ping_handler = print\n"
            "del request.on_ping_handler\n"
            "assert not hasattr(request, 'on_ping_handler')\n"
            "request.ws_stream.send_message('busy')\n"
            "import time\n"
            "while request.ws_stream is not None:\n"
            "    time.sleep(0.05)",
            "--pong-while-busy",
        )
        with opened(server) as client:
            assert client.read_frame() == Frame(TEXT, b"busy")
            client.send_frame(PING, b"x")
            assert client.read_frame() == Frame(PONG, b"x")

    def test_the_hub_goes_on_receiving_what_was_read_in_its_place(self, serve: Serve) -> None:
        """The thread that looks for pings must not take away what a waiting handler waits for."""
        server = serve(ECHO, "--pong-while-busy", "--concurrency", "hub")
        with opened(server) as client:
            deadline = time.monotonic() + 1.5
            while time.monotonic() < deadline:
                client.send_frame(PING, b"p")
                client.send_frame(BINARY, b"x" * 100)
                assert client.read_frame() == Frame(PONG, b"p")
                assert client.read_frame() == Frame(BINARY, b"x" * 100)

    def test_with_keepalive_pongs_do_not_stand_in_the_way(self, serve: Serve) -> None:
        server = serve(
            BUSY, "--pong-while-busy", "--ping-interval", "0.1", "--concurrency", "threads"
        )
        with self.working(server) as client:
            keepalive = client.read_frame()
            assert keepalive.opcode == PING
            client.send_frame(PONG, keepalive.payload)
            client.send_frame(PING, b"mine")
            while (frame := client.read_frame()).opcode == PING:
                pass
            assert frame == Frame(PONG, b"mine")
