"""Frames made by hand, right or wrong (RFC 6455 5.2), and frames that came."""

from typing import NamedTuple

from fastwsh import _core
from fastwsh.testing.arguments import check_bytes

__all__ = ["Frame", "encode_frame"]

# The most significant bit of a length must be 0 (RFC 6455 5.2): the native formatter sees to it.
_LARGEST_VALID = (1 << 63) - 1
_MAX_LENGTH = (1 << 64) - 1


class Frame(NamedTuple):
    """What has come from a client: a message, of however many frames, or a control frame.

    Attributes:
        opcode: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        payload: A text as str, everything else as bytes; of a close frame code and reason.
    """

    opcode: int
    payload: str | bytes


def encode_frame(
    opcode: int,
    payload: str | bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    length: int | None = None,
) -> bytes:
    """Format one frame; what the protocol forbids is not refused.

    Args:
        opcode: 0 to 15: 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        payload: The payload, not masked; a text is encoded in UTF-8.
        fin: Whether it is the last frame of its message.
        rsv: The three reserved bits as a number, of which 4 is RSV1.
        mask: Four bytes to mask the payload with; None, as a server must, does not mask.
        length: What the header says of the length; None tells the truth.

    Raises:
        TypeError: An argument is no number, or no bytes.
        ValueError: A value has more bits than the header has room for.
    """
    for name, value, limit in (("opcode", opcode, 15), ("rsv", rsv, 7)):
        _check_number(value, name)
        if not 0 <= value <= limit:
            raise ValueError(f"{name} is {value}; a frame header has room for 0 to {limit}")
    if mask is not None:
        check_bytes(mask, "mask")
    if mask is not None and len(mask) != 4:
        raise ValueError(f"a mask of {len(mask)} bytes; it must be 4 bytes, or None")
    if not isinstance(payload, str):
        check_bytes(payload, "payload")
    data = payload.encode() if isinstance(payload, str) else bytes(payload)
    if length is not None:
        _check_number(length, "length")
    size = len(data) if length is None else length
    if not 0 <= size <= _MAX_LENGTH:
        raise ValueError(f"length is {size}; a frame header has room for 0 to 2**64 - 1")
    known = min(size, _LARGEST_VALID)
    head = _core.create_header(
        opcode, known, int(fin), rsv >> 2, rsv >> 1 & 1, rsv & 1, mask is not None
    )
    if size > known:
        head = head[:-8] + size.to_bytes(8)
    return head + data if mask is None else head + mask + _core.apply_mask(data, mask)


def _check_number(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} {value!r}; give a number")
