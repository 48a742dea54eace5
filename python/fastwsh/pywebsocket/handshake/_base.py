"""The module in which pywebsocket 0.7 kept the common part of opening handshakes."""

from typing import Any

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.handshake.base import (
    AbortedByUserException,
    HandshakeException,
    VersionException,
    get_default_port,
    get_mandatory_header,
    parse_host_header,
    parse_token_list,
    validate_mandatory_header,
    validate_subprotocol,
)
from fastwsh.pywebsocket.handshake.hybi import check_request_line, format_header

__all__ = [
    "AbortedByUserException",
    "HandshakeException",
    "VersionException",
    "build_location",
    "check_request_line",
    "format_header",
    "get_default_port",
    "get_mandatory_header",
    "parse_host_header",
    "parse_token_list",
    "validate_mandatory_header",
    "validate_subprotocol",
]


def build_location(request: Any) -> str:
    """Return the URI that the client has opened, made from its Host header (RFC 6455 3).

    Raises:
        HandshakeException: The Host header has a port that is not a number.
    """
    is_secure = request.is_https()
    scheme = common.WEB_SOCKET_SECURE_SCHEME if is_secure else common.WEB_SOCKET_SCHEME
    host, port = parse_host_header(request)
    suffix = "" if port == get_default_port(is_secure) else f":{port}"
    return f"{scheme}://{host}{suffix}{request.unparsed_uri}"


hide_annotations(globals())
