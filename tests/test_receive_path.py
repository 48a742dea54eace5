"""The receive path over a real socket: sizes and cuts around its buffers."""

import itertools
from pathlib import Path

import pytest
from websockets.sync.client import connect

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from wire import Client, encode_frame

pytestmark = ALL_WAYS

ECHO = """
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler, handler_root: Path) -> Server:
    write_handler("echo", ECHO)
    return start_server("-w", handler_root)


@pytest.mark.parametrize("size", [1, 125, 1023, 1024, 1300, 4096, 16 * 1024, 70_000, 300_000])
def test_fragments_of_every_size_make_one_message(server: Server, size: int) -> None:
    with connect(server.url("/echo"), compression=None, max_size=None, proxy=None) as client:
        for count in (2, 3, 50):
            pieces = [bytes([65 + index % 26]) * size for index in range(count)]
            client.send(iter(pieces))
            assert client.recv(timeout=30) == b"".join(pieces)


@pytest.mark.parametrize("gap", [0, 1, 2, 7, 1000, 5000])
def test_what_follows_a_large_payload_in_the_same_segment_is_not_lost(
    server: Server, gap: int
) -> None:
    """The rest of a payload is read straight into the message, and more than it may come."""
    large = b"L" * 20_000
    with server.connect() as client:
        client.handshake("/echo")
        first = encode_frame(0x2, large, fin=False)
        rest = encode_frame(0x0, b"", fin=False) + encode_frame(0x0, b"end")
        rest += encode_frame(0x1, b"x")
        cut = len(first) - gap
        client.send(first[:cut])
        client.send(first[cut:] + rest)
        assert _payload(client) == large + b"end"
        assert _payload(client) == b"x"


def test_every_cut_of_two_messages_gives_the_same_two_messages(server: Server) -> None:
    stream = encode_frame(0x1, b"Hello") + encode_frame(0x2, b"y" * 2000)
    cuts = itertools.chain(range(1, 30), range(1000, len(stream), 211))
    with server.connect() as client:
        client.handshake("/echo")
        for cut in cuts:
            client.send(stream[:cut])
            client.send(stream[cut:])
            assert _payload(client) == b"Hello"
            assert _payload(client) == b"y" * 2000


def _payload(client: Client) -> bytes:
    return client.read_frame().payload


TWO_READERS = """
import threading


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    started = threading.Event()

    def receive():
        started.set()
        while request.ws_stream.receive_message() is not None:
            pass

    threading.Thread(target=receive, daemon=True).start()
    started.wait()
    request.ws_stream.send_message(u'ready')
"""


@pytest.mark.blocks
def test_two_threads_that_receive_on_one_stream_hold_nobody_up(
    start_server: StartServer, write_handler: WriteHandler, handler_root: Path
) -> None:
    """The handler returns while its thread receives: both wait, and others go on."""
    write_handler("echo", ECHO)
    write_handler("two", TWO_READERS)
    server = start_server("-w", handler_root)
    with server.connect() as waiting:
        waiting.handshake("/two")
        assert waiting.read_frame().payload == b"ready"
        assert waiting.read_frame().close_code == 1000
        with connect(server.url("/echo"), proxy=None) as other:
            other.send("alive")
            assert other.recv(timeout=20) == "alive"
        # whichever thread takes our answer, TCP is closed
        waiting.send_close(1000)
        assert waiting.read_to_end() == b""
