"""What a connection needs of the endpoint that owns it."""

import socket
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

__all__ = ["Limits", "Owner"]

_Connection_contra = TypeVar("_Connection_contra", contravariant=True)


@dataclass(frozen=True)
class Limits:
    """What the options allow a client.

    Attributes:
        streams: Streams at a time on a connection.
        header_bytes: The most bytes of a request's headers; None: no limit.
        head_seconds: Time for the handshake; None: no limit.
    """

    streams: int
    header_bytes: int | None
    head_seconds: float | None


class Owner(Protocol[_Connection_contra]):
    """The owner of connections; all its methods are called in its thread."""

    limits: Limits

    def admit(self, inner: socket.socket, peer: tuple[Any, ...], local: tuple[Any, ...]) -> bool:
        """Pass a connection on to the native server; `inner` is closed or passed on."""

    def note_open(self, connection: _Connection_contra) -> None:
        """Note that a handshake is done."""

    def note_closed(self, connection: _Connection_contra) -> None:
        """Note that a connection has nothing more to say."""
