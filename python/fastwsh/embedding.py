"""Methods of `socketserver` that programs override, and which of them are called.

The native server accepts and serves connections, so it never calls some of these methods. A program
that overrides one of them relies on it, and must get an error.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import types

from fastwsh.config_error import ConfigError
from fastwsh.listening.sockets import SocketServer
from fastwsh.pywebsocket import dispatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

__all__ = [
    "RequestHandlerClass",
    "admits",
    "calls_itself",
    "credential",
    "decides_itself",
    "is_overridden",
    "refuse_overridden",
    "refuse_workers",
    "warn_of_overridden",
]

_LOGGER: Final = logging.getLogger("fastwsh.server")


_NAMES: Final = (
    "get_request",
    "process_request",
    "process_request_thread",
    "finish_request",
    "shutdown_request",
    "close_request",
    "service_actions",
    "_handle_request_noblock",
)
# the original methods, from before a program could replace them
_OURS: Final = {
    name: getattr(SocketServer, name) for name in (*_NAMES, "verify_request", "handle_error")
}
_DISPATCHER: Final = {
    name: getattr(dispatch.Dispatcher, name)
    for name in (
        "get_handler_suite",
        "do_extra_handshake",
        "do_extra_handshake_async",
        "transfer_data",
        "transfer_data_async",
    )
}


class RequestHandlerClass:
    """That attribute of a server: the class is loaded when a program reads it."""

    def __get__(self, server: Any, owner: type | None = None) -> Any:
        from fastwsh.pywebsocket import request_handler  # noqa: PLC0415 (loads http.server)

        return request_handler.WebSocketRequestHandler


def _has_our_request_handler(server: Any) -> bool:
    name = RequestHandlerClass.__name__
    places = (vars(server), *map(vars, type(server).__mro__))
    found = next(place[name] for place in places if name in place)
    return isinstance(found, RequestHandlerClass) or found is RequestHandlerClass().__get__(server)


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
    return _overrides(dispatcher, "get_handler_suite")


def calls_itself(dispatcher: Any) -> bool:
    """Tell whether a dispatcher overrides the calls of handlers; its functions may wait."""
    return any(
        _overrides(dispatcher, name) and not _overrides(dispatcher, f"{name}_async")
        for name in ("do_extra_handshake", "transfer_data")
    )


def _overrides(dispatcher: Any, name: str) -> bool:
    if name in getattr(dispatcher, "__dict__", {}):
        return True
    return getattr(type(dispatcher), name, None) is not _DISPATCHER[name]


def admits(server: Any, descriptor: int, client_address: Any) -> bool:
    """Call a server's `verify_request`, as `socketserver` does, and close the descriptor."""
    with socket.socket(fileno=descriptor) as request:
        try:
            return bool(server.verify_request(request, client_address))
        except Exception:  # noqa: BLE001 (whatever an embedder's method raises)
            server.handle_error(request, client_address)
            return False


def admits_http3(server: Any, inner: socket.socket, client_address: Any) -> bool:
    """Ask a server's `verify_request` about a connection of HTTP/3, if it is overridden."""
    if not is_overridden(server, "verify_request"):
        return True
    return admits(server, os.dup(inner.fileno()), client_address)


def refuse_overridden(server: Any) -> None:
    """Raise ConfigError for an overridden method or class that would never be used."""
    for _, sentence in _never_called(server):
        raise ConfigError(sentence)
    if not _has_our_request_handler(server):
        raise ConfigError(
            f"RequestHandlerClass is {server.RequestHandlerClass.__name__}, which the server does "
            "not use; serve it with a server of the standard library's socketserver"
        )


def refuse_workers(options: Any) -> None:
    """Raise ConfigError if the options ask for several workers, which only the program starts."""
    count = getattr(options, "workers", None) or 1
    if count > 1 and getattr(options, "worker", None) is None:
        raise ConfigError(
            f"--workers {count} is for the command fastwsh, and this program makes the server; "
            "leave it out, and start the program several times"
        )


def warn_of_overridden(server: Any, told: set[str]) -> None:
    """Log the same of a server that has started, once for each method.

    Args:
        server: The server.
        told: What was logged before; gets what is logged now.
    """
    for name, sentence in _never_called(server):
        if name not in told:
            told.add(name)
            _LOGGER.warning("%s", sentence)


def _never_called(server: Any) -> Iterator[tuple[str, str]]:
    """Give the name of everything that a program has replaced in vain, and a sentence about it."""
    instead = "override verify_request, handle_error or the dispatcher instead"
    for name in _NAMES:
        if is_overridden(server, name):
            kind = type(server).__name__
            yield name, f"{kind} overrides {name}, which the server does not call; {instead}"
    module: Any = sys.modules.get("fastwsh.pywebsocket.request_handler")
    original = getattr(module, "_ORIGINAL", {})
    # not of a module that another thread is importing
    changed = dict(vars(module.WebSocketRequestHandler)) if original else {}
    for name, value in changed.items():
        if original.get(name) is not value and (name == "__init__" or name[:2] != "__"):
            sentence = (
                f"{name} of WebSocketRequestHandler has been replaced, which the server does not "
                f"use; {instead}, or serve the class with a server of the standard library's "
                "socketserver"
            )
            yield f"WebSocketRequestHandler.{name}", sentence


def credential(options: Any) -> str | None:
    """Return what the header Authorization must be, or None if anybody may connect."""
    if not getattr(options, "use_basic_auth", False):
        return None
    required: str = options.basic_auth_credential
    return required
