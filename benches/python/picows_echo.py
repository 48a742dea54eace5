"""picows on uvloop, with callbacks; the argument is the port.

Text becomes `str` and is encoded again, as it would for a handler that looks at it.
"""

import sys

import certificate
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server


class Echo(WSListener):
    """One connection."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Echo a message."""
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_utf8_text().encode())
        elif frame.msg_type == WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


async def main() -> None:
    """Serve for ever."""
    server = await ws_create_server(
        lambda _: Echo(), "127.0.0.1", int(sys.argv[1]), ssl=certificate.context()
    )
    async with server:
        await server.serve_forever()


uvloop.run(main())
