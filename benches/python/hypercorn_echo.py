"""hypercorn with an ASGI application, on a port that it says on standard error."""

import asyncio
import socket
import sys
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Echo what comes on a WebSocket."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text, data = event.get("text"), event.get("bytes")
        reply = {"bytes": data} if text is None else {"text": text}
        await send({"type": "websocket.send", **reply})


listener = socket.create_server(("127.0.0.1", 0))
print(f"Listening on 127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.errorlog = None
asyncio.run(serve(app, config))
