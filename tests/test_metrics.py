"""Metrics in Prometheus' text format, and whether the server runs."""

import errno
import os
import signal
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from conftest import (
    ALL_WAYS,
    BOTH_WAYS,
    Server,
    StartServer,
    WriteHandler,
    run_fastwsh,
)
from echo_handlers import ECHO
from fastwsh import options as options_module
from fastwsh.metrics import Collector
from fastwsh.server import WebSocketServer
from metrics_support import Metrics, ask, metrics_port, parse
from usage import Usage
from wire import BINARY, CLOSE, CONTINUATION, TEXT, Client

RAISES = """\
def web_socket_do_extra_handshake(request):
    if "refuse" in request.ws_resource:
        from mod_pywebsocket import handshake
        raise handshake.HandshakeException("not you", 401)
    if "fail" in request.ws_resource:
        raise ValueError("in the handshake")

def web_socket_transfer_data(request):
    request.ws_stream.receive_message()
    raise ValueError("in the transfer")
"""

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    write_handler("raises", RAISES)
    return start_server("-w", "handlers", "--metrics-port", "0")


def close(client: Client) -> None:
    client.send_close(1000)
    assert client.read_frame().opcode == CLOSE
    assert client.read_to_end() == b""


@ALL_WAYS
class TestTraffic:
    def test_messages_and_bytes_by_direction_and_type(self, server: Server):
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake()
            for payload in ("héé".encode(), b"x" * 70_000):
                client.send_frame(TEXT, payload)
                assert client.read_frame().payload == payload
            client.send_frame(BINARY, b"\0\1", fin=False)
            client.send_frame(CONTINUATION, b"\2")
            assert client.read_frame().payload == b"\0\1\2"
            # of a connection that lives
            for direction in ("received", "sent"):
                for kind, messages, size in (("text", 2, 70_005), ("binary", 1, 3)):
                    labels = {"direction": direction, "type": kind}
                    assert metrics.value("messages_total", **labels) == messages
                    assert metrics.value("message_bytes_total", **labels) == size
            before = metrics.value("wire_bytes_total", direction="received")
            # masked frames: 5, 70000, 2 and 1 bytes
            assert before == (6 + 5) + (14 + 70_000) + (6 + 2) + (6 + 1)
            close(client)
        metrics.wait_for("closes_total", 1, code="1000", initiator="client")
        # and of one that has ended, its close frame included
        after = metrics.value("wire_bytes_total", direction="received")
        assert after == before + 8
        assert metrics.value("messages_total", direction="sent", type="text") == 2

    def test_bytes_of_messages_are_those_before_compression(self, server: Server):
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake("/echo", DEFLATE)
            client.send_frame(TEXT, b"x" * 10_000)
            assert len(client.read_frame().payload) < 200
            assert metrics.value("message_bytes_total", direction="sent", type="text") == 10_000
            sent = metrics.value("wire_bytes_total", direction="sent")
            assert sent is not None
            assert sent < 1000

    def test_connections_by_concurrency(self, server: Server, concurrency: str):
        metrics = Metrics(server)
        with server.connect() as client, server.connect() as other:
            client.handshake()
            other.handshake()
            labels = {"concurrency": concurrency, "state": "open"}
            metrics.wait_for("connections", 2, **labels)
            close(client)
            metrics.wait_for("connections", 1, **labels)
            accepted = metrics.value("connections_accepted_total")
            assert accepted == 2
            busy = metrics.value("handler_threads", state="busy")
            assert busy == (1 if concurrency == "threads" else 0)


class TestHandshakes:
    def test_by_result_and_status(self, server: Server):
        metrics = Metrics(server)
        for path, status in (
            ("/echo", 101),
            ("/raises?refuse", 401),
            ("/raises?fail", 403),
            ("/nothing", 404),
            ("/echo#fragment", 400),
        ):
            with server.connect() as client:
                client.send_request(path)
                assert client.read_response().status == status
        for status in ("401", "403", "400"):
            metrics.wait_for("handshakes_total", 1, result="refused", status=status)
        assert metrics.value("handshakes_total", result="accepted", status="101") == 1
        assert metrics.value("handshakes_total", result="no_handler", status="") == 1

    def test_one_that_was_given_up(
        self, start_server: StartServer, write_handler: WriteHandler
    ) -> None:
        write_handler(
            "drops",
            "def web_socket_do_extra_handshake(request):\n"
            "    from mod_pywebsocket import handshake\n"
            "    raise handshake.AbortedByUserException('no')\n\n"
            "def web_socket_transfer_data(request):\n    pass\n",
        )
        server = start_server("-w", "handlers", "--metrics-port", "0")
        with server.connect() as client:
            client.send_request("/drops")
            assert client.read_to_end() == b""
        Metrics(server).wait_for("handshakes_total", 1, result="unanswered", status="")

    @pytest.mark.parametrize(
        ("option", "limit"),
        [
            ("--max-connections", "max-connections"),
            ("--max-connections-per-address", "max-connections-per-address"),
        ],
    )
    def test_connections_beyond_a_limit(
        self, start_server: StartServer, write_handler: WriteHandler, option: str, limit: str
    ) -> None:
        write_handler("echo", ECHO)
        server = start_server("-w", "handlers", "--metrics-port", "0", option, "1")
        with server.connect() as client, server.connect() as other:
            client.handshake()
            assert other.read_response().status == 503
            metrics = Metrics(server)
            assert metrics.value("connections_refused_total", limit=limit) == 1
            assert metrics.value("connections_accepted_total") == 2


@ALL_WAYS
class TestEnds:
    def test_closes_by_code_and_who_began(self, server: Server):
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake()
            client.send_close(None)
            assert client.read_frame().opcode == CLOSE
        metrics.wait_for("closes_total", 1, code="1005", initiator="client")
        with server.connect() as client:
            client.handshake()
            client.send_frame(TEXT, b"\xff")
            assert client.read_frame().close_code == 1007
        metrics.wait_for("closes_total", 1, code="1007", initiator="server")
        with server.connect() as client:
            client.handshake()
            client.send_frame(CLOSE, b"\x03\xe7")
            assert client.read_frame().close_code == 1002
        metrics.wait_for("closes_total", 1, code="1002", initiator="server")

    def test_without_a_close_frame(self, server: Server):
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake()
        metrics.wait_for("closes_total", 1, code="1006", initiator="client")
        with server.connect() as client:
            client.handshake()
            client.reset()
        metrics.wait_for("closes_total", 2, code="1006", initiator="client")
        with server.connect() as client:
            client.handshake("/raises")
            client.send_frame(TEXT, b"x")
            assert client.read_to_end() == b""
            metrics.wait_for("closes_total", 1, code="1006", initiator="server")

    def test_errors_of_handlers(self, server: Server):
        metrics = Metrics(server)
        for path in ("/raises?fail", "/raises?refuse"):
            with server.connect() as client:
                client.send_request(path)
                client.read_response()
        for _ in range(2):
            with server.connect() as client:
                client.handshake("/raises")
                client.send_frame(TEXT, b"x")
                assert client.read_to_end() == b""
        metrics.wait_for("handler_errors_total", 2, handler="/raises", phase="transfer")
        metrics.wait_for("handler_errors_total", 1, handler="/raises", phase="handshake")


@ALL_WAYS
class TestClientsThatVanish:
    """They are no mistakes of a handler."""

    def test_while_it_sends(
        self, start_server: StartServer, write_handler: WriteHandler, concurrency: str
    ):
        write_handler("pushes", "while True:\n    request.ws_stream.send_message('x' * 1000)\n")
        server = start_server("-w", "handlers", "--metrics-port", "0")
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake("/pushes")
            client.reset()
        metrics.wait_for("connections", 0, concurrency=concurrency, state="open")
        metrics.wait_for("closes_total", 1, code="1006", initiator="client")
        assert not any(name == "fastwsh_handler_errors_total" for name, _ in metrics.now())

    def test_before_the_answer(
        self, start_server: StartServer, write_handler: WriteHandler, concurrency: str
    ):
        write_handler(
            "late",
            "import os, time\n"
            "def web_socket_do_extra_handshake(request):\n"
            "    while not os.path.exists('go'):\n        time.sleep(0.01)\n"
            "def web_socket_transfer_data(request):\n"
            "    request.ws_stream.send_message('x')\n",
        )
        server = start_server("-w", "handlers", "--metrics-port", "0")
        metrics = Metrics(server)
        with server.connect() as client:
            client.send_request("/late")
            metrics.wait_for("connections_accepted_total", 1)
            client.reset()
        (Path(f"/proc/{server.process.pid}/cwd") / "go").touch()
        metrics.wait_for("handshakes_total", 1, result="unanswered", status="")
        assert not any(name == "fastwsh_handler_errors_total" for name, _ in metrics.now())


@pytest.mark.parametrize("concurrency", ["hub"])
def test_slices_and_stalls_of_the_hub(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("stalls", "request.ws_stream.receive_message()\nwhile True:\n    pass")
    server = start_server("-w", "handlers", "--metrics-port", "0")
    metrics = Metrics(server)
    assert metrics.value("hub_stalls_total") is not None
    with server.connect() as client:
        client.handshake("/stalls")
        metrics.wait_for("connections", 1, concurrency="hub", state="open")
        assert (metrics.value("hub_slices_total") or 0) > 0
        client.send_frame(TEXT, b"x")
        # who asks gets an answer although a handler keeps the interpreter
        metrics.wait_for("hub_stalls_total", 1)


@BOTH_WAYS
def test_a_server_that_stops_says_so_until_its_connections_have_ended(
    server: Server,
) -> None:
    port = metrics_port(server)
    response, text = ask(port, "/healthz")
    assert (response.status, text) == (200, "ok\n")
    with server.connect() as client:
        client.handshake()
        server.send_signal(signal.SIGTERM)
        assert client.read_frame().close_code == 1001
        response, text = ask(port, "/healthz")
        assert (response.status, text) == (503, "stopping\n")
        assert ask(port, "/metrics")[0].status == 200
        client.send_close(1001)
        assert client.read_to_end() == b""
    assert server.wait() == 0


class TestPort:
    def test_answers_of_every_kind(self, server: Server):
        port = metrics_port(server)
        response, text = ask(port, "/metrics")
        assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        assert text.endswith("\n")
        response, text = ask(port, "/metrics", "HEAD")
        assert (response.status, text) == (200, "")
        response, text = ask(port, "/metrics?name=x")
        assert response.status == 200
        response, text = ask(port, "/")
        assert response.status == 404
        assert "/metrics" in text
        response, _ = ask(port, "/metrics", "POST")
        assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")

    def test_who_reads_nothing_keeps_no_place(self, server: Server):
        port = metrics_port(server)
        with ExitStack() as stack:
            for number in range(16):
                stuck = stack.enter_context(Client(port))
                # half of them in the middle of a request, half with one and more
                stuck.send(
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 99 if number % 2 else b"GET "
                )
            response, _ = ask(port, "/healthz")
            assert response.status == 200

    def test_the_names_follow_the_conventions(self, server: Server):
        _, text = ask(metrics_port(server), "/metrics")
        kinds = [line.split(" ")[2:] for line in text.splitlines() if line.startswith("# TYPE ")]
        assert len(kinds) > 15
        for name, kind in kinds:
            assert name.endswith("_total") == (kind == "counter"), name
            assert name.startswith(("fastwsh_", "process_"))
            # every one has a sentence of help
            assert f"# HELP {name} " in text

    @pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
    def test_the_process(self, server: Server):
        samples = parse(ask(metrics_port(server), "/metrics")[1])
        values = {name: value for (name, _), value in samples.items()}
        assert 1e6 < values["process_resident_memory_bytes"] < 1e9
        assert 0 < values["process_cpu_seconds_total"] < 1000
        assert values["process_threads"] >= 3
        # one more for the question
        assert abs(values["process_open_fds"] - Usage.of(server).descriptors) <= 2
        started = Path(f"/proc/{server.process.pid}").stat().st_mtime
        assert abs(values["process_start_time_seconds"] - started) < 60

    def test_it_is_another_port_than_the_handlers(self, server: Server):
        port = metrics_port(server)
        assert port != server.port
        with Client(port) as client:
            client.send_request("/echo")
            assert client.read_response().status == 404
        with server.connect() as client:
            client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.read_response().status == 404

    def test_there_is_none_unless_asked_for(self, start_server: StartServer):
        server = start_server()
        assert not any("Metrics" in line for line in server.log.lines)

    def test_one_that_is_taken(self, tmp_path: Path):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            ended = run_fastwsh("-p", "0", "--metrics-port", port, cwd=tmp_path)
        assert ended.returncode == 1
        assert ended.stderr == (
            f"fastwsh: cannot listen on 127.0.0.1:{port} ({os.strerror(errno.EADDRINUSE)}); "
            "name another place with --metrics-port and --metrics-host\n"
        )


def test_numbers_of_a_server_in_this_process(tmp_path: Path) -> None:
    """For who exports metrics of its own, with Prometheus' own package."""
    options, _ = options_module.parse_args_and_config(
        ["-H", "127.0.0.1", "-p0", "-w", str(tmp_path)]
    )
    server = WebSocketServer(options)
    registry = CollectorRegistry(auto_describe=True)
    registry.register(Collector(server))
    # who asks before it serves starts nothing
    assert generate_latest(registry) == b""
    assert server.metrics() == ""
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        with Client(server.server_port) as client:
            client.send_request("/none")
            assert client.read_response().status == 404
        text = generate_latest(registry).decode()
        assert "fastwsh_connections_accepted_total 1.0\n" in text
        assert "process_" not in text
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


def test_silent_peers_keep_no_health_check_waiting(server: Server):
    port = metrics_port(server)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert ask(port, "/healthz")[0].status == 200
