"""The stream of a connection, and frames made by hand (RFC 6455 5).

`Stream` is the native state machine that also runs `request.ws_stream`. The functions here are for
handlers that send frames of their own, right or wrong, and for clients.
"""

from __future__ import annotations

import logging
import os

from fastwsh import _core
from fastwsh._core import Stream
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket._stream_exceptions import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    InvalidUTF8Exception,
    UnsupportedFrameException,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

__all__ = [
    "BadOperationException",
    "ConnectionTerminatedException",
    "FragmentedFrameBuilder",
    "Frame",
    "InvalidFrameException",
    "InvalidUTF8Exception",
    "Stream",
    "StreamOptions",
    "UnsupportedFrameException",
    "create_binary_frame",
    "create_close_frame",
    "create_closing_handshake_body",
    "create_header",
    "create_length_header",
    "create_ping_frame",
    "create_pong_frame",
    "create_text_frame",
    "parse_frame",
]

_MAX_CONTROL_PAYLOAD_BYTES: Final = 125  # RFC 6455 5.5


class Frame:
    """A frame: the flags and the opcode of its header, and its payload, not masked."""

    def __init__(
        self,
        fin: int = 1,
        rsv1: int = 0,
        rsv2: int = 0,
        rsv3: int = 0,
        opcode: Any = None,
        payload: Any = b"",
    ) -> None:
        self.fin = fin
        self.rsv1 = rsv1
        self.rsv2 = rsv2
        self.rsv3 = rsv3
        self.opcode = opcode
        self.payload = payload


class StreamOptions(_core.StreamOptions):
    """How a `Stream` treats frames and messages.

    Attributes:
        outgoing_frame_filters: Objects with a method `filter(frame)` that changes each frame before
            it is sent.
        incoming_frame_filters: The same for each frame that was received.
        outgoing_message_filters: Objects with a method `filter(message, end, binary)` that returns
            the message to send instead. Control frames do not pass through them.
        incoming_message_filters: Objects with a method `filter(message)` that returns the message
            to receive instead.
        encode_text_message_to_utf8: Whether text still has to be encoded after the filters.
        mask_send: Whether to mask frames, as a client must.
        unmask_receive: Whether frames must arrive masked, as a server's do.
    """


def create_length_header(length: int, mask: object) -> bytes:
    """Format the length part of a frame header.

    Raises:
        ValueError: The length is negative, or 2**63 and above.
    """
    return _core.create_length_header(length, bool(mask))


def create_header(
    opcode: int, payload_length: int, fin: int, rsv1: int, rsv2: int, rsv3: int, mask: object
) -> bytes:
    """Format a frame header without its masking key. Reserved bits and opcodes are not refused.

    Raises:
        ValueError: A value has more bits than the header has room for.
    """
    return _core.create_header(opcode, payload_length, fin, rsv1, rsv2, rsv3, bool(mask))


def create_binary_frame(
    message: Any,
    opcode: int = common.OPCODE_BINARY,
    fin: int = 1,
    mask: object = False,
    frame_filters: Iterable[Any] = [],
) -> bytes:
    """Format a frame with bytes, after applying the filters."""
    frame = Frame(fin=fin, opcode=opcode, payload=message)
    _apply(frame_filters, frame)
    return _format(frame, mask)


def create_text_frame(
    message: Any,
    opcode: int = common.OPCODE_TEXT,
    fin: int = 1,
    mask: object = False,
    frame_filters: Iterable[Any] = [],
) -> bytes:
    """Format a frame with text, after applying the filters."""
    return create_binary_frame(message.encode("utf-8"), opcode, fin, mask, frame_filters)


def create_ping_frame(
    body: Any,
    mask: object = False,
    frame_filters: Iterable[Any] = [],
) -> bytes:
    """Format a ping. Raises BadOperationException for more than 125 bytes."""
    return _create_control_frame(common.OPCODE_PING, body, mask, frame_filters)


def create_pong_frame(
    body: Any,
    mask: object = False,
    frame_filters: Iterable[Any] = [],
) -> bytes:
    """Format a pong. Raises BadOperationException for more than 125 bytes."""
    return _create_control_frame(common.OPCODE_PONG, body, mask, frame_filters)


def create_close_frame(
    body: Any,
    mask: object = False,
    frame_filters: Iterable[Any] = [],
) -> bytes:
    """Format a close frame. Raises BadOperationException for more than 125 bytes."""
    return _create_control_frame(common.OPCODE_CLOSE, body, mask, frame_filters)


def create_closing_handshake_body(code: int | None, reason: Any) -> bytes:
    """Format the body of a close frame; it is empty if `code` is None.

    Raises:
        BadOperationException: The code may not be sent (RFC 6455 7.4.1).
    """
    return _core.create_closing_handshake_body(code, reason)


class FragmentedFrameBuilder:
    """Formats messages piece by piece, and gives each frame its opcode and FIN bit (RFC 6455 5.4).

    Args:
        mask: Whether to mask the frames.
        frame_filters: Filters to apply to each frame.
        encode_utf8: Whether text has yet to be encoded.
    """

    def __init__(
        self,
        mask: object,
        frame_filters: Iterable[Any] = [],
        encode_utf8: bool = True,
    ) -> None:
        self._mask = mask
        self._frame_filters = frame_filters
        self._encode_utf8 = encode_utf8
        # The opcode of an unfinished message.
        self._unfinished: int | None = None

    def build(self, payload_data: Any, end: object, binary: object) -> bytes:
        """Format the next piece; `end` tells that it is the last one of its message.

        Raises:
            ValueError: The pieces of one message are partly text and partly binary.
        """
        kind = common.OPCODE_BINARY if binary else common.OPCODE_TEXT
        if self._unfinished not in (None, kind):
            raise ValueError("Message types are different in frames for the same message")
        opcode = kind if self._unfinished is None else common.OPCODE_CONTINUATION
        self._unfinished = None if end else kind
        create = create_binary_frame if binary or not self._encode_utf8 else create_text_frame
        return create(payload_data, opcode, 1 if end else 0, self._mask, self._frame_filters)


def parse_frame(
    receive_bytes: Callable[[int], bytes],
    logger: Any = None,
    ws_version: int = common.VERSION_HYBI_LATEST,
    unmask_receive: bool = True,
) -> tuple[int, bytes, int, int, int, int]:
    """Read a frame, and not one byte more.

    Args:
        receive_bytes: Returns exactly as many bytes as it is asked for, or raises
            ConnectionTerminatedException.
        logger: Gets a warning for a length in more octets than necessary (RFC 6455 5.2).
        ws_version: Versions before 13 did not require the fewest octets.
        unmask_receive: Whether the frame must be masked; if not, it must not be.

    Returns:
        The opcode, the payload, and the bits FIN, RSV1, RSV2 and RSV3.

    Raises:
        InvalidFrameException: The mask bit is wrong, or the length is 2**63 or above.
    """
    logger = logger or logging.getLogger()
    header = _core.HeaderDecoder(bool(unmask_receive))
    header.feed(bytes(receive_bytes(1)))
    header.feed(bytes(receive_bytes(1)))
    if header.length_octets > 1:
        header.feed(bytes(receive_bytes(header.length_octets)))
    if unmask_receive:
        header.feed(bytes(receive_bytes(4)))
    if not header.minimal and ws_version >= common.VERSION_HYBI13:
        logger.warning(
            "Payload length is not encoded using the minimal number of bytes "
            "(%d is encoded using %d bytes)",
            header.payload_length,
            header.length_octets,
        )
    logger.log(
        common.LOGLEVEL_FINE,
        "Frame header: FIN=%s, RSV=%s%s%s, opcode=%s, mask=%r, length=%s",
        header.fin,
        header.rsv1,
        header.rsv2,
        header.rsv3,
        header.opcode,
        header.masking_key,
        header.payload_length,
    )
    payload = receive_bytes(header.payload_length)
    if header.masking_key is not None:
        payload = _core.apply_mask(bytes(payload), header.masking_key)
    return header.opcode, payload, header.fin, header.rsv1, header.rsv2, header.rsv3


def _create_control_frame(
    opcode: int, body: Any, mask: object, frame_filters: Iterable[Any]
) -> bytes:
    frame = Frame(opcode=opcode, payload=body)
    _apply(frame_filters, frame)
    if len(frame.payload) > _MAX_CONTROL_PAYLOAD_BYTES:
        raise BadOperationException("Payload data size of control frames must be 125 bytes or less")
    return _format(frame, mask)


def _apply(frame_filters: Iterable[Any], frame: Frame) -> None:
    for frame_filter in frame_filters:
        frame_filter.filter(frame)


def _format(frame: Frame, mask: object) -> bytes:
    payload = frame.payload
    header = create_header(
        frame.opcode, len(payload), frame.fin, frame.rsv1, frame.rsv2, frame.rsv3, mask
    )
    if mask:
        # The author of the payload must not be able to guess it (RFC 6455 10.3).
        key = os.urandom(4)
        header += key
        payload = _core.apply_mask(bytes(payload), key)
    frame_bytes: bytes = header + payload
    return frame_bytes


# handlers log by it, as by the logger that pywebsocket's own class has
setattr(Stream, "_logger", logging.getLogger("pywebsocket3.stream.Stream"))  # noqa: B010 (not in the stub)

hide_annotations(globals())
