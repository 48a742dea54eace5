"""`broadcast` of websockets; the argument is the port."""

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

rooms: dict[str, set[ServerConnection]] = {}


async def handler(connection: ServerConnection) -> None:
    """Publish what comes to /publish; all others are members of the room in their query."""
    request = connection.request
    path, _, topic = request.path.partition("?") if request else ("", "", "")
    if path == "/publish":
        async for message in connection:
            broadcast(rooms[str(message[:8])], message)
        return
    room = rooms.setdefault(topic, set())
    room.add(connection)
    try:
        await connection.wait_closed()
    finally:
        room.discard(connection)


async def main() -> None:
    """Serve for ever."""
    async with serve(
        handler, "127.0.0.1", int(sys.argv[1]), compression=None, backlog=4096, ping_interval=None
    ):
        await asyncio.Future()


asyncio.run(main())
