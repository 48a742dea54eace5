"""Which subprotocol a handler of the test server speaks with a client (RFC 6455 4.2.2)."""

from collections.abc import Sequence
from typing import Any

from fastwsh import _core
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import HandshakeException

__all__ = ["check_subprotocol", "check_subprotocols", "choose_subprotocol"]


def check_subprotocols(names: object) -> tuple[str, ...] | None:
    """Return subprotocols as a tuple; None is whatever a client offers.

    Raises:
        TypeError: They are one str, or hold what is none.
        ValueError: A client cannot offer one of them.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"subprotocols must be a sequence of names; write [{names!r}]")
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"subprotocols={names!r}; give a sequence of names")
    for name in names:
        check_subprotocol(name)
    return tuple(names)


def check_subprotocol(name: str) -> None:
    """Raise ValueError for a name that no client can offer: it is no token (RFC 6455 4.1)."""
    if not name or _core.scan_token(name) != len(name):
        raise ValueError(
            f"subprotocol {name!r}; a name has letters, digits and !#$%&'*+-.^_`|~ only"
        )


def choose_subprotocol(request: Any, known: Sequence[str] | None) -> None:
    """Choose a subprotocol, as pywebsocket demands of handlers whose client offers some.

    Args:
        request: The request.
        known: Those that are spoken; None: whatever the client wants most.

    Raises:
        HandshakeException: The client offers others only; the status is 400.
    """
    offered = request.ws_requested_protocols
    if not offered:
        return
    for protocol in offered:
        if known is None or protocol in known:
            request.ws_protocol = protocol
            return
    raise HandshakeException(
        f"The client offers {offered!r}, and the handler speaks {list(known or ())!r}",
        common.HTTP_STATUS_BAD_REQUEST,
    )
