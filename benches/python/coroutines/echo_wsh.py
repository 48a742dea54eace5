"""The handler of fastwsh's event loop: every message comes back as it is."""

from typing import Any


async def web_socket_do_extra_handshake(request: Any) -> None:
    """Let everyone in."""


async def web_socket_transfer_data(request: Any) -> None:
    """Echo until the client closes."""
    stream = request.ws_stream
    async for message in stream:
        await stream.send_message(message)
