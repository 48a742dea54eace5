"""A stream that ends while something on it is unread, over HTTP/2 and HTTP/3.

The rules are those of a connection of HTTP/1.1: a coroutine handler is cancelled if nobody is left
for it, and runs on if it was told, or if there is a message for it.
"""

import pytest

from async_support import Serve, coroutine, serve
from http2_support import Http2Client
from stream_tunnel import Tunnel
from streams_support import OVER_BOTH, Over, over
from wire import PING, TEXT, Frame, encode_frame

__all__ = ["over", "serve"]  # the fixture

MESSAGE = encode_frame(TEXT, b"last words")

WAITS = "await ws.send_message('ready')\nawait asyncio.Event().wait()"

CANCELLED = "Handler of /waits was cancelled: its client has gone"


def ready(websocket: Tunnel) -> Tunnel:
    assert websocket.read_frame() == Frame(TEXT, b"ready")
    return websocket


@OVER_BOTH
@pytest.mark.parametrize("ends", [False, True], ids=["open", "ended"])
@pytest.mark.parametrize(
    "unread",
    [b"", MESSAGE, MESSAGE[:4], encode_frame(PING, b"x") + MESSAGE * 50],
    ids=["nothing", "a message", "half of one", "a ping and messages"],
)
def test_a_reset_cancels_whatever_is_unread(serve: Serve, over: Over, unread: bytes, ends: bool):
    server = serve(*over.options, waits=coroutine(WAITS))
    with over.connect(server) as client:
        websocket = ready(client.websocket("/waits"))
        websocket.send(unread, end=ends)
        if over.version == "HTTP/2" or not ends:
            websocket.reset()
        else:
            # in QUIC only our direction is left to be refused (RFC 9000 3.5)
            client.quic.stop_stream(websocket.stream, 0x10C)
            client.flush()
        server.log.wait_for(CANCELLED)


@OVER_BOTH
def test_a_handler_that_was_told_runs_on(serve: Serve, over: Over):
    lines = (
        "await ws.send_message('ready')\n"
        "try:\n    async for _ in ws:\n        pass\n"
        "finally:\n    await asyncio.sleep(0.05)\n    await asyncio.sleep(0.05)\n"
        "    print('saved', flush=True)"
    )
    server = serve(*over.options, saves=coroutine(lines))
    with over.connect(server) as client:
        websocket = ready(client.websocket("/saves"))
        websocket.send(MESSAGE)
        websocket.reset()
        server.out.wait_for("saved")
    assert "cancelled" not in "\n".join(server.log.lines)


def test_the_end_of_the_connection_leaves_a_message_to_be_received(serve: Serve):
    lines = "await ws.send_message('ready')\nfor _ in range(30):\n    await asyncio.sleep(0.01)\n"
    lines += "print(await ws.receive_message(), flush=True)"
    server = serve("--http2", late=coroutine(lines))
    with Http2Client(server) as client:
        ready(client.websocket("/late")).send(MESSAGE)
    server.out.wait_for("last words")


def test_a_reset_of_the_connection_cancels(serve: Serve):
    server = serve("--http2", waits=coroutine(WAITS))
    with Http2Client(server) as client:
        ready(client.websocket("/waits")).send(MESSAGE)
        client.break_off()
        server.log.wait_for(CANCELLED)
