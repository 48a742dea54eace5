"""socketify, which is uWebSockets through cffi; the argument is the port."""

import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode, WebSocket


def echo(connection: WebSocket, message: str | bytes, opcode: OpCode) -> None:
    """Echo a message, compressed if that was negotiated."""
    connection.send(message, opcode, compress=True)


app = App()
app.ws(
    "/echo",
    {
        "compression": CompressOptions.DEDICATED_COMPRESSOR
        | CompressOptions.DEDICATED_DECOMPRESSOR,
        "max_payload_length": 64 << 20,
        "max_backpressure": 64 << 20,
        "idle_timeout": 960,
        "message": echo,
    },
)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _: None)
app.run()
