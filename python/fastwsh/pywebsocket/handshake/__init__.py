"""The opening handshake, and the exceptions that a handler may raise in it (RFC 6455 4.2)."""

from __future__ import annotations

import logging

from fastwsh.pywebsocket import _gone, common
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.handshake import hybi
from fastwsh.pywebsocket.handshake.base import (
    AbortedByUserException,
    HandshakeException,
    VersionException,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "AbortedByUserException",
    "HandshakeException",
    "VersionException",
    "do_handshake",
]

_LOGGER: Final = logging.getLogger("pywebsocket3.handshake")


def do_handshake(request: Any, dispatcher: Any) -> None:
    """Open the connection: check the request, ask its handler, and answer.

    Args:
        request: The request. `ws_...` attributes are set on it, `ws_stream` among them.
        dispatcher: Has the handler; a `dispatch.Dispatcher`.

    Raises:
        HandshakeException: The handshake failed; `status` is that of the answer.
        VersionException: The client speaks another version of the protocol.
        AbortedByUserException: The handler wants the connection dropped.
    """
    _LOGGER.debug("Opening handshake for resource %r", request.uri)
    _LOGGER.debug("Opening handshake with headers %r", dict(request.headers_in))
    handshaker = hybi.Handshaker(request, dispatcher)
    try:
        handshaker.do_handshake()
    except HandshakeException as error:
        error.status = error.status or common.HTTP_STATUS_BAD_REQUEST
        raise
    _LOGGER.info("Established (%s protocol)", handshaker._protocol_rfc())


def __getattr__(name: str) -> Any:
    _gone.refuse(f"handshake.{name}", f"mod_pywebsocket.handshake.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


hide_annotations(globals())
