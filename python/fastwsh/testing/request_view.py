"""What connections and handshakes of the test server tell of their request."""

from http.client import HTTPMessage
from typing import Any

__all__ = ["RequestView"]


class RequestView:
    """The request line and headers of an opening handshake.

    Args:
        request: pywebsocket's request.
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    @property
    def resource(self) -> str:
        """The path with the query behind it, as the client asked for it."""
        return str(self._request.ws_resource)

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.resource.partition("?")[0]

    @property
    def headers(self) -> HTTPMessage:
        """The headers of the opening handshake; their names are found in any case."""
        headers: HTTPMessage = self._request.headers_in
        return headers
