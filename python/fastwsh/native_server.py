"""What `_core.Server` is told: the options of a server, and what its class overrides.

Attributes that an embedder's options do not have count as their defaults.
"""

from __future__ import annotations

import sys
import threading

from fastwsh import _core, http3, inspector
from fastwsh.settings import limits, plain_http, private_files, proxies, tls
from fastwsh.settings.defaults import DEFAULT_SLOW_SUBSCRIBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from fastwsh.server import WebSocketServer

__all__ = ["make"]

# Address space per thread; only the used part needs memory. CPython before 3.14 counts nested calls
# and assumes the system's usual 8 MiB; later versions measure the stack.
_STACK_BYTES: Final = (1 << 20) if sys.version_info >= (3, 14) else (8 << 20)


def make(server: WebSocketServer) -> _core.Server:
    """Return the native server under a server; it does not listen yet.

    Raises:
        ConfigError: An option asks for what the native server cannot do.
        ValueError: A TLS file cannot be used.
    """
    options = server.websocket_server_options
    return _core.Server(
        server._run_connection,
        server,
        document_root=server._document_root(),
        private_files=private_files.of(options),
        serve_dot_files=private_files.serves_dot_files(options),
        local_addr=(server.server_name, server.server_port),
        validation_host=getattr(options, "validation_host", None),
        validation_port=getattr(options, "validation_port", None),
        strict_compat=getattr(options, "strict_compat", False),
        http2=bool(getattr(options, "http2", False)),
        http3_port=http3.port_to_name(options, server._http3),
        limits=limits.of(options),
        proxies=proxies.settings(options),
        tls=tls.files(options),
        stack_size=threading.stack_size() or _STACK_BYTES,
        hubs=getattr(options, "hubs", 1) if server._needs_hub() else 0,
        shared_counts=getattr(getattr(options, "worker", None), "shared_counts", None),
        inspect=inspector.settings(options),
        slow_subscriber=getattr(options, "slow_subscriber", DEFAULT_SLOW_SUBSCRIBER),
        **plain_http.settings(options),
    )
