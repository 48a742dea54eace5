"""Subscribes to the topic that the query names."""

from typing import Any

from fastwsh import topics


def web_socket_do_extra_handshake(request: Any) -> None:
    """Subscribe."""
    topics.subscribe(request, request.ws_resource.partition("?")[2])


def web_socket_transfer_data(request: Any) -> None:
    """Receive until the client closes."""
    while request.ws_stream.receive_message() is not None:
        pass
