"""Clients that read or send nothing while a server stops: it gives them up before its time ends."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cgi_support import Programs, programs
from conftest import ALL_WAYS, to_coroutine_function
from echo_handlers import ECHO_MODULE
from fastwsh.http3 import connection, endpoint
from fastwsh.testing import make_tls_files, running_server
from http2_support import Http2Client
from http3_support import Http3Client
from http_support import request_head
from streams_support import OVER_BOTH, Over, StreamClient, over
from wire import DEADLINE_SECONDS

__all__ = ["over", "programs"]  # fixtures

# more than the systems at both ends hold, and than any window
SIZE = 64 << 20

FLOOD = f"""
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.send_message(b'x' * {SIZE}, binary=True)
"""

CLIENTS = 4

# a stop that waits for the end of this time takes longer than a test may
LONG_TIME = ("--shutdown-timeout", "600")


def ask_for_websocket(client: StreamClient) -> int:
    return client.connect("/flood")


def ask_for_file(client: StreamClient) -> int:
    return ask_for(client, "/large.bin")


def ask_for_program(client: StreamClient) -> int:
    return ask_for(client, "/cgi-bin/large")


def ask_with_body(client: StreamClient) -> int:
    """Begin a request of which the rest never comes."""
    pseudo = [(":method", "POST"), (":scheme", client.scheme), (":authority", "h")]
    fields = [*pseudo, (":path", "/cgi-bin/copy"), ("content-length", "1000")]
    stream = client.open_stream(fields)
    client.send(stream, b"half")
    return stream


def ask_for(client: StreamClient, path: str) -> int:
    pseudo = [(":method", "GET"), (":scheme", client.scheme), (":authority", "h"), (":path", path)]
    return client.open_stream(pseudo, end_stream=True)


@pytest.fixture(autouse=True)
def files(programs: Programs, concurrency: str) -> None:
    flood = to_coroutine_function(FLOOD) if concurrency == "loop" else FLOOD
    (programs.root / "flood_wsh.py").write_text(flood)
    (programs.root / "echo_wsh.py").write_text(ECHO_MODULE)
    (programs.root / "large.bin").write_bytes(b"")
    with (programs.root / "large.bin").open("r+b") as large:
        large.truncate(SIZE)
    programs.add("cgi-bin/copy", "printf 'Content-Type: text/plain\\n\\n'\ncat\n")
    programs.add(
        "cgi-bin/endless",
        "printf 'Content-Type: text/plain\\n\\n'\nwhile echo x; do sleep 0.05; done\n",
    )
    programs.add(
        "cgi-bin/large",
        f"printf 'Content-Type: text/plain\\n\\n'\nhead -c {SIZE} /dev/zero\n",
    )


@OVER_BOTH
@pytest.mark.parametrize("ask", [ask_for_file, ask_for_program])
def test_pages_of_streams(programs: Programs, over: Over, ask: Callable[[StreamClient], int]):
    stop_with_stalled_streams(programs, over, ask)


@OVER_BOTH
@ALL_WAYS
def test_websockets_of_streams(programs: Programs, over: Over):
    stop_with_stalled_streams(programs, over, ask_for_websocket)


def stop_with_stalled_streams(
    programs: Programs, over: Over, ask: Callable[[StreamClient], int]
) -> None:
    server = programs.serve(*over.options, *LONG_TIME)
    with contextlib.ExitStack() as stack:
        for _ in range(CLIENTS):
            kind = Http2Client if over.version == "HTTP/2" else Http3Client
            client: StreamClient = stack.enter_context(kind(server, opens_window=False))
            state = client.streams[ask(client)]
            client.wait(lambda state=state: state.data)
        server.process.terminate()
        assert server.wait() == 0


@OVER_BOTH
@pytest.mark.parametrize("path", ["/large.bin", "/cgi-bin/large"])
def test_pages_of_http1(programs: Programs, over: Over, path: str):
    server = programs.serve(*over.options, *LONG_TIME)
    with over.connect_old(server) as client:
        client.send(request_head(path))
        assert client.read_response().status == 200
        server.process.terminate()
        assert server.wait() == 0


@OVER_BOTH
@ALL_WAYS
def test_websockets_of_http1(programs: Programs, over: Over):
    server = programs.serve(*over.options, *LONG_TIME)
    with over.connect_old(server) as client:
        client.handshake("/flood")
        assert client.read(1) == b"\x82"
        server.process.terminate()
        assert server.wait() == 0


@OVER_BOTH
def test_half_a_body_of_streams(programs: Programs, over: Over):
    server = programs.serve(*over.options, *LONG_TIME)
    with over.connect(server) as client:
        stream = ask_with_body(client)
        client.wait_headers(stream)
        server.process.terminate()
        assert server.wait() == 0


@OVER_BOTH
def test_half_a_body_of_http1(programs: Programs, over: Over):
    server = programs.serve(*over.options, *LONG_TIME)
    with over.connect_old(server) as client:
        client.send(request_head("/cgi-bin/copy", "POST", ("Content-Length: 1000",)) + b"half")
        assert client.read_response().status == 200
        server.process.terminate()
        assert server.wait() == 0


@pytest.mark.parametrize("ask", [ask_for_websocket, ask_for_file, ask_for_program])
def test_streams_of_a_client_that_sends_pings(
    programs: Programs, ask: Callable[[StreamClient], int]
):
    server = programs.serve("--http2", *LONG_TIME)
    with Http2Client(server, opens_window=False) as client:
        state = client.streams[ask(client)]
        client.wait(lambda: state.data)
        server.process.terminate()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not client.is_closed and time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError):
                client.h2.ping(bytes(8))
                client.flush()
            read_for(client, 0.5)
        assert client.is_closed
        assert server.wait() == 0


def read_for(client: Http2Client, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not client.is_closed and (left := until - time.monotonic()) > 0:
        client.take(left)


# only handlers have the time to clean up, which is longer than a test may take
NO_CLEANUP = ("--shutdown-timeout", "0.1", "--cleanup-timeout", "600")


@OVER_BOTH
def test_programs_of_streams_that_go_on(programs: Programs, over: Over):
    server = programs.serve(*over.options, *NO_CLEANUP)
    with over.connect(server) as client:
        state = client.streams[ask_for(client, "/cgi-bin/endless")]
        client.wait(lambda: state.data)
        server.process.terminate()
        assert server.wait() == 0


@OVER_BOTH
def test_programs_of_http1_that_go_on(programs: Programs, over: Over):
    server = programs.serve(*over.options, *NO_CLEANUP)
    with over.connect_old(server) as client:
        client.send(request_head("/cgi-bin/endless"))
        assert client.read_response().status == 200
        server.process.terminate()
        assert server.wait() == 0


def test_a_client_of_http3_that_falls_silent(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # longer than a test may take
    monkeypatch.setattr(endpoint, "_STOP_SECONDS", 600.0)
    monkeypatch.setattr(connection, "_REST_SECONDS", 600.0)
    tls = make_tls_files(tmp_path)
    with (
        running_server(programs.root, http3=True, tls=tls) as server,
        Http3Client(server) as client,
    ):
        client.websocket("/echo")
        stop = threading.Thread(target=server.stop, daemon=True)
        stop.start()
        stop.join(DEADLINE_SECONDS)
        assert not stop.is_alive()
