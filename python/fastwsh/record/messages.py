"""Makes messages of the frames of one direction, decompressed if that was negotiated."""

from contextlib import suppress
from typing import Final

from fastwsh import _core
from fastwsh.record.frame_finder import Frame
from fastwsh.testing import clock
from fastwsh.testing.har import BINARY, CLOSE, TEXT, Message

__all__ = ["Assembler"]

# The end of every compressed message, which is not sent (RFC 7692 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"
# The largest window works for all smaller ones.
_WINDOW_BITS: Final = 15
# A message that would be longer is kept compressed: a peer must not fill the recorder's memory.
_MAX_INFLATED_BYTES: Final = 256 * 1024 * 1024


class Assembler:
    """Assembles the frames of one direction.

    Args:
        from_client: Whether the frames come from the client.
        is_compressed: Whether permessage-deflate was negotiated.
    """

    def __init__(self, *, from_client: bool, is_compressed: bool) -> None:
        self._from_client = from_client
        self._inflater = _core.RawInflater(_WINDOW_BITS) if is_compressed else None
        self._begun: list[Frame] = []

    def add(self, frame: Frame) -> Message | None:
        """Take a frame; return the message that it ends, or the control frame that it is."""
        now = clock.time()
        if frame.opcode >= CLOSE:
            return Message(self._from_client, now, frame.opcode, frame.payload)
        self._begun.append(frame)
        if not frame.fin:
            return None
        frames, self._begun = self._begun, []
        payload = b"".join(one.payload for one in frames)
        sizes = tuple(len(one.payload) for one in frames) if len(frames) > 1 else ()
        if frames[0].is_compressed and self._inflater is not None:
            payload = self._inflate(payload)
        data: str | bytes = payload
        if (opcode := frames[0].opcode or BINARY) == TEXT:
            with suppress(UnicodeDecodeError):
                data = payload.decode()
        return Message(self._from_client, now, opcode, data, sizes)

    def _inflate(self, payload: bytes) -> bytes:
        assert self._inflater is not None  # noqa: S101 (the caller has looked)
        try:
            self._inflater.append(payload + _TAIL)
            inflated = self._inflater.decompress(_MAX_INFLATED_BYTES)
            rest = self._inflater.decompress(1)
        except ValueError:
            rest, inflated = b"?", b""
        if not rest:
            return inflated
        # later messages cannot be decompressed either
        self._inflater = None
        return payload
