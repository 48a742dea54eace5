"""`Refusal`: the exception by which a handler answers an opening handshake in its own words."""

from collections.abc import Iterable

from fastwsh.pywebsocket.handshake.base import HandshakeException

__all__ = ["Refusal"]


class Refusal(HandshakeException):
    """Raised in `web_socket_do_extra_handshake` to refuse the connection with an HTTP answer.

    pywebsocket's `HandshakeException` has the status alone.

    Args:
        status: The HTTP status, from 200 to 599. Over HTTP/2 and HTTP/3 one below 300 would open
            the connection, so that 403 is sent.
        why: The text for the log.
        headers: Further headers of the answer. The server adds those that say how long it is. One
            that cannot be sent is left out, and the log says so.
        body: The answer's body; None leaves the page to the server. Its Content-Type is a header
            like others.

    Raises:
        ValueError: The status is none that refuses.
    """

    def __init__(
        self,
        status: int,
        why: str = "refused",
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"status={status}; give one from 200 to 599, which refuses")
        super().__init__(why, status)
        self.headers = list(headers)
        self.body = body
