"""aiohttp on uvloop; the argument is the port."""

import asyncio
import sys

import certificate
import uvloop
from aiohttp import WSMsgType, web


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Echo until the client closes."""
    connection = web.WebSocketResponse(max_msg_size=0)
    await connection.prepare(request)
    async for message in connection:
        if message.type == WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await connection.send_bytes(message.data)
    return connection


async def main() -> None:
    """Serve for ever."""
    app = web.Application()
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(
        runner, "127.0.0.1", int(sys.argv[1]), backlog=4096, ssl_context=certificate.context()
    )
    await site.start()
    await asyncio.Future()


uvloop.run(main())
