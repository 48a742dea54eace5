"""The envelope around a message between servers: what it says, and what is none."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastwsh.backplane.envelope import Envelope, EnvelopeError, Sequences, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
JSON = VALUES | st.fixed_dictionaries(
    {"type": VALUES | st.just("text")},
    optional=dict.fromkeys(("v", "node", "epoch", "seq"), VALUES),
)


class TestEnvelope:
    @given(
        payload=st.binary(),
        node=st.text(),
        epoch=st.integers(0, 2**64 - 1),
        seq=st.integers(0, 2**64 - 1),
    )
    def test_comes_back_as_it_was(self, payload, node, epoch, seq):
        data = encode(payload, is_text=False, node=node, epoch=epoch, seq=seq)
        assert Envelope.decode(data) == Envelope(False, payload, node, epoch, seq)

    def test_of_another_program(self):
        assert Envelope.decode(b'{"type":"text","new":[1]}\na\nb') == Envelope(True, b"a\nb")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"hello",
            b"[1]\nx",
            b"{}\nx",
            b'{"type":"text","v":2}\nx',
            b'{"type":"json"}\nx',
            b'{"type":"text"}\n\xff',
            b'{"type":"text","node":1}\nx',
            b'{"type":"text","seq":"1"}\nx',
            b'{"type":"text","seq":-1}\nx',
            b'{"type":"text","seq":true}\nx',
            b'{"type":"text","seq":18446744073709551616}\nx',
            b'{"type":"text","epoch":1' + b"0" * 30 + b"}\nx",
            b'{"type":[]}\nx',
            b'{"type":null}\nx',
            b"[" * 100_000 + b"\nx",
            b"\xff\n",
        ],
    )
    def test_anything_else_is_told(self, data):
        with pytest.raises(EnvelopeError):
            Envelope.decode(data)

    @given(fields=JSON, payload=st.binary(max_size=5))
    def test_any_json_is_used_or_told(self, fields, payload):
        with contextlib.suppress(EnvelopeError):
            Sequences().missed("t", Envelope.decode(json.dumps(fields).encode() + b"\n" + payload))

    def test_gaps_are_counted(self):
        sequences = Sequences()

        def take(seq: int, node: str = "a", epoch: int = 1, topic: str = "t") -> int:
            return sequences.missed(topic, Envelope(True, b"", node, epoch, seq))

        assert [take(5), take(6), take(9), take(1, "b"), take(10)] == [0, 0, 2, 0, 0]
        # another epoch, another topic, no number, and a topic that was left
        assert [take(3, epoch=2), take(7, topic="u"), take(0), take(4, epoch=2)] == [0, 0, 0, 0]
        sequences.forget("t")
        assert take(99, epoch=2) == 0
        # of a program that names no epoch
        assert [take(7, "c", epoch=0), take(9, "c", epoch=0)] == [0, 1]


def test_envelope_is_what_the_docs_say():
    line, _, payload = encode(b"hello", is_text=True, node="n", epoch=1, seq=2).partition(b"\n")
    assert json.loads(line) == {"v": 1, "type": "text", "node": "n", "epoch": 1, "seq": 2}
    assert payload == b"hello"
