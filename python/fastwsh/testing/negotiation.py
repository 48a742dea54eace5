"""What a test server agrees to in opening handshakes: subprotocols, compression, headers."""

from collections.abc import Callable, Sequence
from typing import Any

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.extensions import PerMessageDeflateExtensionProcessor

__all__ = ["add_headers", "choose_deflate", "decline_deflate", "ignore_subprotocols"]

_SERVER_BITS = "server_max_window_bits"
_SERVER_NO_TAKEOVER = "server_no_context_takeover"


def ignore_subprotocols(request: Any) -> None:
    """Answer as a server that has not heard of subprotocols (RFC 6455 4.2.2)."""
    request.ws_requested_protocols = None


def decline_deflate(request: Any) -> None:
    """Answer as a server without permessage-deflate."""
    request.ws_extension_processors = []


def add_headers(headers: Sequence[tuple[str, str]]) -> Callable[[Any], None]:
    """Add headers to the answer that opens the connection."""
    return lambda request: request.extra_headers.extend(headers)


def choose_deflate(
    *,
    server_max_window_bits: int | None,
    client_max_window_bits: int | None,
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
) -> Callable[[Any], None]:
    """Agree to permessage-deflate with these parameters (RFC 7692 7.1), if the client offers it.

    Raises:
        TypeError, ValueError: Window bits are no number from 8 to 15.
    """
    for name, bits in (
        (_SERVER_BITS, server_max_window_bits),
        ("client_max_window_bits", client_max_window_bits),
    ):
        if bits is None:
            continue
        if isinstance(bits, bool) or not isinstance(bits, int):
            raise TypeError(f"{name}={bits!r}; give a number from 8 to 15")
        if not 8 <= bits <= 15:
            raise ValueError(f"{name}={bits}; give a number from 8 to 15")

    def choose(request: Any) -> None:
        for processor in request.ws_extension_processors:
            if not isinstance(processor, PerMessageDeflateExtensionProcessor):
                continue
            # what a client asks of the server is answered: so it is made to have asked
            processor._request = _with_server(
                processor._request, server_max_window_bits, server_no_context_takeover
            )
            if client_max_window_bits is not None:
                processor.set_client_max_window_bits(client_max_window_bits)
            if client_no_context_takeover:
                processor.set_client_no_context_takeover(True)

    return choose


def _with_server(
    offer: common.ExtensionParameter, bits: int | None, no_takeover: bool
) -> common.ExtensionParameter:
    """Return an offer with the server's parameters; of two limits the lower one counts."""
    changed = common.ExtensionParameter(offer.name())
    limits = [] if bits is None else [bits]
    for name, value in offer.get_parameters():
        if name == _SERVER_BITS and bits is not None and value is not None and value.isdecimal():
            limits.append(int(value))
        elif not (name == _SERVER_NO_TAKEOVER and no_takeover):
            changed.add_parameter(name, value)
    if limits:
        changed.add_parameter(_SERVER_BITS, str(min(limits)))
    if no_takeover:
        changed.add_parameter(_SERVER_NO_TAKEOVER, None)
    return changed
