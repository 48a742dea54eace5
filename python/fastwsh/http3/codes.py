"""The error codes of HTTP/2 (RFC 9113 7) as those of HTTP/3 (RFC 9114 8.1)."""

from typing import Final

from aioquic.h3.connection import ErrorCode
from h2.errors import ErrorCodes

__all__ = ["to_http3"]

_HTTP_3: Final = {
    ErrorCodes.NO_ERROR: ErrorCode.H3_NO_ERROR,
    ErrorCodes.PROTOCOL_ERROR: ErrorCode.H3_MESSAGE_ERROR,
    ErrorCodes.REFUSED_STREAM: ErrorCode.H3_REQUEST_REJECTED,
    ErrorCodes.CANCEL: ErrorCode.H3_REQUEST_CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: ErrorCode.H3_EXCESSIVE_LOAD,
}


def to_http3(code: int) -> ErrorCode:
    """Return the code of HTTP/3 for one of HTTP/2."""
    return _HTTP_3.get(code, ErrorCode.H3_INTERNAL_ERROR)  # type: ignore[call-overload, no-any-return]
