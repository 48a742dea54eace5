"""HTTP/3 (RFC 9114): pages, and WebSocket connections by extended CONNECT (RFC 9220).

aioquic implements QUIC, TLS, HTTP/3 and QPACK, in a thread of its own. Each QUIC connection is
passed on to the native server as one of HTTP/2, on a pair of sockets: streams, header fields,
resets and windows mean the same in both versions, so that every decision about a request stays
where HTTP/2's is made. Nothing here knows handlers or files.

Importing this package needs nothing that has to be installed; `open_endpoint` does.
"""

from __future__ import annotations

import importlib
import os

from fastwsh import _core
from fastwsh.config_error import ConfigError
from fastwsh.http3.udp_sockets import bind_beside
from fastwsh.settings import tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any

    from fastwsh.http3.endpoint import Endpoint

__all__ = ["open_endpoint", "port_to_name"]


def open_endpoint(options: Any, listeners: Iterable[socket.socket]) -> Endpoint | None:
    """Bind the UDP sockets of `--http3`, beside the TCP sockets of a server.

    Args:
        options: Those of the server; without `--http3` nothing is done.
        listeners: The server's listening sockets.

    Raises:
        ConfigError: An option is missing, aioquic is not installed, a certificate cannot be used,
            or the port is taken.
        ValueError: A key or a certificate cannot be used.
    """
    if not getattr(options, "http3", False):
        return None
    if not getattr(options, "use_tls", False):
        raise ConfigError("HTTP/3 needs TLS; add --tls, --private-key and --certificate")
    if getattr(options, "tls_client_auth", False):
        raise ConfigError(
            "HTTP/3 cannot ask for client certificates; leave out --http3 or --tls-client-auth"
        )
    for name in ("aioquic", "h2"):
        _need(name)
    from fastwsh.http3 import pacing  # noqa: PLC0415 (needs aioquic)
    from fastwsh.http3.endpoint import Endpoint  # noqa: PLC0415

    pacing.check()
    if (files := tls.files(options)) is not None:
        # what this side cannot use either has a better sentence than that of aioquic
        _core.Server.check_tls(files)
    sockets = bind_beside(listeners, getattr(options, "http3_port", None))
    try:
        return Endpoint(
            sockets,
            certificate=os.path.abspath(options.certificate),  # noqa: PTH100 (no links resolved)
            private_key=os.path.abspath(options.private_key),  # noqa: PTH100
            options=options,
        )
    except BaseException:
        for bound in sockets:
            bound.close()
        raise


def port_to_name(options: Any, endpoint: Endpoint | None) -> int | None:
    """Return the port that answers of the other versions name; 0 stands for each listener's own."""
    if endpoint is None:
        return None
    return 0 if getattr(options, "http3_port", None) is None else endpoint.port


def _need(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"HTTP/3 needs the package {name}, which is not installed; "
            "install it with: pip install 'fastwsh[http3]'"
        ) from error
