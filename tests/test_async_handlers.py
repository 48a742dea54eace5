"""Handlers that are coroutine functions: an event loop runs them, beside those of other kinds."""

import select
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from async_support import ECHO_ASYNC, Serve, ask, coroutine, plain, serve
from conftest import clean_environment
from echo_handlers import ECHO
from fastwsh.client import connect_sync
from hub_support import drain
from wire import BINARY, DEADLINE_SECONDS, PING, PONG, TEXT, Frame, encode_frame

__all__ = ["serve"]


class TestEcho:
    def test_text_and_binary_come_back(self, serve: Serve) -> None:
        server = serve(echo=ECHO_ASYNC)
        with server.connect() as client:
            client.handshake("/echo")
            for opcode, payload in [(TEXT, "Grüße".encode()), (BINARY, bytes(range(256)))]:
                client.send_frame(opcode, payload)
                assert client.read_frame() == Frame(opcode, payload)
            client.send_close(1000)
            assert client.read_frame().close_code == 1000
            assert client.read_to_end() == b""

    @pytest.mark.parametrize("size", [70_000, 3 << 20])
    def test_large_messages_come_back(self, serve: Serve, size: int) -> None:
        server = serve(echo=ECHO_ASYNC)
        payload = bytes(range(256)) * (size // 256)
        with server.connect() as client:
            client.handshake("/echo")
            sender = threading.Thread(target=client.send_frame, args=(BINARY, payload))
            sender.start()
            assert client.read_frame() == Frame(BINARY, payload)
            sender.join(DEADLINE_SECONDS)

    def test_a_message_in_pieces_one_byte_at_a_time(self, serve: Serve) -> None:
        server = serve(echo=ECHO_ASYNC)
        data = encode_frame(TEXT, b"Hel", fin=False) + encode_frame(PING, b"p")
        data += encode_frame(0, b"lo")
        with server.connect() as client:
            client.handshake("/echo")
            for position in range(len(data)):
                client.send(data[position : position + 1])
            assert client.read_frame() == Frame(PONG, b"p")
            assert client.read_frame() == Frame(TEXT, b"Hello")

    def test_over_tls(self, serve: Serve, tmp_path: Path) -> None:
        authority, file = trustme.CA(), tmp_path / "server.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        server = serve("--tls", "-c", str(file), "-k", str(file), echo=ECHO_ASYNC)
        url = f"wss://localhost:{server.port}/echo"
        # not a socket of ssl, which is not for two threads at once
        with connect_sync(url, ca_file=tmp_path / "ca.pem", compression=False) as client:
            for size in (10, 100_000, 3 << 20):
                payload = bytes(range(256)) * (size // 256 + 1)
                sender = threading.Thread(target=client.send, args=(payload,))
                sender.start()
                assert client.recv(DEADLINE_SECONDS) == payload
                sender.join(DEADLINE_SECONDS)

    def test_many_messages_at_once(self, serve: Serve) -> None:
        server = serve(echo=ECHO_ASYNC)
        messages = [b"%d" % number for number in range(1000)]
        assert ask(server, "/echo", *messages) == messages

    def test_all_kinds_of_handlers_in_one_folder(self, serve: Serve) -> None:
        server = serve(
            "--log-level",
            "debug",
            coroutines=ECHO_ASYNC,
            hub=ECHO,
            threads=plain(ECHO, "import threading"),
        )
        for path, place in [("coroutines", "the event loop"), ("hub", "the hub")]:
            server.log.wait_for(f"Handler of /{path} runs in {place}")
            assert ask(server, f"/{path}", b"x") == [b"x"]
        server.log.wait_for("Handler of /threads runs in threads")
        assert ask(server, "/threads", b"x") == [b"x"]

    def test_no_event_loop_without_a_coroutine_function(self, serve: Serve) -> None:
        server = serve(echo=ECHO)
        assert ask(server, "/echo", b"x") == [b"x"]
        modules = subprocess.run(
            [sys.executable, "-c", "import sys, fastwsh.server; print('asyncio' in sys.modules)"],
            env=clean_environment(),
            check=True,
            capture_output=True,
        )
        assert modules.stdout.strip() == b"False"

    def test_uvloop_runs_them_too(self, serve: Serve) -> None:
        pytest.importorskip("uvloop")
        which = coroutine("await ws.send_message(type(asyncio.get_running_loop()).__module__)")
        server = serve("--event-loop", "uvloop", echo=ECHO_ASYNC, which=which)
        assert ask(server, "/echo", b"x", b"y") == [b"x", b"y"]
        assert ask(server, "/which", b"") == [b"uvloop"]


class TestOpening:
    @pytest.mark.parametrize("opens", ["def", "async def"])
    @pytest.mark.parametrize("transfers", ["def", "async def"])
    def test_either_function_may_be_either(self, serve: Serve, opens: str, transfers: str) -> None:
        make = coroutine if transfers == "async def" else plain
        send = "ws.send_message(request.ws_protocol)"
        module = make(f"await {send}" if make is coroutine else send, "import asyncio, threading")
        wait = "await asyncio.sleep(0)" if opens == "async def" else "threading.Event().wait(0.01)"
        module = module.replace(
            "def web_socket_do_extra_handshake(request):\n    pass",
            f"{opens} web_socket_do_extra_handshake(request):\n"
            f"    {wait}\n    request.ws_protocol = request.ws_requested_protocols[-1]",
        )
        server = serve(both=module)
        with server.connect() as client:
            response = client.handshake("/both", [("Sec-WebSocket-Protocol", "a, b")])
            assert response.header("Sec-WebSocket-Protocol") == "b"
            assert client.read_frame() == Frame(TEXT, b"b")

    def test_functions_that_wait_for_each_other_do_not_hold_up_the_loop(self, serve: Serve) -> None:
        before = "import threading\nbarrier = threading.Barrier(40)\n"
        module = coroutine("await ws.send_message('in')", before).replace("pass", "barrier.wait()")
        server = serve(barrier=module)
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(40)]
            for client in clients:
                client.send_request("/barrier")
            for client in clients:
                assert client.read_response().status == 101
                assert client.read_frame() == Frame(TEXT, b"in")

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("raise handshake.HandshakeException('no', status=404)", 404),
            ("raise ValueError('no')", 403),
        ],
    )
    def test_exceptions_refuse(self, serve: Serve, line: str, status: int) -> None:
        module = coroutine("pass", "from pywebsocket3 import handshake").replace(
            "def web_socket_do_extra_handshake(request):\n    pass",
            f"async def web_socket_do_extra_handshake(request):\n    {line}",
        )
        server = serve(refuses=module)
        with server.connect() as client:
            client.send_request("/refuses")
            assert client.read_response().status == status

    def test_a_passive_hook_that_is_a_coroutine_function_is_refused(self, serve: Serve) -> None:
        hook = "async def web_socket_passive_closing_handshake(request):\n    return 1000, ''\n"
        server = serve(bad=ECHO_ASYNC + hook)
        server.log.wait_for("bad_wsh.py: web_socket_passive_closing_handshake is a coroutine")

    @pytest.mark.parametrize("make", [plain, coroutine])
    def test_a_plain_function_that_returns_a_coroutine_is_an_error(
        self, serve: Serve, make: Callable[[str, str], str]
    ) -> None:
        before = "async def work(): pass"
        server = serve(
            transfers=plain("return work()", before),
            opens=make("pass", before).replace("pass\n\n", "return work()\n\n"),
        )
        with server.connect() as client:
            client.handshake("/transfers")
            assert client.read_to_end() == b""
        server.log.wait_for("/transfers: it returned .* define the handler's function with async")
        with server.connect() as client:
            client.send_request("/opens")
            assert client.read_response().status == 403
        server.log.wait_for("/opens: it returned a coroutine of work, which is not run")


class TestErrors:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"\x81\x01x", 1002),  # not masked
            (encode_frame(TEXT, b"\xff"), 1007),
            (encode_frame(3, b""), 1002),
        ],
    )
    def test_what_breaks_the_protocol_closes_with_its_code(
        self, serve, data: bytes, code: int
    ) -> None:
        server = serve(echo=ECHO_ASYNC)
        with server.connect() as client:
            client.handshake("/echo")
            client.send(data)
            assert client.read_frame().close_code == code

    def test_an_exception_drops_the_connection_and_is_logged(self, serve: Serve) -> None:
        server = serve(raises=coroutine("raise ValueError('oh dear')"), echo=ECHO_ASYNC)
        with server.connect() as client:
            client.handshake("/raises")
            assert client.read_to_end() == b""
        server.log.wait_for("web_socket_transfer_data raised exception for /raises: oh dear")
        assert ask(server, "/echo", b"x") == [b"x"]

    @pytest.mark.parametrize("line", ["raise SystemExit", "raise KeyboardInterrupt"])
    def test_what_would_end_the_loop_ends_its_connection_alone(
        self, serve: Serve, line: str
    ) -> None:
        task = f"async def bad():\n    {line}\n"
        server = serve(
            ends=coroutine(line),
            task=coroutine("asyncio.create_task(bad())\nawait ws.receive_message()", task),
            echo=ECHO_ASYNC,
        )
        with server.connect() as witness:
            witness.handshake("/echo")
            for path in ("/ends", "/task"):
                with server.connect() as client:
                    client.handshake(path)
                    client.send_close()
                    client.read_to_end()
            witness.send_frame(TEXT, b"still here")
            assert witness.read_frame() == Frame(TEXT, b"still here")
        assert ask(server, "/echo", b"x") == [b"x"]

    def test_sending_after_our_close_frame(self, serve: Serve) -> None:
        lines = (
            "await ws.close_connection(1001, 'bye', wait_response=False)\n"
            "from pywebsocket3 import msgutil\n"
            "try:\n    await ws.send_message('late')\n"
            "except msgutil.BadOperationException:\n    print('refused', flush=True)\n"
        )
        server = serve(late=coroutine(lines))
        with server.connect() as client:
            client.handshake("/late")
            frame = client.read_frame()
            assert (frame.close_code, frame.payload[2:]) == (1001, b"bye")
        server.out.wait_for("refused")


class TestFairness:
    def test_a_handler_that_only_sends_does_not_keep_its_neighbours(self, serve: Serve) -> None:
        server = serve(
            flood=coroutine("while True:\n    await ws.send_message('x' * 100)"), echo=ECHO_ASYNC
        )
        with server.connect() as flood, server.connect() as echo:
            flood.handshake("/flood")
            reader = threading.Thread(target=drain, args=(flood,), daemon=True)
            reader.start()
            echo.handshake("/echo")
            for number in range(20):
                echo.send_frame(TEXT, b"%d" % number)
                assert echo.read_frame() == Frame(TEXT, b"%d" % number)
            flood.socket.shutdown(2)
            reader.join(DEADLINE_SECONDS)

    def test_a_client_that_reads_nothing_holds_back_its_own_handler_alone(
        self, serve: Serve
    ) -> None:
        large = "while True:\n    await ws.send_message(bytes(1 << 20))"
        server = serve(large=coroutine(large), echo=ECHO_ASYNC)
        with server.connect() as slow, server.connect() as echo:
            slow.handshake("/large")
            assert slow.read_frame() == Frame(BINARY, bytes(1 << 20))
            echo.handshake("/echo")
            for number in range(20):
                echo.send_frame(TEXT, b"%d" % number)
                assert echo.read_frame() == Frame(TEXT, b"%d" % number)
            # what was held back comes whole
            for _ in range(20):
                assert slow.read_frame() == Frame(BINARY, bytes(1 << 20))

    def test_pings_of_a_client_that_takes_no_pongs_are_not_hoarded(self, serve: Serve) -> None:
        server = serve(echo=ECHO_ASYNC)
        ping = encode_frame(PING, bytes(125))
        with server.connect() as client:
            client.handshake("/echo")
            # the server stops reading when its pongs are not taken
            client.socket.setblocking(False)
            sent = 0
            while select.select([], [client.socket], [], 0.5)[1] and sent < 100 << 20:
                sent += client.socket.send(ping * 100)
            assert sent < 100 << 20
            assert ask(server, "/echo", b"x") == [b"x"]


def test_uvloop_that_is_not_installed_ends_the_start(tmp_path: Path) -> None:
    # found before the real one, if there is one
    (tmp_path / "uvloop.py").write_text("raise ImportError('none here')")
    run = subprocess.run(
        [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "--event-loop", "uvloop"],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert run.returncode == 1
    assert run.stderr.count("--event-loop uvloop needs uvloop (none here); pip install uvloop") == 1
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "opens",
    [
        "name.set('set')",  # waits for nothing, and is called where the handler runs
        "time.sleep(0)\n    name.set('set')",  # may block
        "token = name.set('other')\n    name.reset(token)\n    name.set('set')\n    time.sleep(0)",
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_context_variables_of_the_extra_handshake_are_those_of_the_transfer(
    serve: Serve, kind: str, opens: str
) -> None:
    module = (
        "import contextvars, time\n"
        "name = contextvars.ContextVar('name', default='none')\n"
        f"{kind} web_socket_do_extra_handshake(request):\n    {opens}\n"
        "async def web_socket_transfer_data(request):\n"
        "    before = name.get()\n    name.set('changed')\n"
        "    await request.ws_stream.send_message(before)\n"
    )
    server = serve(context=module)
    for _ in range(2):
        with server.connect() as client:
            client.handshake("/context")
            assert client.read_frame() == Frame(TEXT, b"set")
