"""Which handlers share the hub's thread, and what becomes of one that keeps it."""

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler
from echo_handlers import ECHO
from hub_support import handler, thread_names
from wire import TEXT, Client, Frame

pytestmark = pytest.mark.parametrize("concurrency", ["auto"])

# Shows the thread's number, which a handler of the hub could not get at.
WHERE = """\
import threading
web_socket_concurrency = "{where}"

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.send_message(str(threading.get_native_id()))
    request.ws_stream.receive_message()
"""


def native_id(client: Client, path: str) -> str:
    client.handshake(path)
    return client.read_frame().payload.decode()


class TestPlacement:
    def test_handlers_that_only_use_their_stream_share_a_thread(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers")
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(50)]
            for client in clients:
                client.handshake()
            assert "fastwsh-handler" not in " ".join(thread_names(server))
            for client in clients:
                client.send_frame(TEXT, b"x")
                assert client.read_frame() == Frame(TEXT, b"x")

    def test_a_handler_that_may_block_has_a_thread(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", f"import threading\n{ECHO}")
        server = start_server("-w", "handlers")
        with server.connect() as first, server.connect() as second:
            first.handshake()
            second.handshake()
            assert thread_names(server).count("fastwsh-handler") == 2

    def test_first_connections_that_come_at_once_run_where_later_ones_do(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        write_handler("thread", f"import threading\n{ECHO}")
        server = start_server("-w", "handlers")
        with ExitStack() as stack:
            paths = ["/echo", "/thread"] * 10
            clients = [stack.enter_context(server.connect()) for _ in paths]
            for client, path in zip(clients, paths, strict=True):
                client.send_request(path)
            for client in clients:
                assert client.read_response().status == 101
            assert thread_names(server).count("fastwsh-handler") == 10
            for client in clients:
                client.send_frame(TEXT, b"x")
                assert client.read_frame() == Frame(TEXT, b"x")

    def test_a_plain_request_before_the_first_connection_is_answered_as_after_it(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers")

        def get() -> int:
            with server.connect() as client:
                client.send(b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.read_response().status

        before = get()
        with server.connect() as client:
            client.handshake()
        assert get() == before == 400

    @pytest.mark.parametrize(("where", "same"), [("hub", True), ("threads", False)])
    def test_a_handler_says_where_it_runs(
        self, start_server: StartServer, write_handler: WriteHandler, where: str, same: bool
    ) -> None:
        write_handler("where", WHERE.format(where=where))
        server = start_server("-w", "handlers")
        with server.connect() as first, server.connect() as second:
            assert (native_id(first, "/where") == native_id(second, "/where")) is same

    @pytest.mark.parametrize("where", ["hub", "threads"])
    def test_the_operator_overrides_the_handler(
        self, start_server: StartServer, write_handler: WriteHandler, where: str
    ) -> None:
        write_handler("where", WHERE.format(where="threads" if where == "hub" else "hub"))
        server = start_server("-w", "handlers", "--concurrency", where)
        with server.connect() as first, server.connect() as second:
            same = native_id(first, "/where") == native_id(second, "/where")
            assert same is (where == "hub")

    def test_an_unknown_place_is_a_warning_and_no_handler(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("where", WHERE.format(where="fibers"))
        server = start_server("-w", "handlers")
        server.log.wait_for(r"where_wsh.py: web_socket_concurrency is 'fibers'; it must be")

    def test_without_greenlet_all_run_in_threads_and_one_line_says_so(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "greenlet.py").write_text("raise ImportError('no wheel for this platform')")
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers", env={"PYTHONPATH": str(broken)})
        with server.connect() as client:
            client.handshake()
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")
            assert "fastwsh-handler" in thread_names(server)
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log.text().count("greenlet cannot be imported (no wheel") == 1


class TestWatchdog:
    def test_a_handler_that_stalls_gets_threads_and_the_others_go_on(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("echo", ECHO)
        # The first computes until the second has said so, in steps in which other threads may run.
        lines = [
            "if request.ws_stream.receive_message() == 'enough':",
            "    enough.append(True)",
            "for n in range(10**12):",
            "    if enough:",
            "        break",
            "request.ws_stream.send_message('done')",
        ]
        write_handler("busy", handler("\n".join(lines), "enough = []\n"))
        server = start_server("-w", "handlers")
        with server.connect() as stalling, server.connect() as echo:
            stalling.handshake("/busy")
            echo.handshake()
            assert "fastwsh-handler" not in thread_names(server)
            stalling.send_frame(TEXT, b"go")
            line = server.log.wait_for(r"Handler of /busy stalls: .* for (\d+) ms; its next")
            assert int(line[1]) >= 100
            # New connections do not wait for the hub, whose thread is not free yet or again.
            with server.connect() as next_one:
                next_one.handshake("/busy")
                assert "fastwsh-handler" in thread_names(server)
                echo.send_frame(TEXT, b"still here")
                next_one.send_frame(TEXT, b"enough")
                assert next_one.read_frame() == Frame(TEXT, b"done")
            assert echo.read_frame() == Frame(TEXT, b"still here")
            assert stalling.read_frame() == Frame(TEXT, b"done")

    def test_handshakes_go_on_while_the_hub_is_blocked(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        # The second handshake ends what the first one waits for.
        both = "import threading\nweb_socket_concurrency = 'hub'\nboth = threading.Barrier(2)\n"
        module = handler("request.ws_stream.send_message('together')", both)
        write_handler("both", module.replace("    pass", "    both.wait()", 1))
        server = start_server("-w", "handlers")
        with server.connect() as first, server.connect() as second:
            first.send_request("/both")
            server.log.wait_for("Handler of /both stalls")
            second.handshake("/both")
            assert first.read_response().status == 101
            for client in (first, second):
                assert client.read_frame() == Frame(TEXT, b"together")


class TestSeveralHubs:
    def test_they_take_turns_with_connections(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("where", WHERE.format(where="hub"))
        server = start_server("-w", "handlers", "--hubs", "3")
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(12)]
            places = [native_id(client, "/where") for client in clients]
            assert {places.count(place) for place in places} == {4}
            assert thread_names(server).count("fastwsh-hub") == 3
            for client in clients:
                client.send_close(1000)
                assert client.read_frame().close_code == 1000

    def test_one_that_is_blocked_gets_no_connection(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler("where", WHERE.format(where="hub"))
        shared = "import threading\nweb_socket_concurrency = 'hub'\nboth = threading.Barrier(2)\n"
        write_handler("block", handler("both.wait()", shared))
        server = start_server("-w", "handlers", "--hubs", "2")
        with server.connect() as blocking, server.connect() as other, ExitStack() as stack:
            blocking.handshake("/block")
            server.log.wait_for("Handler of /block stalls")
            clients = [stack.enter_context(server.connect()) for _ in range(4)]
            assert len({native_id(client, "/where") for client in clients}) == 1
            assert "fastwsh-handler" not in thread_names(server)
            other.handshake("/block")
            for client in (blocking, other):
                assert client.read_frame().close_code == 1000

    def test_topics_and_the_stop_reach_all(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler(
            "room",
            "from fastwsh import topics\n"
            "web_socket_concurrency = 'hub'\n"
            "def web_socket_do_extra_handshake(request):\n"
            "    topics.subscribe(request, 'room')\n"
            "def web_socket_transfer_data(request):\n"
            "    while (text := request.ws_stream.receive_message()) is not None:\n"
            "        topics.publish('room', text)\n",
        )
        server = start_server("-w", "handlers", "--hubs", "2")
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(4)]
            for client in clients:
                client.handshake("/room")
            for number, client in enumerate(clients):
                client.send_frame(TEXT, b"%d" % number)
                for other in clients:
                    assert other.read_frame() == Frame(TEXT, b"%d" % number)
            server.send_signal(signal.SIGTERM)
            for client in clients:
                assert client.read_frame().close_code == 1001
                client.send_close(1001)
            assert server.wait() == 0
