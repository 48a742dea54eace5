"""The event loop goes on with what it has to do, however the coroutines of connections wait."""

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from async_support import SHARED, Serve, ask, coroutine, serve
from fastwsh import _core
from fastwsh.aio import selector as selector_module
from wire import TEXT, Frame

__all__ = ["serve"]

# Each of these has its turn only if the event loop gets to know of it while it waits for sockets.
NEWS = {
    "a timer": "done = loop.create_future()\nloop.call_later(0.01, done.set_result, 'new')\n"
    "return await done",
    "a timer before the next one": "later = loop.call_later(3600, print)\n"
    "await asyncio.sleep(0.01)\nlater.cancel()\nreturn 'new'",
    "a timer in the past": "done = loop.create_future()\n"
    "loop.call_at(loop.time() - 1, done.set_result, 'new')\nreturn await done",
    "a callback": "done = loop.create_future()\nloop.call_soon(done.set_result, 'new')\n"
    "return await done",
    "a task": "async def new():\n    return 'new'\nreturn await asyncio.create_task(new())",
    "a thread": "return await asyncio.to_thread(lambda: 'new')",
    "a callback of a thread": "done = loop.create_future()\n"
    "threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set_result, 'new')).start()\n"
    "return await done",
    "another connection": "queue = queues.setdefault('q', asyncio.Queue())\n"
    "queue.put_nowait('new')\nreturn await queue.get()",
    "a subprocess": "import sys\nprocess = await asyncio.create_subprocess_exec(\n"
    "    sys.executable, '-c', 'print(\"new\")', stdout=asyncio.subprocess.PIPE)\n"
    "out, _ = await process.communicate()\nreturn out.decode().strip()",
    # the rest of what has come is told of again, although nothing new comes
    "a descriptor that is read in parts": "one, other = socket.socketpair()\n"
    "with one, other:\n"
    "    one.setblocking(False)\n"
    "    done, parts = loop.create_future(), []\n"
    "    def read():\n"
    "        parts.append(one.recv(1))\n"
    "        if len(parts) == 3:\n"
    "            loop.remove_reader(one)\n"
    "            done.set_result(b''.join(parts).decode())\n"
    "    loop.add_reader(one, read)\n"
    "    other.sendall(b'new')\n"
    "    return await done",
    "a descriptor that is readable already": "one, other = socket.socketpair()\n"
    "with one, other:\n"
    "    one.setblocking(False)\n"
    "    other.sendall(b'new')\n"
    "    return (await loop.sock_recv(one, 3)).decode()",
    "a stream": "server = await asyncio.start_server(answer, '127.0.0.1', 0)\n"
    "async with server:\n"
    "    port = server.sockets[0].getsockname()[1]\n"
    "    reader, writer = await asyncio.open_connection('127.0.0.1', port)\n"
    "    text = (await reader.read()).decode()\n"
    "    writer.close()\n"
    "    await writer.wait_closed()\n"
    "return text",
}

HEAD = """\
import asyncio, socket, threading
queues = {}
async def answer(reader, writer):
    writer.write(b'new')
    await writer.drain()
    writer.close()
"""
ECHO = "async for message in ws:\n    await ws.send_message(message)"


@pytest.fixture
def ready() -> Iterator[tuple[asyncio.SelectorEventLoop, _core.EventLoop]]:
    """An event loop that waits as that of a server does."""
    with event_loop() as parts:
        yield parts


@contextmanager
def event_loop() -> Iterator[tuple[asyncio.SelectorEventLoop, _core.EventLoop]]:
    selector = selector_module.new_selector()
    loop = asyncio.SelectorEventLoop(selector)
    native = _core.EventLoop(loop)
    selector.enter(loop, native)
    try:
        yield loop, native
    finally:
        selector.leave(loop)
        native.end()
        loop.close()


@pytest.mark.parametrize("busy", [False, True], ids=["alone", "beside a busy client"])
def test_news_of_the_loop_are_not_missed(serve: Serve, busy: bool) -> None:
    handlers = {
        f"news{number}": coroutine(
            "async def news():\n    loop = asyncio.get_running_loop()\n    "
            + lines.replace("\n", "\n    ")
            + "\nasync for _ in ws:\n    await ws.send_message(await news())",
            HEAD,
        )
        for number, lines in enumerate(NEWS.values())
    }
    server = serve(echo=coroutine(ECHO), **handlers)
    with server.connect() as other:
        other.handshake("/echo")
        for number, name in enumerate(NEWS):
            with server.connect() as client:
                client.handshake(f"/news{number}")
                for _ in range(3):
                    if busy:
                        for _ in range(20):
                            other.send_frame(TEXT, b"busy")
                    client.send_frame(TEXT, b"x")
                    assert client.read_frame() == Frame(TEXT, b"new"), name
                    if busy:
                        for _ in range(20):
                            assert other.read_frame() == Frame(TEXT, b"busy")
        ask(server, "/echo", b"x")
    assert "Traceback" not in "\n".join(server.log.lines)


def test_a_loop_within_a_step_of_a_task_resumes_other_handlers(serve: Serve) -> None:
    """As nest_asyncio runs it: `select` is called while a task is current."""
    nested = coroutine(
        "loop = asyncio.get_running_loop()\n"
        "async for message in ws:\n"
        "    await ws.send_message('begins')\n"
        "    while not shared.pop(message, None):\n"
        "        loop._selector.select(0.05)\n"
        "    await ws.send_message('done')",
        SHARED,
    )
    sets = coroutine(
        "async for message in ws:\n    shared[message] = 1\n    await ws.send_message(message)",
        SHARED,
    )
    server = serve(nested=nested, sets=sets)
    with server.connect() as waiting, server.connect() as other:
        waiting.handshake("/nested")
        other.handshake("/sets")
        for text in (b"a", b"b"):
            waiting.send_frame(TEXT, text)
            assert waiting.read_frame() == Frame(TEXT, b"begins")
            other.send_frame(TEXT, text)
            assert other.read_frame() == Frame(TEXT, text)
            assert waiting.read_frame() == Frame(TEXT, b"done")
    assert "Cannot enter into task" not in "\n".join(server.log.lines)


def test_other_threads_use_the_reactor_while_the_loop_waits(serve: Serve) -> None:
    """A send of another thread to a peer that does not read must not wait for the loop."""
    handler = coroutine(
        "loop = asyncio.get_running_loop()\n"
        "def send():\n"
        "    for _ in range(50):\n"
        "        ws.blocking.send_message('x' * 100_000)\n"
        "sending = asyncio.create_task(asyncio.to_thread(send))\n"
        "await ws.receive_message()\n"
        "await sending",
        HEAD,
    )
    server = serve(sends=handler, echo=coroutine(ECHO))
    with server.connect() as client:
        client.handshake("/sends")
        ask(server, "/echo", b"x")
        for _ in range(50):
            assert len(client.read_frame().payload) == 100_000
        client.send_frame(TEXT, b"x")


def test_an_exception_does_not_end_the_loop(
    ready: tuple[asyncio.SelectorEventLoop, _core.EventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, native = ready
    told: list[str] = []
    loop.set_exception_handler(lambda _, context: told.append(context["message"]))
    loop._scheduled = None  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        native.wait(0)
    loop._scheduled = []  # type: ignore[attr-defined]
    selector = loop._selector  # type: ignore[attr-defined]

    class Broken:
        def wait(self, timeout: float | None) -> bool:
            raise OSError("no memory")

        def fileno(self) -> int:
            return native.fileno()

    monkeypatch.setattr(selector, "_native", Broken())
    assert loop.run_until_complete(asyncio.sleep(0.01, "done")) == "done"
    assert told


def test_another_asyncio_is_waited_for_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the attributes that the native part reads."""

    class Renamed(asyncio.SelectorEventLoop):
        def __getattribute__(self, name: str) -> object:
            if name == "_scheduled" and hidden:
                raise AttributeError(name)
            return super().__getattribute__(name)

    hidden = True
    selector = selector_module.new_selector()
    loop = Renamed(selector)
    native = _core.EventLoop(loop)
    selector.enter(loop, native)
    hidden = False
    try:
        assert loop.run_until_complete(asyncio.sleep(0.01, "done")) == "done"
        assert native.fileno() in {key.fd for key in selector.get_map().values()}
    finally:
        selector.leave(loop)
        assert native.fileno() not in {key.fd for key in selector.get_map().values()}
        native.end()
        loop.close()


def test_the_selector_of_this_system_is_native() -> None:
    is_native = isinstance(selector_module.new_selector(), selector_module.ReactorSelector)
    assert is_native == hasattr(selectors, "EpollSelector")
