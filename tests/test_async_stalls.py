"""A handler that blocks the event loop is named in the log, with its line."""

import re

import pytest

from async_support import ECHO_ASYNC, Serve, ask, coroutine, serve
from wire import CLOSE, TEXT, Frame

__all__ = ["serve"]

BLOCKS = r"Handler of (?P<who>\S+) blocks the event loop: it has kept others waiting for \d+ ms "
BLOCKS += r"at (?P<file>\S+):(?P<line>\d+)(?P<below>.*?); use what can be awaited"

# Blocks until the log tells of it, however long that takes.
UNTIL_TOLD = """\
import logging, threading, time, urllib.parse
told = threading.Event()
class Told(logging.Handler):
    def emit(self, record):
        if 'blocks the event loop' in record.getMessage():
            told.set()
logging.getLogger('fastwsh.server').addHandler(Told())
def block():
    assert told.wait(60)  # here
def spin():
    while not told.is_set():  # here
        pass  # here
"""

WAYS = {
    "after a message": "await ws.receive_message()\nblock()",
    "after a timer": "await ws.receive_message()\nawait asyncio.sleep(0.2)\nblock()",
    "before a message": "block()\nawait ws.receive_message()",
    "by computing": "await ws.receive_message()\nspin()",
    "in a task of its own": "await ws.receive_message()\n"
    "async def work():\n    await asyncio.sleep(0)\n    block()\n"
    "await asyncio.create_task(work())",
    "in a thing of the loop": "await ws.receive_message()\nqueue = asyncio.Queue()\n"
    "asyncio.get_running_loop().call_later(0.01, queue.put_nowait, 1)\n"
    "await queue.get()\nblock()",
}


def is_told(match: re.Match[str], handler: str, name: str) -> None:
    path = match["file"]
    assert path.endswith(f"{name}_wsh.py")
    assert "# here" in handler.splitlines()[int(match["line"]) - 1]


@pytest.mark.parametrize("way", WAYS)
def test_the_handler_and_its_line_are_named(serve: Serve, way: str) -> None:
    handler = coroutine(f"{WAYS[way]}\nawait ws.send_message('done')", UNTIL_TOLD)
    server = serve(blocks=handler)
    with server.connect() as client:
        client.handshake("/blocks?x=1")
        client.send_frame(TEXT, b"x")
        match = server.log.wait_for(BLOCKS)
        assert client.read_frame() == Frame(TEXT, b"done")
    is_told(match, handler, "blocks")
    assert match["who"].endswith(("/blocks?x=1", "blocks_wsh.py"))


def test_uvloop_is_watched_too(serve: Serve) -> None:
    pytest.importorskip("uvloop")
    handler = coroutine(f"{WAYS['after a message']}\nawait ws.send_message('done')", UNTIL_TOLD)
    server = serve("--event-loop", "uvloop", blocks=handler)
    with server.connect() as client:
        client.handshake("/blocks")
        client.send_frame(TEXT, b"x")
        match = server.log.wait_for(BLOCKS)
        assert client.read_frame() == Frame(TEXT, b"done")
    is_told(match, handler, "blocks")


def test_what_it_calls_is_named_as_well(serve: Serve) -> None:
    server = serve(blocks=coroutine("block()\nawait ws.send_message('done')", UNTIL_TOLD))
    with server.connect() as client:
        client.handshake("/blocks")
        match = server.log.wait_for(BLOCKS)
        assert client.read_frame() == Frame(TEXT, b"done")
    assert re.search(r"\(in wait, .*threading\.py:\d+\)", match["below"])


def test_each_place_is_told_of_once(serve: Serve) -> None:
    lines = "async for _ in ws:\n    time.sleep(0.4)\n    await ws.send_message('done')"
    server = serve(blocks=coroutine(lines, "import time\n"))
    ask(server, "/blocks", b"x", b"x", b"x")
    assert "\n".join(server.log.lines).count("blocks the event loop") == 1


def test_many_handlers_that_do_not_block_are_none(serve: Serve) -> None:
    """Neither a loop that is at rest nor one that has much to do."""
    server = serve(echo=ECHO_ASYNC, waits=coroutine("await asyncio.sleep(0.5)"))
    with server.connect() as waiting:
        waiting.handshake("/waits")
        ask(server, "/echo", *[b"x" * 100] * 300)
        assert waiting.read_frame().opcode == CLOSE
    assert "blocks the event loop" not in "\n".join(server.log.lines)
