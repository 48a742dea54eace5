"""uvicorn on uvloop and httptools with an ASGI application; the argument is the port."""

import sys
from typing import Any

import uvicorn


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Echo until the client closes."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] != "websocket.receive":
            return
        text = message.get("text")
        if text is not None:
            await send({"type": "websocket.send", "text": text})
        else:
            await send({"type": "websocket.send", "bytes": message["bytes"]})


uvicorn.run(
    echo,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    ws="websockets-sansio",
    loop="uvloop",
    http="httptools",
    log_level="error",
    access_log=False,
    ws_max_size=64 << 20,
    lifespan="off",
    backlog=4096,
)
