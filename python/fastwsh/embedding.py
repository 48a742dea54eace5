"""What programs override of `socketserver`, and what becomes of it.

Connections are accepted and served natively, so some methods have nothing to do; a program that
overrides one of these must be told, for it relies on it.
"""

import socket
import types
from typing import Any, Final

from fastwsh.config import ConfigError
from fastwsh.pywebsocket import dispatch
from fastwsh.pywebsocket.request_handler import WebSocketRequestHandler
from fastwsh.sockets import SocketServer

__all__ = ["admits", "decides_itself", "is_overridden", "refuse_overridden"]

_NAMES: Final = (
    "get_request",
    "process_request",
    "process_request_thread",
    "finish_request",
    "shutdown_request",
    "close_request",
    "service_actions",
    "handle_timeout",
    "_handle_request_noblock",
)
# as they are before a program has replaced any
_OURS: Final = {
    name: getattr(SocketServer, name) for name in (*_NAMES, "verify_request", "handle_error")
}


def is_overridden(server: Any, name: str) -> bool:
    """Tell whether a server has a method of its own in place of one of `socketserver`."""
    method = vars(server).get(name) if hasattr(server, "__dict__") else None
    if method is None:
        method = getattr(type(server), name, _OURS[name])
    elif isinstance(method, types.MethodType):
        method = method.__func__
    return method is not _OURS[name]


def decides_itself(dispatcher: Any) -> bool:
    """Tell whether a dispatcher finds handlers in a way of its own."""
    if "get_handler_suite" in getattr(dispatcher, "__dict__", {}):
        return True
    theirs = getattr(type(dispatcher), "get_handler_suite", None)
    return theirs is not _GET_HANDLER_SUITE


def admits(server: Any, descriptor: int, client_address: Any) -> bool:
    """Ask a server's `verify_request`, as `socketserver` does; the descriptor is closed."""
    with socket.socket(fileno=descriptor) as request:
        try:
            return bool(server.verify_request(request, client_address))
        except Exception:  # noqa: BLE001 (whatever an embedder's method raises)
            server.handle_error(request, client_address)
            return False


def refuse_overridden(server: Any) -> None:
    """Raise ConfigError for a method or class of a program that would never be used."""
    for name in _NAMES:
        if is_overridden(server, name):
            raise ConfigError(
                f"{type(server).__name__} overrides {name}, which the server does not call; "
                "override verify_request, handle_error or the dispatcher instead"
            )
    if server.RequestHandlerClass is not WebSocketRequestHandler:
        raise ConfigError(
            f"RequestHandlerClass is {server.RequestHandlerClass.__name__}, which the server does "
            "not use; serve it with a server of the standard library's socketserver"
        )


_GET_HANDLER_SUITE: Final = dispatch.Dispatcher.get_handler_suite
