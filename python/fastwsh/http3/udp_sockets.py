"""The UDP sockets of HTTP/3: one for each address that the server listens on."""

from __future__ import annotations

import contextlib
import socket

from fastwsh.config_error import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

__all__ = ["bind_beside"]

# Packets that come while the thread does something else wait in the kernel. What the system allows
# may be less.
_RECEIVE_BYTES: Final = 4 << 20


def bind_beside(listeners: Iterable[socket.socket], port: int | None) -> list[socket.socket]:
    """Bind a UDP socket to the address of each TCP socket.

    Args:
        listeners: Listening sockets; Unix sockets are left out.
        port: The UDP port; None takes each listener's own number, 0 any free one.

    Raises:
        ConfigError: There is no TCP socket, or a port is taken.
    """
    bound: list[socket.socket] = []
    seen: set[tuple[Any, ...]] = set()
    try:
        for listener in listeners:
            if listener.family == socket.AF_UNIX:
                continue
            address = listener.getsockname()
            # all addresses share a port that the system has chosen
            number = address[1] if port is None else port or _port_of(bound)
            address = (address[0], number, *address[2:])
            if address in seen:
                continue
            bound.append(_bind(listener, address))
            seen.add(bound[-1].getsockname())
    except BaseException:
        for one in bound:
            one.close()
        raise
    if not bound:
        raise ConfigError("HTTP/3 needs an address to listen on; add --port or --bind")
    return bound


def _port_of(bound: list[socket.socket]) -> int:
    port: int = bound[0].getsockname()[1] if bound else 0
    return port


def _bind(listener: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(listener.family, socket.SOCK_DGRAM)
    try:
        if listener.family == socket.AF_INET6:
            only = listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        bound.setblocking(False)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"cannot use UDP port {address[1]} of {address[0]} for HTTP/3 ({error.strerror}); name "
            "another one with --http3-port, or 0 for any free one"
        ) from error
    return bound
