"""Speaks Socket.IO 0.9, for clients of 2012: `socket.io-client@0.9`, `socketIO-client==0.5`.

A client asks for `/socket.io/1/` first, which is the file index.html beside this one, and opens its
WebSocket at `/socket.io/1/websocket/<session>` then. A packet is `type:id:endpoint:data`. Each
event of a client is sent to all the others; the client gets an acknowledgement if it wants one.
"""

import asyncio
import contextlib
import json

web_socket_subpaths = True

DISCONNECT, CONNECT, HEARTBEAT, MESSAGE, JSON, EVENT, ACK = "0123456"

# Below the heartbeat timeout of 60 seconds that index.html names.
HEARTBEAT_SECONDS = 25

streams = set()


async def web_socket_do_extra_handshake(request):
    pass


async def web_socket_transfer_data(request):
    stream = request.ws_stream
    await stream.send_message(f"{CONNECT}::")
    beating = asyncio.create_task(beat(stream))
    streams.add(stream)
    try:
        async for packet in stream:
            if packet.startswith(DISCONNECT):
                return
            await answer(stream, packet)
    finally:
        streams.discard(stream)
        beating.cancel()


async def beat(stream):
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        await stream.send_message(f"{HEARTBEAT}::")


async def answer(stream, packet):
    kind, number, endpoint, data = [*packet.split(":", 3), "", "", ""][:4]
    if kind == CONNECT:
        # a namespace, such as /chat
        await stream.send_message(f"{CONNECT}::{endpoint}")
    elif kind in (MESSAGE, JSON, EVENT):
        if number.endswith("+"):
            # the client wants the handler's arguments, and waits for them
            await stream.send_message(f"{ACK}:::{number}{json.dumps(['received'])}")
        elif number:
            await stream.send_message(f"{ACK}:::{number}")
        others = [other for other in streams if other is not stream]
        for other in others:
            # if its client has gone, its own handler finds out
            with contextlib.suppress(ConnectionError):
                await other.send_message(f"{kind}::{endpoint}:{data}")
