"""Faults that a client can have, and what must be as before when it is over."""

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from conftest import Server
from usage import Usage, wait_for_usage
from wire import TEXT, Frame

# What allocators keep of what was needed at the same time: it does not grow with repetition.
MEMORY_KEPT_KIB = 16 * 1024

COLLECT = """\
import gc
gc.collect()
request.ws_stream.send_message("collected")
"""
"""A handler for `/collect`, so that no garbage waits for the interpreter's own time."""


def collect(server: Server) -> None:
    with server.connect() as client:
        client.handshake("/collect")
        assert client.read_frame() == Frame(TEXT, b"collected")
        client.send_close()
        client.read_to_end()


def assert_answers(server: Server, path: str = "/echo") -> None:
    """A good client gets its answer."""
    with server.connect() as client:
        client.handshake(path)
        client.send_frame(TEXT, b"hello")
        assert client.read_frame() == Frame(TEXT, b"hello")
        client.send_close()
        assert client.read_frame().close_code == 1000


@contextmanager
def nothing_stays(
    server: Server, memory_kib: int = MEMORY_KEPT_KIB, threads: int = 2
) -> Iterator[None]:
    """Whatever happens inside, the server then answers and holds no more than before.

    Threads that wait for further connections, and those that the server starts for its first ones,
    do not count. They end after ten seconds: a test with many connections, whose number would be
    that of the threads that were lost, need not wait for that and allows some more.
    """
    assert_answers(server)
    collect(server)
    before = Usage.of(server)
    yield
    assert_answers(server)
    collect(server)
    wait_for_usage(
        server,
        lambda usage: (
            usage.threads <= before.threads + threads
            and usage.descriptors <= before.descriptors + 1
            and usage.memory_kib <= before.memory_kib + memory_kib
        ),
    )
    assert not [line for line in server.log.lines if "panicked" in line]


@contextmanager
def flooding(client: socket.socket, pieces: Iterator[bytes], *, reads: bool) -> Iterator[None]:
    """Send pieces as fast as they are taken, and read what comes if `reads`; then shut down."""
    stop = threading.Event()

    def send() -> None:
        with suppress(OSError):
            for piece in itertools.takewhile(lambda _: not stop.is_set(), pieces):
                client.sendall(piece)

    def read() -> None:
        with suppress(OSError):
            while client.recv(1 << 20):
                pass

    threads = [threading.Thread(target=work) for work in ((send, read) if reads else (send,))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        # wakes the thread that sends
        client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
