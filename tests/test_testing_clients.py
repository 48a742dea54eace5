"""The test server with clients that people test with, plain and with TLS."""

import gc
from collections.abc import Iterator

import aiohttp
import pytest
import websocket
import websockets.asyncio.client
import websockets.sync.client

from client_support import run_until_closed
from fastwsh.testing import make_tls_files, running_server
from wire import DEADLINE_SECONDS


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    """A warning of what a client leaves behind belongs to the test of this client."""
    yield
    gc.collect()


def by_websockets(url, context):
    with websockets.sync.client.connect(url, ssl=context) as client:
        client.send("hello")
        return client.recv(DEADLINE_SECONDS)


def by_websockets_asyncio(url, context):
    async def talk():
        async with websockets.asyncio.client.connect(url, ssl=context) as client:
            await client.send("hello")
            return await client.recv()

    return run_until_closed(talk())


def by_websocket_client(url, context):
    options = {"context": context} if context else None
    client = websocket.create_connection(url, timeout=DEADLINE_SECONDS, sslopt=options)
    try:
        client.send("hello")
        return client.recv()
    finally:
        client.close()


def by_aiohttp(url, context):
    async def talk():
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, ssl=context or True) as client,
        ):
            await client.send_str("hello")
            return await client.receive_str()

    return run_until_closed(talk())


CLIENTS = pytest.mark.parametrize(
    "talk", [by_websockets, by_websockets_asyncio, by_websocket_client, by_aiohttp]
)


@CLIENTS
def test_a_client_plays_its_script(talk):
    with running_server() as server:
        server.expect("hello").reply("world").expect_close()
        assert talk(server.url, None) == "world"


@CLIENTS
def test_a_client_talks_to_a_handler_with_tls(talk, tmp_path):
    with running_server(tls=make_tls_files(tmp_path)) as server:
        assert server.url.startswith("wss://")

        @server.handler("/")
        def echo(connection):
            for message in connection:
                connection.send(message)

        assert talk(server.url, server.client_ssl_context()) == "hello"


@CLIENTS
def test_a_client_meets_a_reset(talk):
    with running_server() as server:
        server.expect("hello").then(lambda connection: connection.reset())
        with pytest.raises((OSError, TypeError, websockets.ConnectionClosed)):
            talk(server.url, None)


@CLIENTS
def test_a_client_meets_a_refusal(talk):
    with running_server() as server:
        server.reject(503, times=1)
        with pytest.raises(Exception, match="503"):
            talk(server.url, None)
