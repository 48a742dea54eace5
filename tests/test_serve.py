"""`fastwsh.serve`: a server in the event loop of an asyncio program."""

import asyncio
import builtins
import errno
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import fastwsh
from conftest import ALL_WAYS
from fastwsh.client import connect_async
from fastwsh.config_error import ConfigError
from wire import DEADLINE_SECONDS

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request):
    request.ws_stream.send_message(request.ws_stream.receive_message())
    request.ws_stream.receive_message()
"""

WHERE = """
import asyncio, threading
{kind}def web_socket_do_extra_handshake(request): request.first = threading.get_ident()
{kind}def web_socket_transfer_data(request):
    where = f"{{request.first}} {{threading.get_ident()}} {{id(loop())}}"
    {wait}request.ws_stream.send_message(where)
def loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
"""


def run(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await function()

    asyncio.run(bounded())


@ALL_WAYS
def test_serves_and_leaves_nothing(handler_root, write_handler, concurrency):
    write_handler("a", FUNCTIONS)

    async def main() -> None:
        threads = set(threading.enumerate())
        async with fastwsh.serve(
            handler_root, concurrency=concurrency.replace("loop", "auto")
        ) as server:
            assert server.is_serving()
            assert server.sockets[0].getsockname() == ("127.0.0.1", server.port)
            async with connect_async(f"ws://127.0.0.1:{server.port}/a") as client:
                await client.send("x")
                assert await client.recv() == "x"
            assert "fastwsh_connections" in server.metrics()
        assert not server.is_serving()
        assert server.sockets == ()
        left = {thread.name for thread in set(threading.enumerate()) - threads if thread.is_alive()}
        assert not any("serve" in name or "loop" in name for name in left)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port)).close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_coroutine_functions_run_in_the_callers_loop_and_others_in_threads(
    handler_root, write_handler
):
    (handler_root / "a_wsh.py").write_text(WHERE.format(kind="async ", wait="await "))
    (handler_root / "b_wsh.py").write_text(WHERE.format(kind="", wait=""))

    async def main() -> None:
        here = str(threading.get_ident())
        async with fastwsh.serve(handler_root) as server:
            async with connect_async(f"ws://127.0.0.1:{server.port}/a") as client:
                seen = str(await client.recv()).split()
                assert seen == [here, here, str(id(asyncio.get_running_loop()))]
            async with connect_async(f"ws://127.0.0.1:{server.port}/b") as client:
                first, then, loop = str(await client.recv()).split()
                assert first == then != here
                assert loop == str(id(None))

    run(main)


def test_sync_handler_that_blocks_does_not_block_the_loop(handler_root):
    (handler_root / "a_wsh.py").write_text(
        "import threading\n"
        "def web_socket_startup(app): app.state.event = threading.Event()\n"
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        f"    request.app.state.event.wait({DEADLINE_SECONDS})\n"
        "    request.ws_stream.send_message('x')\n"
        "async def web_socket_shutdown(app): print('gone')\n"
    )
    (handler_root / "b_wsh.py").write_text(
        "async def web_socket_do_extra_handshake(request): pass\n"
        "async def web_socket_transfer_data(request): request.app.state.event.set()\n"
    )

    async def main() -> None:
        async with fastwsh.serve(handler_root) as server:
            client = await connect_async(f"ws://127.0.0.1:{server.port}/a")
            await (await connect_async(f"ws://127.0.0.1:{server.port}/b")).close()
            assert await client.recv() == "x"
            await client.close()

    run(main)


def test_is_awaited_closed_and_waited_for(handler_root, write_handler):
    write_handler("a", FUNCTIONS)

    async def main() -> None:
        server = await fastwsh.serve(handler_root / "a_wsh.py", "127.0.0.1", 0)
        serving = asyncio.create_task(server.serve_forever())
        waiting = [asyncio.create_task(server.wait_closed()) for _ in range(2)]
        async with connect_async(f"ws://127.0.0.1:{server.port}/a") as client:
            await client.send("x")
            await client.recv()
            assert not serving.done()
            server.close()
            server.close()
            with pytest.raises(fastwsh.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.code == 1001
        waiting[0].cancel()
        await waiting[1]
        await serving
        await server.wait_closed()

    run(main)


def test_cancelled_serving_closes_the_server(handler_root, write_handler, capsys):
    write_handler(
        "a",
        "import asyncio\nasync def web_socket_startup(app):\n    await asyncio.sleep(0)\n"
        "    print('up', asyncio.get_running_loop().is_running())\n"
        "async def web_socket_shutdown(app):\n    await asyncio.sleep(0)\n    print('down')\n"
        + FUNCTIONS,
    )

    async def main() -> None:
        # the client is in the same event loop, and does not answer the server's close frame
        server = await fastwsh.serve(handler_root, shutdown_timeout=0.1)
        serving = asyncio.create_task(server.serve_forever())
        async with connect_async(f"ws://127.0.0.1:{server.port}/a"):
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert not server.is_serving()

    run(main)
    assert capsys.readouterr().out.split() == ["up", "True", "down"]


@pytest.mark.parametrize("transfer", ["def", "async def"])
@pytest.mark.parametrize("statement", ["raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_exit_in_an_opening_handshake_does_not_end_the_program(
    handler_root, write_handler, transfer, statement
):
    write_handler(
        "exits",
        f"async def web_socket_do_extra_handshake(request):\n    {statement}\n"
        f"{transfer} web_socket_transfer_data(request): pass\n",
    )
    write_handler("a", FUNCTIONS)

    async def main() -> None:
        async with fastwsh.serve(handler_root) as server:
            with pytest.raises(fastwsh.ConnectError, match="instead of answering"):
                async with connect_async(f"ws://127.0.0.1:{server.port}/exits"):
                    pass
            async with connect_async(f"ws://127.0.0.1:{server.port}/a") as client:
                await client.send("x")
                assert await client.recv() == "x"

    run(main)


def test_running_handlers_are_cancelled_at_the_end(handler_root, capsys):
    (handler_root / "a_wsh.py").write_text(
        "import asyncio\n"
        "async def web_socket_do_extra_handshake(request): pass\n"
        "async def web_socket_transfer_data(request):\n"
        "    await request.ws_stream.send_message('x')\n"
        "    try:\n        await asyncio.sleep(3600)\n"
        "    finally:\n        print('cleaned up')\n"
    )

    async def main() -> None:
        async with fastwsh.serve(handler_root, shutdown_timeout=0.1) as server:
            client = await connect_async(f"ws://127.0.0.1:{server.port}/a")
            await client.recv()
        await client.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)
    assert capsys.readouterr().out == "cleaned up\n"


def test_several_servers_share_a_loop(handler_root, write_handler):
    write_handler("a", FUNCTIONS)

    async def main() -> None:
        async with fastwsh.serve(handler_root) as one, fastwsh.serve(handler_root) as two:
            assert one.port != two.port
            for server in (one, two):
                async with connect_async(f"ws://127.0.0.1:{server.port}/a") as client:
                    await client.send("x")
                    assert await client.recv() == "x"

    run(main)
    run(main)


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({"port": "9998"}, TypeError, "port='9998'; give a number"),
        ({"port": 65536}, ValueError, "port=65536"),
        ({"no_such": 1}, TypeError, "'no_such' is no option of serve"),
        ({"max_message_byte": 1}, TypeError, "did you mean max_message_bytes"),
        ({"max_message_bytes": "many"}, ValueError, "max_message_bytes='many'"),
        ({"event_loop": "uvloop"}, TypeError, "'event_loop' is no option of serve"),
        ({"log_level": "info"}, TypeError, "'log_level' .* only of the command line"),
        ({"host": 5}, TypeError, "host=5; give a name or an address"),
        ({"tls": True}, ConfigError, "needs a key"),
        ({"host": "192.0.2.1"}, OSError, os.strerror(errno.EADDRNOTAVAIL)),
    ],
)
def test_argument_that_cannot_be_used_is_named(handler_root, arguments, error, reason):
    async def main() -> None:
        with pytest.raises(error, match=reason):
            await fastwsh.serve(handler_root, **arguments)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1/0", "cannot be loaded: .*ZeroDivisionError"),
        (f"def web_socket_startup(app): 1/0{FUNCTIONS}", "web_socket_startup .*ZeroDivisionError"),
        (f"async def web_socket_startup(app): 1/0{FUNCTIONS}", "web_socket_startup .*ZeroDivision"),
    ],
)
def test_handler_that_cannot_start_is_named(handler_root, source, reason):
    (handler_root / "a_wsh.py").write_text(source)

    async def main() -> None:
        with pytest.raises(ConfigError, match=reason):
            async with fastwsh.serve(handler_root):
                pass
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)


def test_folder_that_is_missing_is_named(tmp_path):
    async def main() -> None:
        with pytest.raises(ConfigError, match="neither a folder nor a handler file"):
            await fastwsh.serve(tmp_path / "nowhere")

    run(main)


def test_start_that_is_cancelled_leaves_nothing(handler_root):
    (handler_root / "a_wsh.py").write_text(
        "import asyncio, builtins\nasync def web_socket_startup(app):\n"
        f"    builtins.has_begun.set()\n    await asyncio.sleep(0.2)\n{FUNCTIONS}"
    )

    async def main() -> None:
        builtins.has_begun = has_begun = asyncio.Event()
        starting = asyncio.create_task(fastwsh.serve(handler_root)._start())
        await has_begun.wait()
        del builtins.has_begun
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main)
