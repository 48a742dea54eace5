"""Publishes what it receives: to the topic whose name is the first eight characters."""

from typing import Any

from fastwsh import topics


def web_socket_do_extra_handshake(request: Any) -> None:
    """Accept anyone."""


def web_socket_transfer_data(request: Any) -> None:
    """Publish until the client closes."""
    while (text := request.ws_stream.receive_message()) is not None:
        topics.publish(text[:8], text)
