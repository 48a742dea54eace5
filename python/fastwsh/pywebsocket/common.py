"""Numbers and names of the protocol, and extension parameters (RFC 6455 5.2, 7.4, 9.1)."""

from collections.abc import Iterable

from fastwsh import _core
from fastwsh.pywebsocket import http_header_util
from fastwsh.pywebsocket._signatures import hide_annotations

__all__ = [
    "CONNECTION_HEADER",
    "DEFAULT_WEB_SOCKET_PORT",
    "DEFAULT_WEB_SOCKET_SECURE_PORT",
    "DEFLATE_FRAME_EXTENSION",
    "DEFLATE_STREAM_EXTENSION",
    "HOST_HEADER",
    "HTTP_STATUS_BAD_REQUEST",
    "HTTP_STATUS_FORBIDDEN",
    "HTTP_STATUS_NOT_FOUND",
    "LOGLEVEL_FINE",
    "MUX_EXTENSION",
    "OPCODE_BINARY",
    "OPCODE_CLOSE",
    "OPCODE_CONTINUATION",
    "OPCODE_PING",
    "OPCODE_PONG",
    "OPCODE_TEXT",
    "ORIGIN_HEADER",
    "PERFRAME_COMPRESSION_EXTENSION",
    "PERMESSAGE_COMPRESSION_EXTENSION",
    "PERMESSAGE_DEFLATE_EXTENSION",
    "SEC_WEBSOCKET_ACCEPT_HEADER",
    "SEC_WEBSOCKET_DRAFT_HEADER",
    "SEC_WEBSOCKET_EXTENSIONS_HEADER",
    "SEC_WEBSOCKET_KEY1_HEADER",
    "SEC_WEBSOCKET_KEY2_HEADER",
    "SEC_WEBSOCKET_KEY_HEADER",
    "SEC_WEBSOCKET_LOCATION_HEADER",
    "SEC_WEBSOCKET_ORIGIN_HEADER",
    "SEC_WEBSOCKET_PROTOCOL_HEADER",
    "SEC_WEBSOCKET_VERSION_HEADER",
    "STATUS_ABNORMAL_CLOSE",
    "STATUS_ABNORMAL_CLOSURE",
    "STATUS_CODE_NOT_AVAILABLE",
    "STATUS_GOING_AWAY",
    "STATUS_INTERNAL_ENDPOINT_ERROR",
    "STATUS_INVALID_FRAME_PAYLOAD",
    "STATUS_INVALID_FRAME_PAYLOAD_DATA",
    "STATUS_MANDATORY_EXT",
    "STATUS_MANDATORY_EXTENSION",
    "STATUS_MESSAGE_TOO_BIG",
    "STATUS_NORMAL",
    "STATUS_NORMAL_CLOSURE",
    "STATUS_NO_STATUS_RECEIVED",
    "STATUS_POLICY_VIOLATION",
    "STATUS_PROTOCOL_ERROR",
    "STATUS_TLS_HANDSHAKE",
    "STATUS_UNSUPPORTED",
    "STATUS_UNSUPPORTED_DATA",
    "STATUS_USER_PRIVATE_BASE",
    "STATUS_USER_PRIVATE_MAX",
    "STATUS_USER_REGISTERED_BASE",
    "STATUS_USER_REGISTERED_MAX",
    "UPGRADE_CONNECTION_TYPE",
    "UPGRADE_HEADER",
    "VERSION_HIXIE75",
    "VERSION_HYBI00",
    "VERSION_HYBI01",
    "VERSION_HYBI02",
    "VERSION_HYBI03",
    "VERSION_HYBI04",
    "VERSION_HYBI05",
    "VERSION_HYBI06",
    "VERSION_HYBI07",
    "VERSION_HYBI08",
    "VERSION_HYBI09",
    "VERSION_HYBI10",
    "VERSION_HYBI11",
    "VERSION_HYBI12",
    "VERSION_HYBI13",
    "VERSION_HYBI14",
    "VERSION_HYBI15",
    "VERSION_HYBI16",
    "VERSION_HYBI17",
    "VERSION_HYBI_LATEST",
    "WEBSOCKET_ACCEPT_UUID",
    "WEBSOCKET_UPGRADE_TYPE",
    "WEBSOCKET_UPGRADE_TYPE_HIXIE75",
    "WEB_SOCKET_SCHEME",
    "WEB_SOCKET_SECURE_SCHEME",
    "X_WEBKIT_DEFLATE_FRAME_EXTENSION",
    "X_WEBKIT_PERMESSAGE_COMPRESSION_EXTENSION",
    "ExtensionParameter",
    "ExtensionParsingException",
    "format_extension",
    "format_extensions",
    "is_control_opcode",
    "parse_extensions",
]

LOGLEVEL_FINE = 9
"""The level below DEBUG at which every frame is logged."""

# Drafts 13 to 17 of the protocol and RFC 6455 share one version number.
VERSION_HYBI13 = 13
VERSION_HYBI14 = 13
VERSION_HYBI15 = 13
VERSION_HYBI16 = 13
VERSION_HYBI17 = 13
VERSION_HYBI_LATEST = VERSION_HYBI13
# Versions of earlier drafts, with which old handlers compare `request.ws_version`.
VERSION_HIXIE75 = -1
VERSION_HYBI00 = 0
VERSION_HYBI01 = 1
VERSION_HYBI02 = VERSION_HYBI03 = 2
VERSION_HYBI04 = 4
VERSION_HYBI05 = 5
VERSION_HYBI06 = 6
VERSION_HYBI07 = 7
VERSION_HYBI08 = VERSION_HYBI09 = VERSION_HYBI10 = VERSION_HYBI11 = VERSION_HYBI12 = 8

# RFC 6455 3
DEFAULT_WEB_SOCKET_PORT = 80
DEFAULT_WEB_SOCKET_SECURE_PORT = 443
WEB_SOCKET_SCHEME = "ws"
WEB_SOCKET_SECURE_SCHEME = "wss"

# RFC 6455 5.2
OPCODE_CONTINUATION = 0x0
OPCODE_TEXT = 0x1
OPCODE_BINARY = 0x2
OPCODE_CLOSE = 0x8
OPCODE_PING = 0x9
OPCODE_PONG = 0xA

# RFC 6455 1.3
WEBSOCKET_ACCEPT_UUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# RFC 6455 4.1 and 11.3
UPGRADE_HEADER = "Upgrade"
WEBSOCKET_UPGRADE_TYPE = "websocket"
CONNECTION_HEADER = "Connection"
UPGRADE_CONNECTION_TYPE = "Upgrade"
HOST_HEADER = "Host"
ORIGIN_HEADER = "Origin"
SEC_WEBSOCKET_KEY_HEADER = "Sec-WebSocket-Key"
SEC_WEBSOCKET_ACCEPT_HEADER = "Sec-WebSocket-Accept"
SEC_WEBSOCKET_VERSION_HEADER = "Sec-WebSocket-Version"
SEC_WEBSOCKET_PROTOCOL_HEADER = "Sec-WebSocket-Protocol"
SEC_WEBSOCKET_EXTENSIONS_HEADER = "Sec-WebSocket-Extensions"

# Headers of the drafts.
SEC_WEBSOCKET_DRAFT_HEADER = "Sec-WebSocket-Draft"
SEC_WEBSOCKET_KEY1_HEADER = "Sec-WebSocket-Key1"
SEC_WEBSOCKET_KEY2_HEADER = "Sec-WebSocket-Key2"
SEC_WEBSOCKET_LOCATION_HEADER = "Sec-WebSocket-Location"
SEC_WEBSOCKET_ORIGIN_HEADER = "Sec-WebSocket-Origin"
WEBSOCKET_UPGRADE_TYPE_HIXIE75 = "WebSocket"

# RFC 7692 7
PERMESSAGE_DEFLATE_EXTENSION = "permessage-deflate"
# Its predecessors, which no client offers any more.
DEFLATE_FRAME_EXTENSION = "deflate-frame"
DEFLATE_STREAM_EXTENSION = "deflate-stream"
MUX_EXTENSION = "mux_DO_NOT_USE"
PERFRAME_COMPRESSION_EXTENSION = "perframe-compress"
PERMESSAGE_COMPRESSION_EXTENSION = "permessage-compress"
X_WEBKIT_DEFLATE_FRAME_EXTENSION = "x-webkit-deflate-frame"
X_WEBKIT_PERMESSAGE_COMPRESSION_EXTENSION = "x-webkit-permessage-compress"

# RFC 6455 7.4.1. 1005, 1006 and 1015 describe what happened and are never sent.
STATUS_NORMAL_CLOSURE = 1000
STATUS_GOING_AWAY = 1001
STATUS_PROTOCOL_ERROR = 1002
STATUS_UNSUPPORTED_DATA = 1003
STATUS_NO_STATUS_RECEIVED = 1005
STATUS_ABNORMAL_CLOSURE = 1006
STATUS_INVALID_FRAME_PAYLOAD_DATA = 1007
STATUS_POLICY_VIOLATION = 1008
STATUS_MESSAGE_TOO_BIG = 1009
STATUS_MANDATORY_EXTENSION = 1010
STATUS_INTERNAL_ENDPOINT_ERROR = 1011
STATUS_TLS_HANDSHAKE = 1015
# RFC 6455 7.4.2
STATUS_USER_REGISTERED_BASE = 3000
STATUS_USER_REGISTERED_MAX = 3999
STATUS_USER_PRIVATE_BASE = 4000
STATUS_USER_PRIVATE_MAX = 4999
# Older spellings.
STATUS_NORMAL = STATUS_NORMAL_CLOSURE
STATUS_UNSUPPORTED = STATUS_UNSUPPORTED_DATA
STATUS_CODE_NOT_AVAILABLE = STATUS_NO_STATUS_RECEIVED
STATUS_ABNORMAL_CLOSE = STATUS_ABNORMAL_CLOSURE
STATUS_INVALID_FRAME_PAYLOAD = STATUS_INVALID_FRAME_PAYLOAD_DATA
STATUS_MANDATORY_EXT = STATUS_MANDATORY_EXTENSION

HTTP_STATUS_BAD_REQUEST = 400
HTTP_STATUS_FORBIDDEN = 403
HTTP_STATUS_NOT_FOUND = 404


def is_control_opcode(opcode: int) -> bool:
    """Tell whether the opcode is one of 0x8 to 0xf (RFC 6455 5.5)."""
    return (opcode >> 3) == 1


class ExtensionParameter:
    """One extension in a Sec-WebSocket-Extensions header: its name and its parameters, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parameters: list[tuple[str, str | None]] = []

    def name(self) -> str:
        """Return the extension's name."""
        return self._name

    def add_parameter(self, name: str, value: str | None) -> None:
        """Append a parameter; None is the value of one that has none."""
        self._parameters.append((name, value))

    def get_parameters(self) -> list[tuple[str, str | None]]:
        """Return the pairs of name and value."""
        return self._parameters

    def get_parameter_names(self) -> list[str]:
        """Return the names of the parameters, repeated ones included."""
        return [name for name, _ in self._parameters]

    def has_parameter(self, name: str) -> bool:
        """Tell whether there is a parameter of that name."""
        return any(name == own_name for own_name, _ in self._parameters)

    def get_parameter_value(self, name: str) -> str | None:
        """Return the value of the first parameter of that name, or None."""
        return next((value for own_name, value in self._parameters if name == own_name), None)


class ExtensionParsingException(Exception):
    """A Sec-WebSocket-Extensions header does not follow the grammar (RFC 6455 9.1)."""

    def __init__(self, name: object) -> None:
        super().__init__(name)


def parse_extensions(data: str) -> list[ExtensionParameter]:
    """Parse the value of a Sec-WebSocket-Extensions header, leading white space taken off.

    Raises:
        ExtensionParsingException: It does not follow the grammar, or names no extension.
    """
    try:
        parsed = _core.parse_extensions(data)
    except ValueError as error:
        raise ExtensionParsingException(str(error)) from None
    extensions = []
    for name, parameters in parsed:
        extension = ExtensionParameter(name)
        for parameter in parameters:
            extension.add_parameter(*parameter)
        extensions.append(extension)
    return extensions


def format_extension(extension: ExtensionParameter) -> str:
    """Format one extension for the header."""
    parts = [extension.name()]
    for name, value in extension.get_parameters():
        if value is None:
            parts.append(name)
        else:
            parts.append(f"{name}={http_header_util.quote_if_necessary(value)}")
    return "; ".join(parts)


def format_extensions(extension_list: Iterable[ExtensionParameter]) -> str:
    """Format the value of a Sec-WebSocket-Extensions header."""
    return ", ".join(map(format_extension, extension_list))


hide_annotations(globals())
