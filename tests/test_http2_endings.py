"""How the stream of a WebSocket ends for a client that is slow, and for a handler that goes on."""

from typing import Any

import h2.errors
import pytest

from conftest import Server, StartServer, WriteHandler
from http2_support import Http2Client
from stream_tunnel import Tunnel
from wire import CLOSE, TEXT, Frame

CANCEL = h2.errors.ErrorCodes.CANCEL

# What the server keeps for a client without room, so that its handler need not wait.
SIZE = 40_000
SEND = f'request.ws_stream.send_message("x" * {SIZE})\n'
LARGE = Frame(TEXT, b"x" * SIZE)

SEND_AND_CLOSE = f'{SEND}assert request.ws_stream.receive_message() is None\nLOG.warning("over")\n'

BLOCK = """\
import threading
web_socket_concurrency = "threads"
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    request.ws_stream.send_message("x" * SIZE)
    threading.Event().wait()
"""

SEND_WITHOUT_END = """\
import logging
web_socket_concurrency = "PLACE"
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    try:
        while True:
            request.ws_stream.send_message("x" * 1000)
    except Exception as exception:
        logging.getLogger("t").warning("told by %s", type(exception).__name__)
"""


@pytest.fixture
def start(start_server: StartServer, write_handler: WriteHandler) -> Any:
    write_handler("close", f'import logging\nLOG = logging.getLogger("t")\n{SEND_AND_CLOSE}')
    write_handler("fail", f'{SEND}raise RuntimeError("over")')
    write_handler("bye", "request.ws_stream.close_connection()")
    write_handler("block", BLOCK.replace("SIZE", str(SIZE)))

    def start(*args: str) -> Server:
        return start_server("-w", "handlers", "--http2", *args)

    return start


def closing(client: Http2Client, server: Server) -> Tunnel:
    """Open a WebSocket that its handler and the client end in order, if the client has room."""
    websocket = client.websocket("/close")
    websocket.send_close()
    websocket.send(b"", end=True)
    server.log.wait_for("over")
    return websocket


def make_room(websocket: Tunnel) -> None:
    """Let everything come, when the server has had time to do something else."""
    client = websocket.client
    client.ping()
    client.h2.increment_flow_control_window(2 * SIZE, websocket.stream)
    client.flush()


def test_what_was_sent_reaches_a_client_that_has_ended(start: Any):
    server = start()
    with Http2Client(server, window=0) as client:
        websocket = closing(client, server)
        make_room(websocket)
        assert websocket.read_frame() == LARGE
        assert websocket.read_frame() == Frame(CLOSE, b"\x03\xe8")
        end = websocket.wait_end()
        assert (end.has_ended, end.reset_code) == (True, None)


def test_an_exception_discards_nothing_that_was_sent(start: Any):
    server = start()
    with Http2Client(server, window=0) as client:
        websocket = client.websocket("/fail")
        server.log.wait_for("over")
        make_room(websocket)
        assert websocket.read_frame() == LARGE
        assert websocket.wait_end().reset_code == CANCEL


def test_a_client_that_takes_nothing_is_told_that_the_rest_is_missing(start: Any):
    server = start("--http-timeout", "0.3")
    with Http2Client(server, window=0) as client:
        # not NO_ERROR, which would say that the answer is complete (RFC 9113 8.1)
        assert closing(client, server).wait_end().reset_code == CANCEL


def test_a_client_that_takes_nothing_is_told_so_when_the_server_stops(start: Any):
    server = start()
    with Http2Client(server, window=0) as client:
        websocket = closing(client, server)
        server.process.terminate()
        assert websocket.wait_end().reset_code == CANCEL


@pytest.mark.parametrize("window", [None, 0])
def test_a_connection_that_is_cut_is_reset_before_its_handler_ends(start: Any, window: int | None):
    server = start("--idle-timeout=0.3", "--close-timeout=0.3", "--http-timeout=0.3")
    with Http2Client(server, window=window) as client:
        end = client.websocket("/block").wait_end()
        assert (end.has_ended, end.reset_code) == (False, CANCEL)


@pytest.mark.parametrize("place", ["threads", "hub"])
def test_a_handler_that_waits_for_room_is_told_of_the_cut(
    start: Any, write_handler: WriteHandler, place: str
):
    write_handler("endless", SEND_WITHOUT_END.replace("PLACE", place))
    server = start("--idle-timeout=0.3", "--close-timeout=0.3")
    with Http2Client(server, window=0) as client:
        client.websocket("/endless")
        server.log.wait_for("told by ConnectionLostException")


def test_what_comes_behind_the_end_does_not_keep_the_stream_open(start: Any):
    server = start()
    with Http2Client(server) as client:
        websocket = client.websocket("/bye")
        assert websocket.read_frame() == Frame(CLOSE, b"\x03\xe8")
        websocket.send_close()
        # more than the stream's window
        websocket.send(bytes(300_000), end=True)
        end = websocket.wait_end()
        assert (end.has_ended, end.reset_code) == (True, None)
