"""The envelope of a message between servers, and what was missed.

An envelope is a line of JSON and the message's bytes behind it:

    {"v": 1, "type": "text", "node": "9f2c…", "epoch": 12, "seq": 7}
    hello

Other programs may leave out everything but `type`, and so have no gaps. Names that are not known
are ignored, so that later versions may add some.
"""

import json
from dataclasses import dataclass
from typing import Final

__all__ = ["Envelope", "EnvelopeError", "Sequences", "encode"]

VERSION: Final = 1

_MAX_NUMBER: Final = 1 << 64

_TYPES: Final = {"text": True, "binary": False}


class EnvelopeError(ValueError):
    """Bytes are no envelope: `str()` says why."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message from elsewhere.

    Attributes:
        is_text: Whether the message is text.
        payload: Its bytes; UTF-8 if it is text.
        node: Who has published it; "" for a program that does not say.
        epoch: Numbers the series of this node; a new one begins when it forgets the last.
        seq: Numbers the messages of this node, topic and epoch, from 1.
    """

    is_text: bool
    payload: bytes
    node: str = ""
    epoch: int = 0
    seq: int = 0

    @classmethod
    def decode(cls, data: bytes) -> "Envelope":
        """Read an envelope.

        Raises:
            EnvelopeError: It is none of this version.
        """
        head, _, payload = data.partition(b"\n")
        try:
            fields = json.loads(head)
        except (ValueError, RecursionError):
            raise EnvelopeError("its first line is no JSON") from None
        if not isinstance(fields, dict):
            raise EnvelopeError("its first line is no object")
        if fields.get("v", VERSION) != VERSION:
            raise EnvelopeError(f"it is of version {fields['v']!r}, not {VERSION}")
        is_text = _TYPES.get(str(fields.get("type")))
        if is_text is None:
            raise EnvelopeError("its type is neither text nor binary")
        node, epoch, seq = (fields.get("node", ""), fields.get("epoch", 0), fields.get("seq", 0))
        if not isinstance(node, str) or not all(map(_is_number, (epoch, seq))):
            raise EnvelopeError("node, epoch and seq are a text and two numbers of 64 bits")
        if is_text:
            try:
                payload.decode()
            except UnicodeDecodeError:
                raise EnvelopeError("its text is not UTF-8") from None
        return cls(is_text, payload, node, epoch, seq)


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX_NUMBER


def encode(
    payload: bytes, *, is_text: bool, node: str | None = None, epoch: int = 0, seq: int = 0
) -> bytes:
    """Return the envelope of a message; without a node it has no number."""
    fields: dict[str, object] = {"v": VERSION, "type": "text" if is_text else "binary"}
    if node is not None:
        fields.update(node=node, epoch=epoch, seq=seq)
    return json.dumps(fields).encode() + b"\n" + payload


class Sequences:
    """Finds out what was missed, by the numbers of envelopes."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, tuple[int, int]]] = {}

    def missed(self, topic: str, envelope: Envelope) -> int:
        """Take the next message of a topic; return how many of its publisher were missed before."""
        if not envelope.seq:
            return 0
        nodes = self._seen.setdefault(topic, {})
        before = nodes.get(envelope.node)
        nodes[envelope.node] = envelope.epoch, envelope.seq
        # the first one that is heard of says nothing about those before it
        if before is None or before[0] != envelope.epoch:
            return 0
        return max(envelope.seq - before[1] - 1, 0)

    def forget(self, topic: str) -> None:
        """Forget a topic that is not listened to any more."""
        self._seen.pop(topic, None)
