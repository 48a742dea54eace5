"""One client, whatever it sends, does not keep the others waiting.

The bounds are far above what is seen, milliseconds, and far below what it was when a handler went
on for as long as its peer sent: seconds, or for good.
"""

import contextlib
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat

import pytest

from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import flooding
from wire import BINARY, CONTINUATION, PING, PONG, TEXT, encode_frame

pytestmark = pytest.mark.parametrize("concurrency", ["hub", "loop"])

BUSY = (
    "import time\n"
    "def web_socket_do_extra_handshake(request):\n    pass\n"
    "def web_socket_transfer_data(request):\n"
    "    while request.ws_stream.receive_message() is not None:\n"
    "        end = time.perf_counter() + 0.0005\n"
    "        while time.perf_counter() < end:\n"
    "            pass\n"
)
ROUNDS = 30


@contextmanager
def flood(server: Server, path: str, pieces: Iterator[bytes], *, reads: bool) -> Iterator[None]:
    """Send pieces as fast as they are taken, and read what comes if `reads`."""
    with server.connect() as client:
        client.handshake(path)
        with flooding(client.socket, pieces, reads=reads):
            yield


def longest_echo(server: Server, rounds: int = ROUNDS) -> float:
    """Open a connection, and return how long the slowest of some echoes took, in seconds."""
    longest = 0.0
    for _ in range(3):
        started = time.monotonic()
        with server.connect() as client:
            client.handshake("/echo")
            longest = max(longest, time.monotonic() - started)
            for number in range(rounds // 3):
                started = time.monotonic()
                client.send_frame(TEXT, b"%d" % number)
                assert client.read_frame().payload == b"%d" % number
                longest = max(longest, time.monotonic() - started)
    return longest


def pieces_of(*frames: bytes) -> bytes:
    """Repeat frames up to about 64 KiB."""
    data = b"".join(frames)
    return data * max(1, 65536 // len(data))


FLOODS: dict[str, Callable[[], tuple[str, Iterator[bytes], bool]]] = {
    "pings": lambda: ("/echo", repeat(pieces_of(encode_frame(PING))), True),
    "long pings": lambda: ("/echo", repeat(pieces_of(encode_frame(PING, bytes(125)))), True),
    "pings whose pongs are not read": lambda: (
        "/echo",
        repeat(pieces_of(encode_frame(PING))),
        False,
    ),
    "pongs": lambda: ("/echo", repeat(pieces_of(encode_frame(PONG))), False),
    "empty fragments": lambda: ("/echo", fragments(), False),
    "messages that cost time": lambda: (
        "/busy",
        repeat(pieces_of(encode_frame(TEXT, b"x" * 100))),
        False,
    ),
    "one large message": lambda: ("/echo", large(), False),
    "small messages": lambda: ("/echo", repeat(pieces_of(encode_frame(TEXT, b"x"))), True),
}


def fragments() -> Iterator[bytes]:
    yield encode_frame(TEXT, b"", fin=False)
    yield from repeat(pieces_of(encode_frame(CONTINUATION, b"", fin=False)), 80)
    # not beyond the limit on fragments
    while True:
        time.sleep(0.01)
        yield b""


def large() -> Iterator[bytes]:
    # masked with zeros, which need no work
    head = b"\x82\xff" + (60_000_000).to_bytes(8) + bytes(4)
    piece = bytes(1 << 20)
    while True:
        yield head
        for _ in range(60_000_000 >> 20):
            yield piece
        yield bytes(60_000_000 & ((1 << 20) - 1))


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_holds_nobody_up(start_server: StartServer, write_handler: WriteHandler, name: str):
    write_handler("echo", ECHO)
    write_handler("busy", BUSY)
    server = start_server("-w", "handlers", log_level="info")
    path, pieces, reads = FLOODS[name]()
    with flood(server, path, pieces, reads=reads):
        assert longest_echo(server) < 1.0
    assert longest_echo(server) < 1.0
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    # no handler is moved to a thread for what a peer sends
    assert "stalls" not in server.log.text()


@pytest.mark.parametrize("receives", [True, False])
def test_a_flood_behind_which_its_client_leaves_holds_nobody_up(
    start_server: StartServer, write_handler: WriteHandler, concurrency: str, receives: bool
):
    write_handler("echo", ECHO)
    waits = "await asyncio.Event().wait()" if concurrency == "loop" else "time.sleep(3)"
    write_handler(
        "flooded",
        "import asyncio, time\n"
        "def web_socket_do_extra_handshake(request):\n    pass\n"
        "def web_socket_transfer_data(request):\n"
        "    request.ws_stream.send_message('ready')\n"
        f"    {'request.ws_stream.receive_message()' if receives else waits}\n",
    )
    server = start_server("-w", "handlers")
    for _ in range(3):
        with server.connect() as client:
            client.handshake("/flooded")
            client.read_frame()
            client.socket.setblocking(False)
            # as much as the kernel takes before its end
            with contextlib.suppress(BlockingIOError):
                while True:
                    client.socket.send(pieces_of(encode_frame(PONG)))
    assert longest_echo(server) < 1.0


def test_deflate_bombs_hold_nobody_up(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    write_handler("sink", "while request.ws_stream.receive_message() is not None: pass")
    server = start_server("-w", "handlers")
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = compressor.compress(bytes(60_000_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = encode_frame(BINARY, bomb[:-4], rsv=4)
    with server.connect() as client:
        client.handshake("/sink", [("Sec-WebSocket-Extensions", "permessage-deflate")])
        stop = threading.Event()

        def send() -> None:
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    client.socket.sendall(frame)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            assert longest_echo(server) < 1.0
        finally:
            stop.set()
            client.socket.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_answers_that_nobody_reads_stay_few(
    start_server: StartServer, write_handler: WriteHandler, concurrency: str
):
    write_handler(
        "large",
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    request.ws_stream.send_message('x' * 200_000)",
    )
    server = start_server("-w", "handlers")
    with server.connect() as first, server.connect() as client:
        first.handshake("/large")
        first.send_frame(TEXT, b"warm")
        first.read_frame()
        before = memory(server)
        client.handshake("/large")
        client.send(pieces_of(encode_frame(TEXT, b"")))
        # whoever is served after it has seen what it has done
        for _ in range(5):
            first.send_frame(TEXT, b"more")
            first.read_frame()
        assert memory(server) - before < 30_000


def memory(server: Server) -> int:
    """Return how many KiB the server has in memory."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
