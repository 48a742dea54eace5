"""Coroutine functions as handlers of the test server."""

import asyncio
import gc
import logging

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from async_support import ECHO_ASYNC
from fastwsh.testing import CheckError, Disconnected, WaitTimeoutError, WsServer, running_server
from usage import own_descriptors, wait_for_own_descriptors
from wire import DEADLINE_SECONDS, Client


async def echo(connection):
    async for message in connection:
        await connection.send(message)


def test_a_coroutine_function_serves_a_path():
    with running_server() as server:
        server.handler("/")(echo)
        with connect(server.url) as client:
            for message in ("text", b"binary"):
                client.send(message)
                assert client.recv(DEADLINE_SECONDS) == message
        assert server.received == ["text", b"binary"]
        assert server.wait_for_connection().sent == ["text", b"binary"]


def run_in_asyncio(test):
    asyncio.run(test())


def run_in_trio(test):
    pytest.importorskip("trio").run(test)


BOTH_LOOPS = pytest.mark.parametrize("run", [run_in_asyncio, run_in_trio])


@BOTH_LOOPS
def test_running_server_is_a_context_of_coroutines(run):
    async def right():
        async with running_server() as server:
            server.reply("hello")
            with Client(server.port) as client:
                client.handshake("/")
                await server.aio.wait_for_connection()
                assert client.read_frame().payload == b"hello"

    async def wrong():
        async with running_server() as server:
            server.expect("never")
            with Client(server.port) as client:
                client.handshake("/")

    run(right)
    with pytest.raises(CheckError, match="expected 'never'"):
        run(wrong)


@BOTH_LOOPS
def test_running_server_says_how_coroutines_use_it(run):
    async def test():
        with running_server():
            pass

    with pytest.raises(RuntimeError, match=r"write `async with running_server\(\)` there"):
        run(test)


def test_receiving_has_a_timeout_and_loses_nothing():
    with running_server() as server:

        @server.handler("/")
        async def patient(connection):
            with pytest.raises(WaitTimeoutError):
                await connection.recv(timeout=0.01)
            await connection.send("now")
            await connection.send(await connection.recv())
            with pytest.raises(Disconnected):
                await connection.recv()

        with connect(server.url) as client:
            assert client.recv(DEADLINE_SECONDS) == "now"
            client.send("hello")
            assert client.recv(DEADLINE_SECONDS) == "hello"


async def wait_in_vain(connection):
    with pytest.raises(WaitTimeoutError):
        await connection.recv(timeout=0.01)


async def ping(connection):
    await connection.ping()


@pytest.mark.parametrize("handler", [wait_in_vain, ping])
def test_a_handler_may_end_while_it_receives(handler, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with running_server() as server:
        server.handler("/")(handler)
        with connect(server.url) as client, pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    # asyncio tells of a task when it is freed
    del server
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_an_exception_is_told_with_its_place():
    server = WsServer()
    with server:

        @server.handler("/")
        async def wrong(connection):
            await asyncio.sleep(0)
            raise LookupError("no")

        with connect(server.url) as client, pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    with pytest.raises(CheckError, match="the handler of / raised LookupError: no"):
        server.check()


def test_faults_are_to_be_awaited():
    with running_server() as server:

        @server.handler("/")
        async def faults(connection):
            await connection.stall(0.01)
            await connection.send_raw(b"raw")
            await connection.send_frame(9, b"p")
            await connection.reset()

        with Client(server.port) as client:
            client.handshake("/")
            assert client.read(3) == b"raw"


def test_sends_that_trickle_do_not_hold_up_others():
    with running_server() as server:

        @server.handler("/slow")
        async def slow(connection):
            connection.throttle(100)
            await connection.send("x" * 10_000)

        server.handler("/")(echo)
        slow_url = server.url_for("/slow")
        with connect(slow_url, close_timeout=0), connect(server.url) as client:
            client.send("quick")
            assert client.recv(DEADLINE_SECONDS) == "quick"
        server.clear()


def test_faults_of_the_handshake_do_not_hold_up_others():
    with running_server() as server:
        server.handler("/hangs")(echo)
        server.handler("/")(echo)
        server.hang(path="/hangs")
        with Client(server.port) as waiting:
            waiting.send_request("/hangs")
            with connect(server.url) as client:
                client.send("quick")
                assert client.recv(DEADLINE_SECONDS) == "quick"


def test_coroutine_functions_of_files_are_recorded(tmp_path):
    (tmp_path / "echo_wsh.py").write_text(ECHO_ASYNC)
    with running_server(handlers=tmp_path) as server:
        with connect(server.url_for("/echo")) as client:
            client.send("x")
            assert client.recv(DEADLINE_SECONDS) == "x"
        assert server.wait_for_message("x") == "x"
        assert server.wait_for_connection().sent == ["x"]


def test_nothing_is_left_of_ended_servers():
    def serve() -> None:
        with running_server() as server:
            server.handler("/")(echo)
            with connect(server.url) as client:
                client.send("x")
                assert client.recv(DEADLINE_SECONDS) == "x"

    before = own_descriptors()
    for _ in range(5):
        serve()
    wait_for_own_descriptors(before)
