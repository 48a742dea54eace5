"""The test server in tests that are coroutines: what they await, and which loop handlers run on."""

import asyncio
import socket
import threading

import pytest
import trio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from fastwsh.testing import CheckError, WsServer, running_server
from wire import DEADLINE_SECONDS


def echo(connection):
    for message in connection:
        connection.send(message)


async def echo_async(connection):
    async for message in connection:
        await connection.send(message)


BOTH = pytest.mark.parametrize("handler", [echo, echo_async])


@BOTH
def test_everything_that_waits_can_be_awaited(handler):
    async def talk():
        async with WsServer() as server:
            server.handler("/")(handler)
            async with connect(server.url) as client:
                waiting = asyncio.create_task(server.aio.wait_for_message("b", path="/"))
                await client.send("a")
                await client.send("b")
                assert await waiting == "b"
                assert await server.aio.wait_for_messages(2) == ["a", "b"]
                connection = await server.aio.wait_for_connection()
                assert connection is server.connections[0]
                assert await connection.aio.ping() >= 0
                await connection.aio.send("c")
                assert [await client.recv() for _ in range(3)] == ["a", "b", "c"]
                await server.aio.restart()
                with pytest.raises(ConnectionClosed):
                    await client.recv()
                await connection.aio.wait_closed()
            await server.aio.refuse()
            with pytest.raises(ConnectionRefusedError):
                await connect(server.url)
            await server.aio.start()
            await server.aio.check()
            await server.aio.clear()
            assert server.received == []
            await server.aio.stop()

    asyncio.run(talk())


def test_trio_awaits_as_well():
    async def talk():
        async with WsServer() as server:
            server.reply("x")
            with trio.move_on_after(0.05) as scope:
                await server.aio.wait_for_message()
            assert scope.cancelled_caught
            with pytest.raises(RuntimeError, match="would hold up the event loop"):
                server.wait_for_message()
            await server.aio.clear()

    trio.run(talk)


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda server, _: server.wait_for_connection(), "wsserver.aio.wait_for_connection"),
        (lambda server, _: server.wait_for_message(), "wsserver.aio.wait_for_message"),
        (lambda server, _: server.wait_for_messages(1), "wsserver.aio.wait_for_messages"),
        (lambda server, _: server.stop(), "wsserver.aio.stop"),
        (lambda server, _: server.restart(), "wsserver.aio.restart"),
        (lambda server, _: server.clear(), "wsserver.aio.clear"),
        (lambda server, _: server.check(), "wsserver.aio.check"),
        (lambda _, connection: connection.close(1012), "aio.close.*or close.wait=False"),
        (lambda _, connection: connection.wait_closed(), "connection.aio.wait_closed"),
        (lambda _, connection: connection.ping(), "connection.aio.ping"),
        (lambda _, connection: connection.recv(), "a coroutine function"),
        (lambda _, connection: connection.expect_close(), "a coroutine function"),
        (lambda _, connection: connection.stall(1), "in the handler"),
    ],
)
def test_a_call_that_would_hold_the_loop_up_says_so_at_once(call, remedy):
    async def talk():
        async with WsServer() as server:
            server.handler("/")(echo)
            async with connect(server.url) as client:
                connection = await server.aio.wait_for_connection()
                with pytest.raises(RuntimeError, match=f"would hold up the event loop.*{remedy}"):
                    call(server, connection)
                await client.send("still here")
                assert await client.recv() == "still here"

    asyncio.run(talk())


def test_a_coroutine_function_as_handler_is_not_held_up_either():
    with running_server() as server:

        @server.handler("/")
        async def wait(connection):
            with pytest.raises(RuntimeError, match="would hold up the event loop"):
                server.wait_for_message()
            await connection.send("ok")

        async def talk():
            async with connect(server.url) as client:
                assert await client.recv() == "ok"

        asyncio.run(talk())


@BOTH
def test_a_connection_is_closed_from_the_test(handler):
    async def talk():
        async with WsServer() as server:
            server.handler("/")(handler)
            for waits in (True, False):
                async with connect(server.url) as client:
                    connection = await server.aio.wait_for_connection(1 + (not waits))
                    if waits:
                        await connection.aio.close(1012, "restart")
                        assert connection.close_code == 1012
                    elif handler is echo:
                        connection.close(1012, "restart", wait=False)
                    else:
                        await connection.close(1012, "restart", wait=False)
                    with pytest.raises(ConnectionClosed) as caught:
                        await client.recv()
                    assert caught.value.rcvd.code == 1012
                    await connection.aio.wait_closed()

    asyncio.run(talk())


def test_a_blocking_test_closes_a_connection():
    with running_server() as server:
        server.handler("/")(echo)
        codes = []

        async def stay():
            async with connect(server.url) as client:
                with pytest.raises(ConnectionClosed) as caught:
                    await client.recv()
                codes.append(caught.value.rcvd.code)

        client = threading.Thread(target=lambda: asyncio.run(stay()))
        client.start()
        connection = server.wait_for_connection()
        connection.close(4001)
        assert connection.close_code == 4001
        client.join(DEADLINE_SECONDS)
        assert codes == [4001]


def test_a_handler_runs_on_the_loop_of_the_test():
    async def talk():
        go = asyncio.Event()
        places = []
        async with WsServer() as server:

            @server.handler("/", loop="test", subprotocols=["v1"], headers={"X": "1"})
            async def wait(connection):
                places.append(asyncio.get_running_loop())
                await go.wait()
                await connection.send("gone")
                assert await connection.ping() >= 0
                async for message in connection:
                    await connection.send(message)
                await connection.wait_closed()

            async with connect(server.url, subprotocols=["v1"]) as client:
                go.set()
                assert await client.recv() == "gone"
                await client.send("x")
                assert await client.recv() == "x"
            assert places == [asyncio.get_running_loop()]
        server.take_errors()
        return server.received

    assert asyncio.run(talk()) == ["x"]


def test_faults_are_awaited_on_the_loop_of_the_test():
    async def talk():
        async with WsServer() as server:

            @server.handler("/", loop="test")
            async def faults(connection):
                await connection.send_frame(1, "x")
                await connection.stall(0.01)
                await connection.reset()

            async with connect(server.url) as client:
                assert await client.recv() == "x"
                with pytest.raises(ConnectionClosed):
                    await client.recv()

    asyncio.run(talk())


def test_an_error_on_the_loop_of_the_test_is_told():
    async def talk():
        server = WsServer()
        async with server:

            @server.handler("/", loop="test")
            async def wrong(connection):
                raise LookupError("no")

            async with connect(server.url) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()
        return server

    with pytest.raises(CheckError, match="raised LookupError: no"):
        asyncio.run(talk()).check()


def test_a_handler_on_the_loop_of_the_test_is_cancelled_with_its_server():
    ends = []

    async def talk():
        async with WsServer() as server:

            @server.handler("/", loop="test")
            async def wait(connection):
                await connection.send("here")
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    ends.append("cancelled")
                    raise

            async with connect(server.url) as client:
                assert await client.recv() == "here"
                await server.aio.stop()
                await server.aio.check()

    asyncio.run(talk())
    assert ends == ["cancelled"]


def test_a_loop_that_has_ended_serves_nobody():
    with running_server() as server:

        async def register():
            server.handler("/", loop="test")(echo_async)

        asyncio.run(register())

        async def talk():
            async with connect(server.url) as client:
                with pytest.raises(ConnectionClosed):
                    await client.recv()

        asyncio.run(talk())


def test_the_loop_is_one_of_two():
    with running_server() as server:
        with pytest.raises(RuntimeError, match="must be called in a coroutine"):
            server.handler("/", loop="test")
        with pytest.raises(ValueError, match=r'it is "server" or "test"'):
            server.handler("/", loop="mine")

        async def register():
            with pytest.raises(TypeError, match="coroutine function"):
                server.handler("/", loop="test")(echo)

        asyncio.run(register())


def test_a_server_that_has_just_started_refuses_at_once():
    with WsServer() as server:
        for _ in range(50):
            server.restart()
            server.refuse()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((server.host, server.port), DEADLINE_SECONDS)
