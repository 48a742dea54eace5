"""The handler of pywebsocket3 and fastwsh: every message comes back as it is."""

from typing import Any


def web_socket_do_extra_handshake(request: Any) -> None:
    """Let everyone in."""


def web_socket_transfer_data(request: Any) -> None:
    """Echo until the client closes."""
    stream = request.ws_stream
    while True:
        message = stream.receive_message()
        if message is None:
            return
        stream.send_message(message, binary=isinstance(message, bytes))
