"""The asyncio server of websockets; the argument is the port."""

import asyncio
import sys

import certificate
from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    """Echo until the client closes."""
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    """Serve for ever."""
    tls = certificate.context()
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=None, ssl=tls):
        await asyncio.Future()


asyncio.run(main())
