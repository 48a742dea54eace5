"""Extension processors: the server's side of the negotiation of extensions (RFC 7692).

A handler finds them in `request.ws_extension_processors` and may configure or remove them in its
extra handshake; those of permessage-deflate may also be switched during the data phase.
"""

from __future__ import annotations

from fastwsh import _core
from fastwsh.pywebsocket import common, util
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.http_header_util import quote_if_necessary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CompressionExtensionProcessorBase",
    "DeflateFrameExtensionProcessor",
    "DeflateMessageProcessor",
    "ExtensionProcessorInterface",
    "MuxExtensionProcessor",
    "PerFrameCompressionExtensionProcessor",
    "PerMessageCompressionExtensionProcessor",
    "PerMessageDeflateExtensionProcessor",
    "get_extension_processor",
    "quote_if_necessary",
]

_PerMessageDeflateFramer = _core.DeflateFramer


class ExtensionProcessorInterface:
    """Answers one offer of an extension, and sets the stream up for it.

    Args:
        request: The offer.
    """

    def __init__(self, request: common.ExtensionParameter) -> None:
        self._logger = util.get_class_logger(self)
        self._request = request
        self._active = True

    def request(self) -> common.ExtensionParameter:
        """Return the offer."""
        return self._request

    def name(self) -> str | None:
        """Return the name by which handlers know the processor."""
        return None

    def check_consistency_with_other_processors(self, processors: list[Any]) -> None:
        """Deactivate the processor, or others in the list, if they exclude each other."""

    def set_active(self, active: bool) -> None:
        """Accept or decline the offer regardless of what it says."""
        self._active = active

    def is_active(self) -> bool:
        """Tell whether the offer is, or may yet be, accepted."""
        return self._active

    def get_extension_response(self) -> common.ExtensionParameter | None:
        """Return the answer to the offer, or None, which deactivates the processor."""
        if not self._active:
            self._logger.debug("Extension %s is switched off", self.name())
            return None
        response = self._get_extension_response_internal()
        if response is None:
            self._active = False
        return response

    def setup_stream_options(self, stream_options: Any) -> None:
        """Add the extension's filters to the stream, if the offer was accepted."""
        if self._active:
            self._setup_stream_options_internal(stream_options)

    def _get_extension_response_internal(self) -> common.ExtensionParameter | None:
        return None

    def _setup_stream_options_internal(self, stream_options: Any) -> None:
        pass


class PerMessageDeflateExtensionProcessor(ExtensionProcessorInterface):
    """Answers an offer of permessage-deflate (RFC 7692 7.1)."""

    _SERVER_MAX_WINDOW_BITS_PARAM = "server_max_window_bits"
    _SERVER_NO_CONTEXT_TAKEOVER_PARAM = "server_no_context_takeover"
    _CLIENT_MAX_WINDOW_BITS_PARAM = "client_max_window_bits"
    _CLIENT_NO_CONTEXT_TAKEOVER_PARAM = "client_no_context_takeover"

    # Both exist as soon as the offer is accepted. The second only describes how the framer
    # compresses; the framer itself compresses.
    _framer: _core.DeflateFramer
    _rfc1979_deflater: util._RFC1979Deflater

    def __init__(self, request: common.ExtensionParameter) -> None:
        super().__init__(request)
        self._preferred_client_max_window_bits: int | None = None
        self._client_no_context_takeover = False

    def name(self) -> str:
        """Return "deflate", the name that handlers compare with."""
        return "deflate"

    def set_client_max_window_bits(self, value: int | None) -> None:
        """Limit the client's window; an offer that does not allow this is then declined.

        Takes effect when called in the extra handshake. If the client offered a limit of its own,
        the lower one is answered.
        """
        self._preferred_client_max_window_bits = value

    def set_client_no_context_takeover(self, value: bool) -> None:
        """Tell the client to compress each message by itself.

        Takes effect when called in the extra handshake.
        """
        self._client_no_context_takeover = value

    def set_bfinal(self, value: bool) -> None:
        """Set whether messages end with a final DEFLATE block, at any time in the data phase."""
        self._framer.set_bfinal(value)

    def enable_outgoing_compression(self) -> None:
        """Compress messages from now on. May be called at any time in the data phase."""
        self._framer.set_compress_outgoing_enabled(True)

    def disable_outgoing_compression(self) -> None:
        """Send messages uncompressed from now on. May be called at any time in the data phase."""
        self._framer.set_compress_outgoing_enabled(False)

    def _get_extension_response_internal(self) -> common.ExtensionParameter | None:
        try:
            offer = _core.DeflateOffer.parse(self._request.get_parameters())
        except ValueError as error:
            self._logger.debug("Declined %s: %s", self._request.name(), error)
            return None

        window_bits = offer.server_max_window_bits
        no_takeover = offer.server_no_context_takeover
        self._rfc1979_deflater = util._RFC1979Deflater(window_bits, no_takeover)
        self._framer = _PerMessageDeflateFramer(window_bits, no_takeover)
        self._framer.set_bfinal(False)
        self._framer.set_compress_outgoing_enabled(True)

        response = common.ExtensionParameter(self._request.name())
        if window_bits is not None:
            response.add_parameter(self._SERVER_MAX_WINDOW_BITS_PARAM, str(window_bits))
        if no_takeover:
            response.add_parameter(self._SERVER_NO_CONTEXT_TAKEOVER_PARAM, None)
        if self._preferred_client_max_window_bits is not None:
            limit = self._client_max_window_bits(offer, self._preferred_client_max_window_bits)
            if limit is None:
                return None
            response.add_parameter(self._CLIENT_MAX_WINDOW_BITS_PARAM, str(limit))
        if self._client_no_context_takeover:
            response.add_parameter(self._CLIENT_NO_CONTEXT_TAKEOVER_PARAM, None)
        self._logger.debug("Accepted as %s", common.format_extension(response))
        return response

    def _client_max_window_bits(self, offer: _core.DeflateOffer, preferred: int) -> int | None:
        """Return the limit to answer, or None if the client does not allow one."""
        allowed = offer.client_max_window_bits
        if allowed is None:
            self._logger.debug(
                "Declined %s: %s was asked for, and the client does not offer it",
                self._request.name(),
                self._CLIENT_MAX_WINDOW_BITS_PARAM,
            )
            return None
        # If the offer has no value, the handler's value is sent unchecked: tests of clients use
        # limits that no server may set.
        if self._request.get_parameter_value(self._CLIENT_MAX_WINDOW_BITS_PARAM) is None:
            return preferred
        return min(preferred, allowed)

    def _setup_stream_options_internal(self, stream_options: Any) -> None:
        self._framer.setup_stream_options(stream_options)


class _HistoricalProcessor(ExtensionProcessorInterface):
    """Stands for the processor of an extension that never became a standard.

    No client offers these any more, so that a handler never finds one in
    `request.ws_extension_processors`; but it may look for one with `isinstance`.
    """

    def __init__(self, request: common.ExtensionParameter) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is gone with its extension, which never became a standard: "
            "PerMessageDeflateExtensionProcessor does permessage-deflate (RFC 7692)"
        )


class CompressionExtensionProcessorBase(_HistoricalProcessor):
    """The common part of permessage-compress and perframe-compress."""


class DeflateFrameExtensionProcessor(_HistoricalProcessor):
    """Answered offers of deflate-frame and x-webkit-deflate-frame."""


class DeflateMessageProcessor(_HistoricalProcessor):
    """Did the deflate method of permessage-compress."""


class MuxExtensionProcessor(_HistoricalProcessor):
    """Answered offers of multiplexing."""


class PerFrameCompressionExtensionProcessor(CompressionExtensionProcessorBase):
    """Answered offers of perframe-compress."""


class PerMessageCompressionExtensionProcessor(CompressionExtensionProcessorBase):
    """Answered offers of permessage-compress."""


def _parse_window_bits(bits: str | None) -> int:
    """Return 8 to 15. Raises ValueError for every other text (RFC 7692 7.1.2)."""
    return _core.parse_window_bits(bits)


_available_processors: dict[str, Any] = {
    common.PERMESSAGE_DEFLATE_EXTENSION: PerMessageDeflateExtensionProcessor
}


def get_extension_processor(extension_request: common.ExtensionParameter) -> Any:
    """Return a new processor for the offer, or None if the extension is not known."""
    processor = _available_processors.get(extension_request.name())
    return None if processor is None else processor(extension_request)


hide_annotations(globals())
