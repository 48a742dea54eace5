"""Methods of `socketserver` that programs override, and which of them are called.

The native server accepts and serves connections, so it never calls some of these methods. A program
that overrides one of them relies on it, and must get an error.
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
# the original methods, before a program has replaced any
_OURS: Final = {
    name: getattr(SocketServer, name) for name in (*_NAMES, "verify_request", "handle_error")
}


def is_overridden(server: Any, name: str) -> bool:
    """Tell whether a server overrides a method of `socketserver`."""
    method = vars(server).get(name) if hasattr(server, "__dict__") else None
    if method is None:
        method = getattr(type(server), name, _OURS[name])
    elif isinstance(method, types.MethodType):
        method = method.__func__
    return method is not _OURS[name]


def decides_itself(dispatcher: Any) -> bool:
    """Tell whether a dispatcher overrides how handlers are found."""
    if "get_handler_suite" in getattr(dispatcher, "__dict__", {}):
        return True
    theirs = getattr(type(dispatcher), "get_handler_suite", None)
    return theirs is not _GET_HANDLER_SUITE


def admits(server: Any, descriptor: int, client_address: Any) -> bool:
    """Call a server's `verify_request`, as `socketserver` does, and close the descriptor."""
    with socket.socket(fileno=descriptor) as request:
        try:
            return bool(server.verify_request(request, client_address))
        except Exception:  # noqa: BLE001 (whatever an embedder's method raises)
            server.handle_error(request, client_address)
            return False


def refuse_overridden(server: Any) -> None:
    """Raise ConfigError for an overridden method or class that would never be used."""
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
