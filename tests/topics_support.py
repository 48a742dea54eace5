"""Handlers that subscribe to one topic and publish to it."""

import json

import pytest

from conftest import WriteHandler
from wire import TEXT, Client, Frame

__all__ = ["number_of", "publish", "topic_handlers"]

WAITS = """\
from fastwsh import topics
def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "a")
def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        pass
"""

PUBLISHES = """\
import json
import threading
from fastwsh import topics
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    while (text := request.ws_stream.receive_message()) is not None:
        threads, first, end, size = json.loads(text)
        def publish(thread):
            for number in range(first, end):
                topics.publish("a", f"{thread} {number} " + "x" * size)
        own = [threading.Thread(target=publish, args=(thread,)) for thread in range(threads)]
        for thread in own:
            thread.start()
        for thread in own:
            thread.join()
        request.ws_stream.send_message("done")
"""


@pytest.fixture
def topic_handlers(write_handler: WriteHandler) -> None:
    """Serve /waits and /publishes."""
    write_handler("waits", WAITS)
    write_handler("publishes", PUBLISHES)


def publish(publisher: Client, threads: int, numbers: range, size: int = 0) -> None:
    """Publish each number by the handler of /publishes in each of its threads.

    `size` is how many bytes follow the number.
    """
    what = [threads, numbers.start, numbers.stop, size]
    publisher.send_frame(TEXT, json.dumps(what).encode())
    assert publisher.read_frame() == Frame(TEXT, b"done")


def number_of(frame: Frame) -> int:
    """The number in a message that `publish` caused."""
    return int(frame.payload.split()[1])
