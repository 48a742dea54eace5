"""The hub: handlers that share a thread must not be able to tell, except by blocking."""

import select
import signal
import socket
import ssl
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from hub_support import STREAMS, drain, handler, thread_names
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, TEXT, Client, Frame, encode_frame

pytestmark = pytest.mark.parametrize("concurrency", ["auto"])


@pytest.fixture(scope="module")
def tls_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate with its key in one file, and a context that trusts it."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return file, context


class TestFairness:
    def test_a_handler_that_only_sends_does_not_keep_its_neighbours(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        write_handler("flood", "while True:\n    request.ws_stream.send_message('x' * 100)")
        server = start_server("-w", "handlers")
        with server.connect() as flood, server.connect() as echo:
            flood.handshake("/flood")
            reader = threading.Thread(target=drain, args=(flood,), daemon=True)
            reader.start()
            echo.handshake()
            for number in range(20):
                echo.send_frame(TEXT, b"%d" % number)
                assert echo.read_frame() == Frame(TEXT, b"%d" % number)
            assert "fastwsh-handler" not in thread_names(server)
            flood.socket.shutdown(2)
            reader.join(DEADLINE_SECONDS)

    @pytest.mark.parametrize(
        ("send", "sent"),
        [
            ("request.ws_stream.send_message('hello')", Frame(TEXT, b"hello")),
            ("request.connection.write(b'\\x81\\x05hello')", Frame(TEXT, b"hello")),
        ],
    )
    def test_what_was_sent_does_not_wait_for_a_handler_that_blocks(
        self, start_server: StartServer, write_handler: WriteHandler, send: str, sent: Frame
    ) -> None:
        # each handler has used up its slice when it sends, so another one runs before it goes on
        body = f"import threading, time\ntime.sleep(0.02)\n{send}\nthreading.Event().wait()"
        write_handler("blocks", handler(body, "web_socket_concurrency = 'hub'"))
        server = start_server("-w", "handlers")
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(3)]
            for client in clients:
                client.handshake("/blocks")
            for client in clients:
                assert client.read_frame() == sent

    def test_a_client_that_reads_nothing_blocks_its_own_handler_alone(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        write_handler(
            "large",
            "for _ in range(4):\n    request.ws_stream.send_message(bytes(8 << 20), binary=True)\n",
        )
        server = start_server("-w", "handlers")
        with server.connect() as slow, server.connect() as echo:
            slow.handshake("/large")
            echo.handshake()
            echo.send_frame(BINARY, b"\0" * 300_000)
            assert echo.read_frame() == Frame(BINARY, b"\0" * 300_000)
            for _ in range(4):
                assert slow.read_frame() == Frame(BINARY, bytes(8 << 20))


class TestForeignThreads:
    """Streams are used from anywhere, at any time, as pywebsocket's are."""

    KEEP = "streams[request.ws_resource] = request.ws_stream\n"

    @pytest.fixture(params=["hub", "threads"])
    def server(
        self, request: pytest.FixtureRequest, start_server: StartServer, write_handler: WriteHandler
    ) -> Server:
        """`/other` uses the stream of `/mine`, which is in the hub, from where it runs itself."""
        lines = (
            "stream = streams['/mine']\n"
            "command = request.ws_stream.receive_message()\n"
            "while command is not None:\n"
            "    if command == 'send':\n"
            "        stream.send_message('from the other')\n"
            "    elif command == 'large':\n"
            "        stream.send_message(bytes(4 << 20), binary=True)\n"
            "    else:\n"
            "        request.ws_stream.send_message('got ' + stream.receive_message())\n"
            "    command = request.ws_stream.receive_message()\n"
        )
        place = f"web_socket_concurrency = '{request.param}'\n"
        write_handler("other", handler(lines, place + STREAMS))
        # common.__dict__ is not for handlers of the hub, unless somebody says so
        mine = "web_socket_concurrency = 'hub'\n" + STREAMS
        write_handler("mine", handler(self.KEEP + ECHO, mine))
        return start_server("-w", "handlers")

    def open_mine(self, client: Client) -> None:
        """Open `/mine`, whose handler has kept its stream when it answers."""
        client.handshake("/mine")
        client.send_frame(TEXT, b"there")
        assert client.read_frame() == Frame(TEXT, b"there")

    def test_sends_while_the_handler_waits_to_receive(self, server: Server) -> None:
        with server.connect() as mine, server.connect() as other:
            self.open_mine(mine)
            other.handshake("/other")
            other.send_frame(TEXT, b"send")
            assert mine.read_frame() == Frame(TEXT, b"from the other")
            mine.send_frame(TEXT, b"own")
            assert mine.read_frame() == Frame(TEXT, b"own")

    def test_a_large_message_and_the_handlers_own_ones_do_not_mix(self, server: Server) -> None:
        with server.connect() as mine, server.connect() as other:
            self.open_mine(mine)
            other.handshake("/other")
            other.send_frame(TEXT, b"large")
            for _ in range(100):
                mine.send_frame(BINARY, b"own")
            frames = [mine.read_frame() for _ in range(101)]
            assert frames.count(Frame(BINARY, b"own")) == 100
            assert frames.count(Frame(BINARY, bytes(4 << 20))) == 1

    def test_two_receivers_share_what_comes(self, server: Server) -> None:
        with server.connect() as mine, server.connect() as other:
            self.open_mine(mine)
            other.handshake("/other")
            other.send_frame(TEXT, b"receive")
            # The handler of the stream gets what comes before the other one is there.
            for number in range(100_000):
                mine.send_frame(TEXT, b"%d" % number)
                answered, _, _ = select.select([mine.socket, other.socket], [], [], 30)
                if answered != [mine.socket]:
                    break
                assert mine.read_frame() == Frame(TEXT, b"%d" % number)
            assert other.read_frame() == Frame(TEXT, b"got %d" % number)
            # And what comes after it.
            mine.send_frame(TEXT, b"last")
            assert mine.read_frame() == Frame(TEXT, b"last")


class TestEnds:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems send it alone")
    def test_the_answer_to_a_close_frame_comes_with_the_end_of_the_connection(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers")
        with server.connect() as client:
            client.handshake()
            client.send_close(1000)
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe8")
            # one segment: nothing has to be waited for
            assert client.socket.recv(1, socket.MSG_DONTWAIT) == b""

    def test_the_answer_does_not_wait_for_a_handler_that_blocks(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        body = "assert request.ws_stream.receive_message() is None\nthreading.Event().wait()"
        before = "import threading\nweb_socket_concurrency = 'hub'\n"
        write_handler("blocks", handler(body, before))
        server = start_server("-w", "handlers")
        with server.connect() as client:
            client.handshake("/blocks")
            client.send_close(1000)
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe8")

    def test_an_exception_names_the_handlers_line(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        path = write_handler("fails", "request.ws_stream.receive_message()\nassert not 'reached'")
        server = start_server("-w", "handlers")
        with server.connect() as client:
            client.handshake("/fails")
            client.send_frame(TEXT, b"x")
            assert client.read_to_end() == b""
        server.log.wait_for("web_socket_transfer_data raised exception for /fails")
        server.log.wait_for(f'File "{path}", line 6, in web_socket_transfer_data')

    @pytest.mark.parametrize(
        "lines", ["import sys\nsys.exit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"]
    )
    def test_whatever_ends_a_handler_ends_no_other(
        self, start_server: StartServer, write_handler: WriteHandler, lines: str
    ) -> None:
        write_handler("echo", ECHO)
        write_handler("ends", lines)
        server = start_server("-w", "handlers")
        with server.connect() as echo:
            echo.handshake()
            for _ in range(3):
                with server.connect() as client:
                    client.handshake("/ends")
                    assert client.read_to_end() == b""
            assert "fastwsh-handler" not in thread_names(server)
            echo.send_frame(TEXT, b"x")
            assert echo.read_frame() == Frame(TEXT, b"x")

    def test_recursion_without_end_is_an_exception(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        write_handler("deep", "def call(n):\n    return call(n + 1)\ncall(0)")
        server = start_server("-w", "handlers")
        with server.connect() as echo, server.connect() as client:
            echo.handshake()
            client.handshake("/deep")
            assert client.read_to_end() == b""
            server.log.wait_for("RecursionError")
            echo.send_frame(TEXT, b"x")
            assert echo.read_frame() == Frame(TEXT, b"x")

    def test_every_connection_has_context_variables_of_its_own(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        before = "import contextvars\nname = contextvars.ContextVar('name', default='nobody')\n"
        lines = (
            "request.ws_stream.send_message(name.get())\n"
            "name.set(request.ws_stream.receive_message())\n"
            "request.ws_stream.receive_message()\n"
            "request.ws_stream.send_message(name.get())\n"
        )
        write_handler("names", handler(lines, before))
        server = start_server("-w", "handlers")
        # The second round comes after the first: whatever runs it has run something before.
        for _ in range(2):
            with server.connect() as first, server.connect() as second:
                for client, name in ((first, b"one"), (second, b"two")):
                    client.handshake("/names")
                    assert client.read_frame() == Frame(TEXT, b"nobody")
                    client.send_frame(TEXT, name)
                for client, name in ((first, b"one"), (second, b"two")):
                    client.send_frame(TEXT, b"")
                    assert client.read_frame() == Frame(TEXT, name)
                    assert client.read_frame().opcode == CLOSE
                    client.send_close()
                    assert client.read_to_end() == b""
            assert "fastwsh-handler" not in thread_names(server)

    def test_stopping_tells_every_client(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers")
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(20)]
            for client in clients:
                client.handshake()
            server.send_signal(signal.SIGTERM)
            for client in clients:
                assert client.read_frame().close_code == 1001
                client.send_close(1001)
                assert client.read_to_end() == b""
            assert server.wait() == 0


def test_raw_reads_and_frames_share_the_input(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    lines = (
        "stream = request.ws_stream\n"
        "stream.send_message(stream.receive_bytes(3).decode())\n"
        "stream.send_message(stream.receive_message())\n"
        "opcode, payload, *_ = stream._receive_frame()\n"
        "stream.send_message(payload.decode())\n"
        "stream.send_message(stream.receive_bytes(2).decode())\n"
    )
    write_handler("raw", lines)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/raw")
        for byte in b"abc":
            client.send(bytes([byte]))
        assert client.read_frame() == Frame(TEXT, b"abc")
        client.send(b"\x81\x85\0\0\0\0he")
        client.send(b"llo")
        assert client.read_frame() == Frame(TEXT, b"hello")
        client.send_frame(PING, b"seen raw")
        assert client.read_frame() == Frame(TEXT, b"seen raw")
        client.send(b"xy")
        assert client.read_frame() == Frame(TEXT, b"xy")
        assert "fastwsh-handler" not in thread_names(server)


@pytest.mark.parametrize(
    "receiving", ["request.ws_stream.receive_message()", "request.ws_stream.receive_bytes(40_000)"]
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_half_a_large_message_over_tls_holds_nobody_up(
    start_server: StartServer,
    write_handler: WriteHandler,
    tls_pair: tuple[Path, ssl.SSLContext],
    receiving: str,
    opcode: int,
) -> None:
    files, context = tls_pair
    write_handler("echo", ECHO)
    write_handler("large", f"request.ws_stream.send_message(str(len({receiving})))")
    server = start_server("-w", "handlers", "--ssl-certfile", files)
    with ExitStack() as stack:

        def connect(path: str) -> Client:
            plain = stack.enter_context(server.connect()).socket
            client = Client.over(
                context.wrap_socket(plain, server_hostname="localhost"), server.port
            )
            stack.enter_context(client)
            client.handshake(path)
            return client

        large, echo = connect("/large"), connect("/echo")
        frame = encode_frame(opcode, b"x" * 100_000)
        large.send(frame[:2000])
        for number in range(3):
            echo.send_frame(TEXT, b"%d" % number)
            assert echo.read_frame() == Frame(TEXT, b"%d" % number)
        large.send(frame[2000:])
        assert large.read_frame().payload in {b"100000", b"40000"}
