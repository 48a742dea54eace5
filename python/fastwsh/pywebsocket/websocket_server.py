"""The server, under the name that embedding programs import."""

from http.server import HTTPServer

from fastwsh import server
from fastwsh.loading.map_file import alias_handlers as _alias_handlers
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.request_handler import WebSocketRequestHandler

__all__ = ["WebSocketRequestHandler", "WebSocketServer", "_alias_handlers"]


class WebSocketServer(server.WebSocketServer, HTTPServer):
    """`fastwsh.server.WebSocketServer`, with the base class that pywebsocket's has.

    Args:
        options: As `fastwsh.options.parse_args_and_config` returns them, or any object with
            pywebsocket's attributes.
    """


hide_annotations(globals())
