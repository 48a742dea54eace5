"""The opening handshake (RFC 6455 4.2) around a handler's own part of it: accepting and refusing.

The rules are checked natively, by `_core.Connection.open`.
"""

from __future__ import annotations

import logging
import re

from fastwsh import _core, exception_groups
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import base, hybi
from fastwsh.pywebsocket.stream import Stream, StreamOptions
from fastwsh.running.handler_failures import kind_and_place, note_failure
from fastwsh.settings.defaults import DEFAULT_DEFLATE_LEVEL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Final

    from fastwsh.running.request import Request

__all__ = ["Handshaker", "refuse"]

# The loggers that wrote these lines in pywebsocket.
_HANDLER_LOGGER: Final = logging.getLogger("pywebsocket3.request_handler.WebSocketRequestHandler")
_HANDSHAKE_LOGGER: Final = logging.getLogger("pywebsocket3.handshake")

# RFC 9110 15: there is no status above.
_LAST_STATUS: Final = 599

# Headers of a refusal that say how the answer is sent, which is the server's business.
_OF_THE_SERVER: Final = frozenset(
    {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
)
# RFC 9110 5.5; characters beyond Latin-1 are sent in UTF-8, as those of accepting answers.
# Compiled when it is needed, as that takes milliseconds.
_FIELD_VALUE: Final = r"[\t\x20-\x7e\x80-\ud7ff\ue000-\U0010ffff]*"


class Handshaker(hybi.Handshaker):
    """The opening handshake with its rules checked and its answer formatted natively."""

    _logger = logging.getLogger("fastwsh.session.Handshaker")

    def __init__(self, request: Request, dispatcher: Any) -> None:
        # everything that the base class sets, without looking for the logger each time
        self._request = request
        self._dispatcher = dispatcher

    def begin(self) -> None:
        """Check the request and prepare it for the handler's extra handshake."""
        request = self._request
        connection = request._native
        request.ws_close_code = None
        request.ws_close_reason = None
        protocols, extensions, origin = connection.open()
        request.ws_resource = connection.resource
        request.ws_version = common.VERSION_HYBI_LATEST
        request.ws_origin = origin
        request.ws_protocol = None
        request.ws_requested_protocols = protocols
        if extensions is None:
            request.ws_requested_extensions = None
            request.ws_extension_processors = []
        else:
            request.ws_requested_extensions = [_to_parameter(*item) for item in extensions]
            request.ws_extension_processors = self._get_extension_processors_requested()
        request.extra_headers = []

    def finish(self) -> bool:
        """Send the answer; return whether the connection is open: not if the server is stopping."""
        request = self._request
        connection = request._native
        options = StreamOptions()
        # most clients offer nothing that is known
        if request.ws_extension_processors == []:
            request.ws_extensions = None
        else:
            self._process_extensions(options)
        if request.ws_extensions:
            self._set_up_compression(connection)
        stream = Stream(request, options)
        request.ws_stream = stream
        if request.ws_requested_protocols is not None or request.ws_protocol is not None:
            self._check_protocol_choice()
        has_subscribed = _core.Topics.begin(connection, stream)
        established = self._send_answer(connection)
        if established:
            if has_subscribed:
                _core.Topics.release(connection)
            if _HANDSHAKE_LOGGER.isEnabledFor(logging.INFO):
                # asked first, as collecting the arguments of a call costs more
                _HANDSHAKE_LOGGER.info("Established (%s protocol)", "RFC 6455")
        return established

    def _set_up_compression(self, connection: _core.Connection) -> None:
        """Compress as the options say; an embedder's options may not have these."""
        options = connection.server.websocket_server_options
        level = getattr(options, "deflate_level", DEFAULT_DEFLATE_LEVEL)
        min_bytes = getattr(options, "deflate_min_bytes", 0)
        for processor in self._request.ws_extension_processors:
            framer = getattr(processor, "_framer", None)
            if isinstance(framer, _core.DeflateFramer):
                framer.set_compression(level, min_bytes)
                framer.set_max_inflated_bytes(connection.max_inflated_bytes)

    def _send_answer(self, connection: _core.Connection) -> bool:
        request = self._request
        extra = request.extra_headers
        if extra != []:
            extra = [(str(name), str(value)) for name, value in extra]
            for name, value in extra:
                _check_text(name, value)
            if not connection.strict_compat:
                for name, value in extra:
                    _check_header(name, value, request.uri)
        extensions = request.ws_extensions
        return connection.send_answer(
            request.ws_protocol,
            common.format_extensions(extensions) if extensions else None,
            extra,
            request.connection,
        )


def refuse(request: Request, error: Exception) -> None:
    """Answer an opening handshake that failed with one of the handshake's exceptions."""
    connection = request._native
    if isinstance(error, base.VersionException):
        _HANDLER_LOGGER.info("Handshake failed for version error: %s", error)
        request._refused_with = common.HTTP_STATUS_BAD_REQUEST
        versions = [(common.SEC_WEBSOCKET_VERSION_HEADER, error.supported_versions)]
        connection.send_refusal(request._refused_with, _one_line(error), versions, b"")
        return
    why = _one_line(error)
    raised = [] if error.__cause__ is None else exception_groups.leaves(error.__cause__)
    mistakes = [leaf for leaf in raised if not isinstance(leaf, base.HandshakeException)]
    for mistake in mistakes:
        # the dispatcher turns every other exception of a handler into a HandshakeException
        note_failure(connection, mistake)
    if mistakes:
        why = f"{why} ({'; '.join(map(kind_and_place, mistakes))})"
    _HANDLER_LOGGER.info("Handshake failed for error: %s", error)
    request._refused_with = _refusal_status(getattr(error, "status", None), request)
    headers = _refusal_headers(getattr(error, "headers", None) or (), request.uri)
    body = getattr(error, "body", None)
    connection.send_refusal(
        request._refused_with, why, headers, None if body is None else bytes(body)
    )


def _refusal_status(given: Any, request: Request) -> int:
    """Return the status of a refusal: 400 if it names none, 403 if that would be no refusal."""
    if not given:
        return common.HTTP_STATUS_BAD_REQUEST
    # after 1xx the client waits for a further answer, and 101 opens the connection; on a stream
    # any 2xx does (RFC 8441 5)
    is_stream = not request.protocol.startswith("HTTP/1")
    if isinstance(given, int) and (300 if is_stream else 200) <= given <= _LAST_STATUS:
        return int(given)
    text = "the refusal of %s has a status that cannot be sent over %s: %r; 403 is sent"
    _HANDLER_LOGGER.error(text, request.uri, request.protocol, given)
    return common.HTTP_STATUS_FORBIDDEN


def _refusal_headers(given: Iterable[tuple[str, str]], target: str) -> list[tuple[str, str]]:
    """Return the headers of a handler's refusal that can be sent; log those that cannot."""
    headers = []
    for name, value in given:
        if str(name).lower() in _OF_THE_SERVER:
            continue
        is_name = 0 < len(str(name)) == _core.scan_token(str(name))
        if not is_name or not re.fullmatch(_FIELD_VALUE, str(value)):
            # the refusal has to be sent all the same
            text = "the refusal of %s has a header that cannot be sent: %r: %r"
            _HANDLER_LOGGER.error(text, target, name, value)
            continue
        headers.append((str(name), str(value)))
    return headers


def _one_line(error: BaseException) -> str:
    """Return an exception's text for a log line."""
    return " ".join(str(error).split())


def _check_text(name: str, value: str) -> None:
    """Refuse what cannot be sent at all: surrogates, of a file name that is not UTF-8 perhaps."""
    try:
        f"{name}{value}".encode()
    except UnicodeEncodeError:
        text = f"header {name!r} has no text that UTF-8 can encode: {value!r}"
        _HANDLER_LOGGER.error("%s", text)  # noqa: TRY400 (a handler's mistake, named)
        raise base.HandshakeException(text, common.HTTP_STATUS_FORBIDDEN) from None


def _check_header(name: str, value: str, target: str) -> None:
    try:
        _core.check_header_field(name, value, target)
    except ValueError as error:
        _HANDLER_LOGGER.error("%s", error)  # noqa: TRY400 (a handler's mistake, named)
        raise base.HandshakeException(str(error), common.HTTP_STATUS_FORBIDDEN) from None


def _to_parameter(name: str, parameters: list[tuple[str, str | None]]) -> common.ExtensionParameter:
    parameter = common.ExtensionParameter(name)
    for item in parameters:
        parameter.add_parameter(*item)
    return parameter
