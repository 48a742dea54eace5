"""The server, under the name that embedding programs import."""

from fastwsh.pywebsocket.dispatch import alias_handlers as _alias_handlers
from fastwsh.pywebsocket.request_handler import WebSocketRequestHandler
from fastwsh.server import WebSocketServer

__all__ = ["WebSocketRequestHandler", "WebSocketServer", "_alias_handlers"]
