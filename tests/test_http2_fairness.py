"""One client of HTTP/2 keeps neither other clients waiting nor its own other streams.

As in `test_fairness.py` the bounds are far above what is seen, milliseconds.
"""

import contextlib
import itertools
import time
import zlib

import pytest
from hyperframe.frame import (
    Frame as RawFrame,
)
from hyperframe.frame import (
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import flooding
from http2_support import Http2Client
from stream_tunnel import Tunnel
from wire import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, encode_frame

BOUND = 5.0
ROUNDS = 20

SINK = "while request.ws_stream.receive_message() is not None:\n    pass"


def bomb() -> bytes:
    """Deflate a message of 60 MB of zeros."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = compressor.compress(bytes(60_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return encode_frame(BINARY, deflated[:-4], rsv=4)


# What a client sends on one stream, over and over.
ON_A_STREAM = {
    # long ones, as this client takes longer for the answers than the server
    "pings": lambda: encode_frame(PING, bytes(125)) * 200,
    "pongs": lambda: encode_frame(PONG) * 2000,
    "fragments": lambda: (
        encode_frame(TEXT, fin=False)
        + encode_frame(CONTINUATION, fin=False) * 2000
        + encode_frame(CONTINUATION)
    ),
    "messages": lambda: encode_frame(TEXT, b"x") * 2000,
    "deflate bombs": bomb,
}

# What it sends beside its streams.
BESIDE: dict[str, RawFrame] = {
    "PING": PingFrame(0, b"12345678"),
    "PING that answers": PingFrame(0, b"12345678", flags=["ACK"]),
    "SETTINGS": SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 100}),
    "WINDOW_UPDATE": WindowUpdateFrame(0, 1),
    "PRIORITY": PriorityFrame(1, 3, 5),
}


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    write_handler("sink", SINK)
    return start_server("-w", "handlers", "--http2")


def longest(websocket: Tunnel | None, server: Server) -> float:
    """Return how long the slowest of some echoes took; without a WebSocket, over HTTP/1.1."""
    slowest = 0.0
    with contextlib.ExitStack() as stack:
        if websocket is None:
            plain = stack.enter_context(server.connect())
            plain.handshake("/echo")
        for number in range(ROUNDS):
            payload = b"%d" % number
            started = time.monotonic()
            if websocket is None:
                plain.send_frame(TEXT, payload)
                assert plain.read_frame() == Frame(TEXT, payload)
            else:
                websocket.send_frame(TEXT, payload)
                assert websocket.read_frame() == Frame(TEXT, payload)
            slowest = max(slowest, time.monotonic() - started)
    return slowest


@ALL_WAYS
@pytest.mark.parametrize("name", ON_A_STREAM)
def test_a_flood_on_a_stream_holds_up_no_other(server: Server, name: str):
    data = ON_A_STREAM[name]()
    path = "/echo" if name == "messages" else "/sink"
    with Http2Client(server) as client, Http2Client(server) as other:
        offer = [("sec-websocket-extensions", "permessage-deflate")]
        flooded = client.websocket(path, offer if name == "deflate bombs" else [])
        own, others = client.websocket("/echo"), other.websocket("/echo")
        slowest, sent = 0.0, 0
        for number in range(ROUNDS):
            # as much as the flooded stream's window has room for
            while room := min(client.h2.local_flow_control_window(flooded.stream), 16384):
                piece = data[sent : sent + room]
                client.h2.send_data(flooded.stream, piece)
                sent = (sent + len(piece)) % len(data)
            client.flush()
            payload = b"%d" % number
            started = time.monotonic()
            for websocket in (own, others):
                websocket.send_frame(TEXT, payload)
            for websocket in (own, others):
                assert websocket.read_frame() == Frame(TEXT, payload)
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < BOUND
        assert longest(None, server) < BOUND


@pytest.mark.parametrize("name", BESIDE)
def test_a_flood_beside_the_streams_holds_up_nobody(server: Server, name: str):
    data = BESIDE[name].serialize() * 1000
    with Http2Client(server) as client, Http2Client(server) as other:
        client.websocket("/sink")
        websocket = other.websocket("/echo")
        with flooding(client.socket, itertools.repeat(data), reads=True):
            assert longest(websocket, server) < BOUND
            assert longest(None, server) < BOUND


def test_handlers_that_wait_for_one_another_all_run(
    start_server: StartServer, write_handler: WriteHandler
):
    # their messages come at once, and no thread receives again before all have theirs
    write_handler(
        "meet",
        "import threading\n"
        "barrier = threading.__dict__.setdefault('meeting', threading.Barrier(16))\n"
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    barrier.wait(10)\n"
        "    request.ws_stream.send_message(message)",
    )
    server = start_server("-w", "handlers", "--http2", "--concurrency", "threads")
    with Http2Client(server) as client:
        websockets = [client.websocket("/meet") for _ in range(16)]
        for number in range(ROUNDS):
            payload = b"%d" % number
            started = time.monotonic()
            for websocket in websockets:
                client.h2.send_data(websocket.stream, encode_frame(TEXT, payload))
            client.flush()
            for websocket in websockets:
                assert websocket.read_frame() == Frame(TEXT, payload)
            assert time.monotonic() - started < BOUND
