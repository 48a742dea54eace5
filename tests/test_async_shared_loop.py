"""Handlers that treat the shared event loop as their own: they end, nest or replace parts of it."""

import asyncio
import contextlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fastwsh
from async_support import SHARED, Serve, ask, coroutine, serve
from conftest import WriteHandler
from wire import TEXT, Client, Frame

__all__ = ["serve"]

# What ends the threads of `asyncio.to_thread` in a loop that nobody else uses.
ENDS_EXECUTOR = {
    "shutdown": "await loop.shutdown_default_executor()",
    "shutdown twice": "await loop.shutdown_default_executor()\n"
    "await loop.shutdown_default_executor()",
    "shutdown of one in use": "await asyncio.to_thread(int)\n"
    "await loop.shutdown_default_executor()",
    "own one that ends": "with ThreadPoolExecutor(1) as pool:\n"
    "    loop.set_default_executor(pool)\n    await asyncio.to_thread(int)",
    "own one and shutdown": "loop.set_default_executor(ThreadPoolExecutor(1))\n"
    "await loop.shutdown_default_executor()",
    "shutdown in a task": "await asyncio.create_task(loop.shutdown_default_executor())",
    "shutdown by a nested loop": "{nested}loop.shutdown_default_executor())",
}
NESTED = """\
from concurrent.futures import ThreadPoolExecutor

def run_nested(loop, coroutine):
    '''As nest_asyncio does it.'''
    outer, ready = asyncio.current_task(), len(loop._ready)
    asyncio.tasks._leave_task(loop, outer)
    try:
        task = loop.create_task(coroutine)
        while not task.done():
            loop._run_once()
    finally:
        asyncio.tasks._enter_task(loop, outer)
        # the loop around this takes as many as it has found
        while len(loop._ready) < ready:
            loop.call_soon(int)
    return task.result()
"""
IN_THREAD = coroutine(
    "async for message in ws:\n"
    "    await ws.send_message(await asyncio.to_thread(str.upper, message))"
)
LOOPS = pytest.mark.parametrize("kind", ["asyncio", "uvloop"])


@LOOPS
def test_no_handler_takes_the_executor_from_others(serve: Serve, kind: str) -> None:
    pytest.importorskip("asyncio" if kind == "asyncio" else "uvloop")
    ways = [way for way in ENDS_EXECUTOR.values() if kind == "asyncio" or "nested" not in way]
    handlers = {
        f"ends{number}": coroutine(
            "loop = asyncio.get_running_loop()\n"
            + way.replace("{nested}", "run_nested(loop, ")
            + "\nawait ws.send_message('ended')",
            NESTED,
        )
        for number, way in enumerate(ways)
    }
    server = serve("--event-loop", kind, thread=IN_THREAD, **handlers)
    with server.connect() as other:
        other.handshake("/thread")
        for name in handlers:
            with server.connect() as client:
                client.handshake(f"/{name}")
                assert client.read_frame() == Frame(TEXT, b"ended")
            other.send_frame(TEXT, b"a")
            assert other.read_frame() == Frame(TEXT, b"A"), name
            assert ask(server, "/thread", b"b") == [b"B"]


@LOOPS
def test_calls_in_threads_outlive_a_shutdown_of_the_executor(serve: Serve, kind: str) -> None:
    pytest.importorskip("asyncio" if kind == "asyncio" else "uvloop")
    waits = coroutine(
        "shared['go'] = threading.Event()\n"
        "waiting = asyncio.ensure_future(asyncio.to_thread(shared['go'].wait))\n"
        "await asyncio.sleep(0)\nawait ws.send_message('waits')\n"
        "await ws.send_message(str(await waiting))",
        f"import threading\n{SHARED}",
    )
    ends = coroutine(
        "loop = asyncio.get_running_loop()\n"
        "ending = asyncio.create_task(loop.shutdown_default_executor())\n"
        "await asyncio.sleep(0)\n"
        "assert await asyncio.to_thread(int) == 0 and not ending.done()\n"
        "shared['go'].set()\nawait ending\nawait ws.send_message('ended')",
        SHARED,
    )
    server = serve("--event-loop", kind, waits=waits, ends=ends)
    with server.connect() as client:
        client.handshake("/waits")
        assert client.read_frame() == Frame(TEXT, b"waits")
        assert ask(server, "/ends", b"") == [b"ended"]
        assert client.read_frame() == Frame(TEXT, b"True")


@LOOPS
def test_no_handler_ends_the_generators_of_others(serve: Serve, kind: str) -> None:
    pytest.importorskip("asyncio" if kind == "asyncio" else "uvloop")
    iterates = coroutine(
        "async def count():\n    for number in range(9):\n        yield str(number)\n"
        "async for number in count():\n"
        "    await ws.send_message(number)\n    await ws.receive_message()"
    )
    ends = coroutine(
        "await asyncio.get_running_loop().shutdown_asyncgens()\nawait ws.send_message('ended')"
    )
    server = serve("--event-loop", kind, iterates=iterates, ends=ends)
    with server.connect() as client:
        client.handshake("/iterates")
        for number in range(3):
            assert client.read_frame() == Frame(TEXT, b"%d" % number)
            assert ask(server, "/ends", b"") == [b"ended"]
            client.send_frame(TEXT, b"next")
    server.log.wait_for("A handler calls shutdown_asyncgens")
    assert "was scheduled after" not in "\n".join(server.log.lines)


NESTS = coroutine(
    "loop = asyncio.get_running_loop()\n"
    "async def wait(name):\n"
    "    while not shared.pop(name, None):\n        await asyncio.sleep(0)\n"
    "async for message in ws:\n"
    "    run_nested(loop, wait(message))\n"
    "    await ws.send_message('done ' + message)",
    NESTED + SHARED,
)
SETS = coroutine(
    "async for message in ws:\n    shared[message] = 1\n    await ws.send_message(message)",
    SHARED,
)
BLOCKS = coroutine(
    "async for message in ws:\n    await ws.send_message('blocks')\n    shared['go'].wait()",
    f"import threading\n{SHARED}shared['go'] = threading.Event()\n",
)


def assert_nested_loop_resumes_others(port: int, go: object, others: int) -> None:
    """Wake one that nests a loop, and behind it, at once, those that it waits for."""
    with contextlib.ExitStack() as stack:
        blocks, nests, *sets = (stack.enter_context(Client(port)) for _ in range(2 + others))
        blocks.handshake("/blocks")
        nests.handshake("/nests")
        for client in sets:
            client.handshake("/sets")
        blocks.send_frame(TEXT, b"x")
        assert blocks.read_frame() == Frame(TEXT, b"blocks")
        nests.send_frame(TEXT, b"%d" % (others - 1))
        for number, client in enumerate(sets):
            client.send_frame(TEXT, b"%d" % number)
        go()  # type: ignore[operator]
        for number, client in enumerate(sets):
            assert client.read_frame() == Frame(TEXT, b"%d" % number)
        assert nests.read_frame() == Frame(TEXT, b"done %d" % (others - 1))


@pytest.mark.parametrize("others", [1, 2, 40])
def test_a_nested_loop_resumes_those_woken_with_its_handler(serve: Serve, others: int) -> None:
    releases = (
        f"import threading\n{SHARED}"
        "\ndef web_socket_do_extra_handshake(request):\n    pass\n\n"
        "def web_socket_transfer_data(request):\n"
        "    shared['go'].set()\n    request.ws_stream.send_message('x')\n"
    )
    server = serve(blocks=BLOCKS, nests=NESTS, sets=SETS, releases=releases)

    def go() -> None:
        assert ask(server, "/releases", b"") == [b"x"]

    assert server.port is not None
    assert_nested_loop_resumes_others(server.port, go, others)
    assert "Traceback" not in "\n".join(server.log.lines)


@pytest.mark.parametrize("others", [1, 2, 40])
def test_so_does_a_nested_loop_of_the_program(
    tmp_path: Path, write_handler: WriteHandler, others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nest_asyncio", ModuleType("nest_asyncio"))
    for name, module in (("blocks", BLOCKS), ("nests", NESTS), ("sets", SETS)):
        write_handler(name, module)

    async def run() -> None:
        async with fastwsh.serve(str(tmp_path / "handlers")) as server:
            from mod_pywebsocket import common

            shared = vars(common)["shared"]
            shared["go"].clear()
            await asyncio.to_thread(
                assert_nested_loop_resumes_others, server.port, shared["go"].set, others
            )

    asyncio.run(run())


def test_a_nested_loop_takes_new_connections(serve: Serve) -> None:
    server = serve(nests=NESTS, sets=SETS)
    with server.connect() as client:
        client.handshake("/nests")
        for text in (b"a", b"b"):
            client.send_frame(TEXT, text)
            assert ask(server, "/sets", text) == [text]
            assert client.read_frame() == Frame(TEXT, b"done " + text)
