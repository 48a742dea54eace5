"""Mistakes in handlers, tests and clients; each line that ends in "# wrong" has one. Never run."""

import fastwsh
from fastwsh.testing import AsyncConnection, Connection, WsServer


def transfer(request: fastwsh.Request) -> None:
    request.ws_steam.receive_message()  # wrong
    request.ws_stream.send_message(5)  # wrong
    request.ws_stream.send_message({"a": 1})  # wrong
    request.ws_stream.receive_message().upper()  # wrong
    request.ws_protocol = b"chat"  # wrong
    request.extra_headers.append("Set-Cookie: a")  # wrong
    request.name = "ann"  # wrong
    request.connection.write("text")  # wrong
    request.ws_stream.close_connection("1000")  # wrong


async def transfer_async(request: fastwsh.AsyncRequest) -> None:
    request.ws_stream.receive_message().upper()  # wrong
    for message in request.ws_stream:  # wrong
        del message
    await request.ws_stream.send_message(None)  # wrong


def test_client(wsserver: WsServer) -> None:
    @wsserver.handler("/")  # wrong
    def talk(connection: int) -> None: ...

    @wsserver.handler("/a")
    def talk_again(connection: Connection) -> None:
        connection.send({"a": 1})  # wrong
        connection.recieve()  # wrong

    @wsserver.handler("/b")
    async def talk_async(connection: AsyncConnection) -> None:
        (await connection.recv()).no_such()  # wrong

    del talk, talk_again, talk_async


def client(url: str) -> None:
    with fastwsh.connect(url) as connection:
        connection.send(5)  # wrong
        connection.recv().no_such()  # wrong
    fastwsh.connect(5)  # wrong
    fastwsh.connect(url, no_such=1)  # wrong


async def serve() -> None:
    server = await fastwsh.serve("handlers", port="9998")  # wrong
    server.no_such()  # wrong
