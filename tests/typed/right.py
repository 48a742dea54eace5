"""Handlers, tests and clients with annotations, as their authors write them. Checked, never run."""

from typing import Protocol, assert_type

import fastwsh
from fastwsh.client import AsyncClientConnection, ClientConnection
from fastwsh.testing import AsyncConnection, Connection, WsServer, running_server


def web_socket_startup(app: fastwsh.App) -> None:
    names: list[str] = ["ann"]
    app.state.names = names


async def web_socket_shutdown(app: fastwsh.App) -> None:
    del app.state.names


def web_socket_do_extra_handshake(request: fastwsh.Request) -> None:
    for protocol in request.ws_requested_protocols or ():
        request.ws_protocol = protocol
    request.extra_headers.append(("Set-Cookie", "seen=1"))
    assert_type(request.headers_in["Cookie"], str | None)
    assert_type(request.headers_in.get("Cookie", ""), str)
    assert_type(request.headers_in.items(), list[tuple[str, str]])
    assert_type(request.ws_origin, str | None)
    assert_type(request.ws_resource + request.uri + request.get_method(), str)
    assert_type(request.connection.read(4), bytes)
    request.connection.write(b"raw")
    assert_type(request.connection.local_addr, tuple[str, int])


def web_socket_transfer_data(request: fastwsh.Request) -> None:
    stream = request.ws_stream
    assert_type(stream, fastwsh.Stream)
    while (message := stream.receive_message()) is not None:
        assert_type(message, str | bytes)
        stream.send_message(message, binary=isinstance(message, bytes))
    stream.send_message("part", end=False)
    stream.send_ping(b"x")
    stream.close_connection(4000, "bye")
    assert_type(request.ws_close_code, int | None)
    assert_type(stream.get_last_received_opcode(), int | None)
    request.server_terminated = True


def web_socket_passive_closing_handshake(request: fastwsh.Request) -> tuple[int, str]:
    return request.ws_close_code or 1000, request.ws_close_reason or ""


async def open_async(request: fastwsh.AsyncRequest) -> None:
    request.ws_protocol = None
    request.on_ping_handler = on_ping


def on_ping(request: fastwsh.AsyncRequest, body: bytes) -> None:
    del request, body


async def transfer_async(request: fastwsh.AsyncRequest) -> None:
    async for message in request.ws_stream:
        assert_type(message, str | bytes)
        await request.ws_stream.send_message(message)
    assert_type(await request.ws_stream.receive_message(), str | bytes | None)
    await request.ws_stream.close_connection(1000)
    assert_type(request.ws_stream.blocking, fastwsh.Stream)


class NamedRequest(fastwsh.Request, Protocol):
    """A request on which the handler keeps something."""

    name: str


def transfer_named(request: NamedRequest) -> None:
    request.name = "ann"
    request.ws_stream.send_message(request.name)


class FakeStream:
    """A stream of a test, without a server."""

    def send_message(
        self, message: str | bytes | bytearray | memoryview, end: bool = True, binary: bool = False
    ) -> None: ...

    def receive_message(self) -> str | bytes | None: ...

    def close_connection(
        self, code: int | None = 1000, reason: str = "", wait_response: bool = True
    ) -> None: ...

    def send_ping(
        self, body: str | bytes | bytearray | memoryview, binary: bool = False
    ) -> None: ...

    def receive_bytes(self, length: int) -> bytes:
        return b"" * length

    def get_last_received_opcode(self) -> int | None: ...


fake: fastwsh.Stream = FakeStream()


def test_client(wsserver: WsServer) -> None:
    @wsserver.handler("/sync")
    def talk(connection: Connection) -> None:
        assert_type(connection.recv(), str | bytes)
        connection.send("hello")
        assert_type(connection.request.ws_protocol, str | None)
        greet(connection)

    @wsserver.handler("/async", subprotocols=["chat"])
    async def talk_async(connection: AsyncConnection) -> None:
        assert_type(await connection.recv(timeout=1), str | bytes)
        await connection.send(b"hello")
        async for message in connection:
            assert_type(message, str | bytes)
        await greet_async(connection)

    @wsserver.handler("/either")
    def echo(connection: fastwsh.Connection) -> None:
        for message in connection:
            connection.send(message)

    wsserver.expect("hello").reply("world")
    with fastwsh.connect(wsserver.url) as client:
        assert_type(client.recv(), str | bytes)
    assert_type(wsserver.port, int)
    talk(next(iter([])))
    del talk_async, echo


def greet(connection: fastwsh.Connection) -> str | bytes:
    connection.send("hello")
    return connection.recv(timeout=1)


async def greet_async(connection: fastwsh.AsyncConnection) -> str | bytes:
    await connection.send("hello")
    return await connection.recv(timeout=1)


def sync_client(url: str) -> None:
    with fastwsh.connect(url, subprotocols=["chat"], open_timeout=5) as client:
        client.send("x")
        greet(client)
        for message in client:
            assert_type(message, str | bytes)
    connection: ClientConnection = fastwsh.connect(url)
    try:
        connection.close(1000, "bye")
    except fastwsh.ConnectionClosed as closed:
        assert_type(closed.code, int)


async def async_client(url: str) -> None:
    async with fastwsh.connect(url) as client:
        assert_type(client, AsyncClientConnection)
        assert_type(await client.recv(), str | bytes)
        await greet_async(client)
    client = await fastwsh.connect(url)
    await client.close()


async def serve() -> None:
    async with fastwsh.serve("handlers", "127.0.0.1", 0, max_message_bytes=1000) as server:
        assert_type(server.port, int)
        await server.serve_forever()
    server = await fastwsh.serve(["a_wsh.py", "b_wsh.py"])
    server.close()
    await server.wait_closed()


def in_a_program() -> None:
    with running_server("handlers", strict_compat=True) as server:
        assert_type(server.url, str)
