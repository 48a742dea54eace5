"""The opening handshake over HTTP/1.1 (RFC 6455 4.2)."""

from __future__ import annotations

from fastwsh import _core
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.handshake.base import (
    HandshakeException,
    HandshakerBase,
    get_mandatory_header,
    parse_token_list,
    validate_mandatory_header,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "HandshakeException",
    "Handshaker",
    "HandshakerBase",
    "check_request_line",
    "compute_accept",
    "compute_accept_from_unicode",
    "format_header",
    "get_mandatory_header",
    "parse_token_list",
    "validate_mandatory_header",
]


def check_request_line(request: Any) -> None:
    """Check that the request is a GET of HTTP/1.1 (RFC 6455 4.1).

    Raises:
        HandshakeException: It is not.
    """
    if request.method != "GET":
        raise HandshakeException(f"Method is not GET: {request.method!r}")
    if request.protocol != "HTTP/1.1":
        raise HandshakeException(f"Version is not HTTP/1.1: {request.protocol!r}")


def compute_accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key value (RFC 6455 4.2.2)."""
    return _core.compute_accept(key)


def compute_accept_from_unicode(unicode_key: str) -> bytes:
    """Do the same for a key that is text; the result is bytes as well."""
    return compute_accept(unicode_key.encode("utf-8"))


def format_header(name: object, value: object) -> str:
    """Format a header line, line end included."""
    return f"{name}: {value}\r\n"


class Handshaker(HandshakerBase):
    """The opening handshake over HTTP/1.1."""

    def __init__(self, request: Any, dispatcher: Any) -> None:
        super().__init__(request, dispatcher)

    def _protocol_rfc(self) -> str:
        return "RFC 6455"

    def _transform_header(self, header: str) -> str:
        return header

    def _validate_request(self) -> None:
        check_request_line(self._request)
        validate_mandatory_header(
            self._request, common.UPGRADE_HEADER, common.WEBSOCKET_UPGRADE_TYPE
        )
        self._validate_connection_header()
        get_mandatory_header(self._request, common.HOST_HEADER)

    def _validate_connection_header(self) -> None:
        value = self._get_list_header(common.CONNECTION_HEADER)
        if value is None:
            raise HandshakeException(f"Header {common.CONNECTION_HEADER} is missing")
        try:
            tokens = parse_token_list(value)
        except HandshakeException as error:
            raise HandshakeException(
                f"Header {common.CONNECTION_HEADER} is malformed: {error}"
            ) from error
        if common.UPGRADE_CONNECTION_TYPE.lower() not in map(str.lower, tokens):
            raise HandshakeException(
                f"Header {common.CONNECTION_HEADER} does not name "
                f"{common.UPGRADE_CONNECTION_TYPE}: {value!r}"
            )

    def _set_accept(self) -> None:
        key = get_mandatory_header(self._request, common.SEC_WEBSOCKET_KEY_HEADER)
        if _core.decode_key(key) is None:
            raise HandshakeException(
                f"Header {common.SEC_WEBSOCKET_KEY_HEADER} is not 16 bytes in base64: {key!r}"
            )
        self._request._accept = compute_accept_from_unicode(key)

    def _send_handshake(self) -> None:
        response = self._create_handshake_response(self._request._accept)
        self._request.connection.write(response.encode("utf-8"))
        self._logger.debug("Opening handshake sent: %r", response)

    def _create_handshake_response(self, accept: bytes) -> str:
        """Format the answer; the handler's own headers come last, in its order.

        Raises:
            HandshakeException: A header of the handler is not a complete header line (status 403).
        """
        request = self._request
        headers = [
            (common.UPGRADE_HEADER, common.WEBSOCKET_UPGRADE_TYPE),
            (common.CONNECTION_HEADER, common.UPGRADE_CONNECTION_TYPE),
            (common.SEC_WEBSOCKET_ACCEPT_HEADER, accept.decode("ascii")),
        ]
        if request.ws_protocol is not None:
            headers.append((common.SEC_WEBSOCKET_PROTOCOL_HEADER, request.ws_protocol))
        if request.ws_extensions:
            value = common.format_extensions(request.ws_extensions)
            headers.append((common.SEC_WEBSOCKET_EXTENSIONS_HEADER, value))
        target = f"{getattr(request, 'unparsed_uri', '')}"
        headers += [_checked_header(name, value, target) for name, value in request.extra_headers]
        lines = [format_header(name, value) for name, value in headers]
        return f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n"


def _checked_header(name: object, value: object, target: str) -> tuple[str, str]:
    try:
        _core.check_header_field(f"{name}", f"{value}", target)
    except ValueError as error:
        raise HandshakeException(str(error), status=common.HTTP_STATUS_FORBIDDEN) from error
    return f"{name}", f"{value}"


hide_annotations(globals())
