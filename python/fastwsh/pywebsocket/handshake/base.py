"""The common part of opening handshakes over HTTP/1.1 and HTTP/2 (RFC 6455 4.2, RFC 8441).

`HandshakerBase` is a base class for others: web-platform-tests derive from it for WebSockets over
HTTP/2, with a request object in plain Python and lower-case header names.
"""

from __future__ import annotations

from fastwsh import _core
from fastwsh.pywebsocket import common, util
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.extensions import get_extension_processor
from fastwsh.pywebsocket.stream import Stream, StreamOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

__all__ = [
    "AbortedByUserException",
    "HandshakeException",
    "HandshakerBase",
    "Stream",
    "StreamOptions",
    "VersionException",
    "get_default_port",
    "get_extension_processor",
    "get_mandatory_header",
    "parse_host_header",
    "parse_token_list",
    "validate_mandatory_header",
    "validate_subprotocol",
]

_SUPPORTED_VERSIONS: Final = (common.VERSION_HYBI_LATEST,)

# White space around a header value is not part of it (RFC 9110 5.5).
_OPTIONAL_WHITE_SPACE: Final = " \t"


class AbortedByUserException(Exception):
    """A handler raises this to drop the connection: nothing more is sent, and TCP is closed."""


class HandshakeException(Exception):
    """The opening handshake fails.

    Args:
        name: What is wrong.
        status: The HTTP status to answer with; None leaves it to the code that catches this.
    """

    def __init__(self, name: object, status: int | None = None) -> None:
        super().__init__(name)
        self.status = status


class VersionException(Exception):
    """The client speaks a version of the protocol that is not supported (RFC 6455 4.4).

    Args:
        name: What is wrong.
        supported_versions: The value of Sec-WebSocket-Version in the answer.
    """

    def __init__(self, name: object, supported_versions: str = "") -> None:
        super().__init__(name)
        self.supported_versions = supported_versions


def get_default_port(is_secure: bool) -> int:
    """Return the default port of wss: or ws: URIs (RFC 6455 3)."""
    return common.DEFAULT_WEB_SOCKET_SECURE_PORT if is_secure else common.DEFAULT_WEB_SOCKET_PORT


def validate_subprotocol(subprotocol: str) -> None:
    """Check that the name of a subprotocol is a token (RFC 6455 4.1).

    Raises:
        HandshakeException: It is not.
    """
    if not subprotocol:
        raise HandshakeException("Invalid subprotocol name: empty")
    end = _core.scan_token(subprotocol)
    if end < len(subprotocol):
        raise HandshakeException(
            f"Invalid subprotocol name {subprotocol!r}: no token from {subprotocol[end]!r} on"
        )


def parse_host_header(request: Any) -> tuple[str, int]:
    """Split the Host header into host and port; the port may be the default one.

    Raises:
        HandshakeException: The port is not a number.
    """
    host, colon, port = request.headers_in[common.HOST_HEADER].partition(":")
    if not colon:
        return host, get_default_port(request.is_https())
    try:
        return host, int(port)
    except ValueError as error:
        raise HandshakeException(f"Invalid port number in the Host header: {error}") from error


def get_mandatory_header(request: Any, key: str) -> str:
    """Return the value of a header, without white space around it.

    Raises:
        HandshakeException: The request does not have the header.
    """
    value: str | None = request.headers_in.get(key)
    if value is None:
        raise HandshakeException(f"Header {key} is missing")
    return value.strip(_OPTIONAL_WHITE_SPACE)


def validate_mandatory_header(
    request: Any, key: str, expected_value: str, fail_status: int | None = None
) -> None:
    """Check that a header has the expected value; case does not matter.

    Raises:
        HandshakeException: It has not (with `fail_status`), or it is missing (with no status).
    """
    value = get_mandatory_header(request, key)
    if value.lower() != expected_value.lower():
        raise HandshakeException(
            f"Header {key} is {value!r}, not {expected_value!r}", status=fail_status
        )


def parse_token_list(data: str) -> list[str]:
    """Parse a list of tokens, leading white space taken off (`1#token`, RFC 9110 5.6.1).

    Raises:
        HandshakeException: It is no such list, or it is empty.
    """
    try:
        return _core.parse_token_list(data)
    except ValueError as error:
        raise HandshakeException(str(error)) from None


class HandshakerBase:
    """The opening handshake, up to the five steps that depend on the version of HTTP.

    Args:
        request: The request. `ws_...` attributes are set on it as the handshake proceeds.
        dispatcher: Its `do_extra_handshake` asks the handler.
    """

    def __init__(self, request: Any, dispatcher: Any) -> None:
        self._logger = util.get_class_logger(self)
        self._request = request
        self._dispatcher = dispatcher

    def _protocol_rfc(self) -> str:
        """Return the RFC that the handshake follows, for the log."""
        raise NotImplementedError

    def _transform_header(self, header: str) -> str:
        """Return the header's name in the request's form: HTTP/2 has names in lower case."""
        raise NotImplementedError

    def _validate_request(self) -> None:
        """Check what every request must have, before reading from it."""
        raise NotImplementedError

    def _set_accept(self) -> None:
        """Check the key and compute what to answer, if this version of HTTP has a key."""
        raise NotImplementedError

    def _send_handshake(self) -> None:
        """Send the answer that opens the connection."""
        raise NotImplementedError

    def do_handshake(self) -> None:
        """Check the request, ask the handler, create the stream, and answer.

        Raises:
            HandshakeException: The request is not acceptable, or the handler refused it. Its status
                is None if the request is not a WebSocket handshake at all.
            VersionException: The client speaks another version of the protocol.
            AbortedByUserException: The handler wants the connection dropped.
        """
        request = self._request
        request.ws_close_code = None
        request.ws_close_reason = None
        self._validate_request()
        request.ws_resource = request.uri
        request.ws_version = self._check_version()
        try:
            self._negotiate()
        except HandshakeException as error:
            error.status = error.status or common.HTTP_STATUS_BAD_REQUEST
            raise

    def _negotiate(self) -> None:
        request = self._request
        self._get_origin()
        self._set_protocol()
        self._parse_extensions()
        self._set_accept()
        self._logger.debug("Protocol version is %s", self._protocol_rfc())
        request.ws_extension_processors = self._get_extension_processors_requested()
        request.extra_headers = []

        # The handler may replace the processors, the subprotocols and the headers: all of them are
        # read again below.
        self._dispatcher.do_extra_handshake(request)

        stream_options = StreamOptions()
        self._process_extensions(stream_options)
        request.ws_stream = Stream(request, stream_options)
        self._check_protocol_choice()
        self._send_handshake()

    def _check_version(self) -> int:
        header = self._transform_header(common.SEC_WEBSOCKET_VERSION_HEADER)
        value = get_mandatory_header(self._request, header)
        for version in _SUPPORTED_VERSIONS:
            if value == str(version):
                return version
        if "," in value:
            raise HandshakeException(
                f"Header {header} names several versions: {value!r}",
                status=common.HTTP_STATUS_BAD_REQUEST,
            )
        raise VersionException(
            f"Header {header} names an unsupported version: {value!r}",
            supported_versions=", ".join(map(str, _SUPPORTED_VERSIONS)),
        )

    def _get_origin(self) -> None:
        origin = self._request.headers_in.get(self._transform_header(common.ORIGIN_HEADER))
        if origin is None:
            self._logger.debug("The request has no Origin header")
        self._request.ws_origin = origin

    def _set_protocol(self) -> None:
        request = self._request
        request.ws_protocol = None
        value = self._get_list_header(common.SEC_WEBSOCKET_PROTOCOL_HEADER)
        request.ws_requested_protocols = None if value is None else parse_token_list(value)
        self._logger.debug("Subprotocols requested: %r", request.ws_requested_protocols)

    def _check_protocol_choice(self) -> None:
        request = self._request
        if request.ws_requested_protocols is None:
            if request.ws_protocol is not None:
                raise HandshakeException(
                    f"The handler chose the subprotocol {request.ws_protocol!r}, "
                    "and the client requested none"
                )
        elif request.ws_protocol is None:
            raise HandshakeException(
                "The handler chose no subprotocol: web_socket_do_extra_handshake must set "
                "request.ws_protocol to one of request.ws_requested_protocols"
            )
        else:
            validate_subprotocol(request.ws_protocol)
            self._logger.debug("Subprotocol accepted: %r", request.ws_protocol)

    def _parse_extensions(self) -> None:
        value = self._get_list_header(common.SEC_WEBSOCKET_EXTENSIONS_HEADER)
        if not value:
            self._request.ws_requested_extensions = None
            return
        try:
            requested = common.parse_extensions(value)
        except common.ExtensionParsingException as error:
            raise HandshakeException(
                f"Header {common.SEC_WEBSOCKET_EXTENSIONS_HEADER} is malformed: {error}"
            ) from error
        self._request.ws_requested_extensions = requested
        self._log_extensions("requested", requested)

    def _get_extension_processors_requested(self) -> list[Any]:
        """Return a processor for each known extension, in the order of the client's preference."""
        offers = self._request.ws_requested_extensions or ()
        processors = map(get_extension_processor, offers)
        return [processor for processor in processors if processor is not None]

    def _process_extensions(self, stream_options: Any) -> None:
        """Let the processors answer; the first one that accepts its offer is the only one."""
        present = [item for item in self._request.ws_extension_processors if item is not None]
        # Backwards, so that the first processor decides last which processors exclude each other.
        for processor in reversed(present):
            if processor.is_active():
                processor.check_consistency_with_other_processors(present)

        accepted: list[common.ExtensionParameter] = []
        for processor in present:
            if not processor.is_active():
                continue
            if accepted:
                processor.set_active(False)
                continue
            response = processor.get_extension_response()
            if response is not None:
                accepted.append(response)
                processor.setup_stream_options(stream_options)
        self._request.ws_extensions = accepted or None
        self._log_extensions("accepted", accepted)

    def _log_extensions(self, what: str, extensions: Sequence[common.ExtensionParameter]) -> None:
        if not extensions:
            return
        self._logger.debug("Extensions %s: %r", what, [item.name() for item in extensions])

    def _get_list_header(self, name: str) -> str | None:
        """Return the value of a list header, with repeated headers combined (RFC 9110 5.3)."""
        headers = self._request.headers_in
        name = self._transform_header(name)
        value: str | None
        if hasattr(headers, "get_all"):
            values = headers.get_all(name)
            value = None if values is None else ", ".join(values)
        else:
            value = headers.get(name)
        return None if value is None else value.strip(_OPTIONAL_WHITE_SPACE)


hide_annotations(globals())
