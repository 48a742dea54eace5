"""Bursts of small messages over HTTP/2: every message arrives, and the connection lasts.

`h2` has a guard against small DATA frames, which cost more memory than they carry. A page that
sends many small messages at once must not be taken for an attack.
"""

import signal
import threading
from functools import partial
from pathlib import Path

import pytest
from hyperframe.frame import DataFrame

import fastwsh
from conftest import ALL_WAYS, StartServer, WriteHandler
from http2_support import Http2Client
from wire import BINARY, TEXT, encode_frame

COUNT = 18_000
STREAMS = 8


@ALL_WAYS
def test_from_a_client_on_many_streams(start_server: StartServer, write_handler: WriteHandler):
    # as many as a stream's window has room for
    write_handler(
        "count",
        f"for _ in range({COUNT}):\n"
        "    request.ws_stream.receive_message()\n"
        "request.ws_stream.send_message('all')",
    )
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as client:
        websockets = [client.websocket("/count") for _ in range(STREAMS)]
        frame = encode_frame(BINARY, b"x")
        for websocket in websockets:
            client.socket.sendall(DataFrame(websocket.stream, frame).serialize() * COUNT)
        for websocket in websockets:
            assert websocket.read_frame().payload == b"all"


@ALL_WAYS
def test_large_messages_on_many_streams(start_server: StartServer, write_handler: WriteHandler):
    """While others wait, a stream's window is half as large; then it is as before."""
    write_handler(
        "count",
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    request.ws_stream.send_message(str(len(message)))",
    )
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as client:
        websockets = [client.websocket("/count") for _ in range(STREAMS)]
        frame = encode_frame(BINARY, bytes(300_000))
        for start in range(0, len(frame), 16384):
            for websocket in websockets:
                websocket.send(frame[start : start + 16384])
        for websocket in websockets:
            assert websocket.read_frame().payload == b"300000"
        for websocket in websockets:
            websocket.send_frame(BINARY, bytes(20_000))
            assert websocket.read_frame().payload == b"20000"
            # `h2` tells of room when it is at least half of what the peer knows of
            half = client.h2.remote_settings.initial_window_size // 2
            room = partial(client.h2.local_flow_control_window, websocket.stream)
            client.wait(lambda room=room, half=half: room() > half + 1024)


@ALL_WAYS
def test_a_handler_that_computes_holds_back_no_answer(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    """Handlers that are to run together send together, unless one of them takes its time."""
    write_handler(
        "compute",
        "import os\n"
        "request.ws_stream.send_message(request.ws_stream.receive_message())\n"
        f"while not os.path.exists({str(tmp_path / 'answered')!r}):\n    pass",
    )
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as client:
        websockets = [client.websocket("/compute") for _ in range(STREAMS)]
        frame = encode_frame(TEXT, b"x")
        together = [DataFrame(websocket.stream, frame).serialize() for websocket in websockets]
        client.socket.sendall(b"".join(together))
        client.wait(lambda: any(websocket.state.data for websocket in websockets))
        (tmp_path / "answered").touch()
        for websocket in websockets:
            assert websocket.read_frame().payload == b"x"


@ALL_WAYS
def test_from_a_server(start_server: StartServer, write_handler: WriteHandler):
    write_handler(
        "send",
        f"for number in range({COUNT}):\n    request.ws_stream.send_message(str(number))",
    )
    server = start_server("-w", "handlers", "--http2")
    url = f"ws://localhost:{server.port}/send"
    with fastwsh.connect(url, http_version=2, compression=False) as websocket:
        assert [websocket.recv() for _ in range(COUNT)] == [str(n) for n in range(COUNT)]


@pytest.mark.parametrize("version", [1, 2])
@ALL_WAYS
def test_a_server_that_stops_in_a_burst_says_so(
    start_server: StartServer, write_handler: WriteHandler, version: int
):
    write_handler("flood", "while True:\n    request.ws_stream.send_message('x' * 10)")
    server = start_server("-w", "handlers", "--http2")
    url = f"ws://localhost:{server.port}/flood"
    clients = 8
    are_flooded = threading.Barrier(clients + 1)
    codes: list[int | None] = []

    def receive() -> None:
        with fastwsh.connect(url, http_version=version, compression=False) as websocket:
            websocket.recv()
            are_flooded.wait()
            try:
                while True:
                    websocket.recv()
            except fastwsh.ConnectionClosed as closed:
                codes.append(closed.code)

    threads = [threading.Thread(target=receive) for _ in range(clients)]
    for thread in threads:
        thread.start()
    are_flooded.wait()
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert codes == [1001] * clients
