"""Finds the frames in the bytes of one direction, which pass even if they are not frames.

Nothing is checked and nothing is changed.
"""

from dataclasses import dataclass

from fastwsh import _core
from fastwsh.pywebsocket.stream import InvalidFrameException

__all__ = ["Frame", "FrameFinder"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that has passed."""

    opcode: int
    fin: bool
    is_compressed: bool
    payload: bytes


class FrameFinder:
    """Finds frames in bytes that arrive in pieces of any size.

    Args:
        is_masked: Whether frames should be masked; others are understood as well.
    """

    def __init__(self, *, is_masked: bool) -> None:
        self._is_masked = is_masked
        self._is_lost = False
        self._begin()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames that end in them. None follow an invalid frame."""
        frames: list[Frame] = []
        place = 0
        while place < len(data) and not self._is_lost:
            if self._missing:
                piece = data[place : place + self._missing]
                self._feed_head(piece)
            else:
                piece = data[place : place + self._left]
                self._payload += piece
                self._left -= len(piece)
            place += len(piece)
            if not (self._missing or self._left or self._is_lost):
                frames.append(self._end())
                self._begin()
        return frames

    def _begin(self) -> None:
        self._decoder = _core.HeaderDecoder(self._is_masked)
        self._head, self._fed = b"", 0
        # of the header; of the payload
        self._missing, self._left = 2, 0
        self._payload = bytearray()

    def _feed_head(self, piece: bytes) -> None:
        self._head += piece
        self._missing -= len(piece)
        if self._missing:
            return
        try:
            self._missing = self._decoder.feed(self._head[self._fed :])
        except InvalidFrameException:
            # the mask bit or the length is invalid
            decoder = _core.HeaderDecoder(not self._is_masked)
            try:
                self._missing = decoder.feed(self._head)
            except InvalidFrameException:
                self._is_lost = True
                return
            self._decoder = decoder
        self._fed = len(self._head)
        if not self._missing:
            self._left = self._decoder.payload_length

    def _end(self) -> Frame:
        decoder, payload = self._decoder, bytes(self._payload)
        if (key := decoder.masking_key) is not None:
            payload = _core.apply_mask(payload, key)
        return Frame(decoder.opcode, bool(decoder.fin), bool(decoder.rsv1), payload)
