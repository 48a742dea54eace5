"""Opening handshakes as a test server has met them, also those that were refused."""

import http
from typing import Any, Final

from fastwsh.testing.request_view import RequestView

__all__ = ["Handshake"]

_SWITCHING_PROTOCOLS: Final = http.HTTPStatus.SWITCHING_PROTOCOLS.value


class Handshake(RequestView):
    """One opening handshake at a path with a handler.

    Args:
        request: pywebsocket's request.
    """

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        offered: list[str] | None = request.ws_requested_protocols
        self._offered = tuple(offered or ())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.resource} {self.status or 'under way'}>"

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offered, in its order."""
        return self._offered

    @property
    def status(self) -> int | None:
        """What was answered: 101, or the status of the refusal.

        None while it is under way, and if the answer was made of raw bytes or there was none.
        """
        refused: int | None = self._request._refused_with
        if refused is not None:
            return refused
        return _SWITCHING_PROTOCOLS if "ws_stream" in vars(self._request) else None
