"""Frames made by hand, frames parsed by hand, and the stream over a plain Python connection."""

import logging

import pytest

from fastwsh.pywebsocket import common, stream
from surface_support import client_frame, mask, open_request


class Reader:
    """Gives the bytes it was made of, and remembers how many were asked for each time."""

    def __init__(self, data):
        self._data = data
        self.asked = []

    def __call__(self, length):
        self.asked.append(length)
        data, self._data = self._data[:length], self._data[length:]
        assert len(data) == length
        return data


class Reverse:
    """A frame filter."""

    def filter(self, frame):
        frame.payload = frame.payload[::-1]
        frame.rsv1 = 1


@pytest.mark.parametrize(
    ("length", "mask_bit", "header"),
    [
        (0, False, "00"),
        (125, True, "fd"),
        (126, False, "7e 007e"),
        (65535, True, "fe ffff"),
        (65536, False, "7f 0000000000010000"),
        (2**63 - 1, True, "ff 7fffffffffffffff"),
    ],
)
def test_length_takes_the_fewest_octets(length, mask_bit, header):
    assert stream.create_length_header(length, mask_bit) == bytes.fromhex(header)


@pytest.mark.parametrize("length", [-1, 2**63, 2**64])
def test_length_out_of_range_is_refused(length):
    with pytest.raises(ValueError):
        stream.create_length_header(length, False)


def test_header_has_reserved_bits_and_opcodes():
    # FIN, RSV1, RSV3, opcode 0xb; mask bit, length 5
    assert stream.create_header(0xB, 5, 1, 1, 0, 1, 1) == bytes.fromhex("db 85")


def test_header_takes_keywords():
    header = stream.create_header(
        opcode=common.OPCODE_TEXT, payload_length=1, fin=0, rsv1=0, rsv2=0, rsv3=0, mask=False
    )
    assert header == bytes.fromhex("01 01")


@pytest.mark.parametrize(
    "arguments",
    [
        (0x10, 0, 0, 0, 0, 0, 0),
        (-1, 0, 0, 0, 0, 0, 0),
        (1, -1, 0, 0, 0, 0, 0),
        (1, 2**63, 0, 0, 0, 0, 0),
        (1, 0, 2, 0, 0, 0, 0),
        (1, 0, 0, 0xF, 0, 0, 0),
    ],
)
def test_header_value_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError):
        stream.create_header(*arguments)


def test_text_frame_is_encoded():
    assert stream.create_text_frame("\u65e5") == bytes.fromhex("81 03 e697a5")


def test_text_frame_may_have_any_opcode_and_length():
    frame = stream.create_text_frame("x" * 126, opcode=common.OPCODE_PING, fin=0)
    assert frame == bytes.fromhex("09 7e 007e") + b"x" * 126


def test_text_frame_of_bytes_is_an_attribute_error():
    with pytest.raises(AttributeError):
        stream.create_text_frame(b"abc")


@pytest.mark.parametrize("payload", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_binary_frame_takes_any_bytes(payload):
    assert stream.create_binary_frame(payload) == bytes.fromhex("82 03 616263")


def test_binary_frame_of_text_is_a_type_error():
    with pytest.raises(TypeError):
        stream.create_binary_frame("abc")


def test_masked_frame_carries_its_key():
    frame = stream.create_binary_frame(b"Hello", mask=True)
    assert frame[:2] == bytes.fromhex("82 85")
    key, payload = frame[2:6], frame[6:]
    assert bytes(a ^ b for a, b in zip(payload, key * 2, strict=False)) == b"Hello"


def test_masking_keys_differ():
    assert len({stream.create_binary_frame(b"", mask=True) for _ in range(8)}) > 1


def test_filters_change_the_frame():
    frame = stream.create_text_frame("abc", frame_filters=[Reverse()])
    assert frame == bytes.fromhex("c1 03 636261")


@pytest.mark.parametrize(
    ("create", "first_byte"),
    [
        (stream.create_close_frame, 0x88),
        (stream.create_ping_frame, 0x89),
        (stream.create_pong_frame, 0x8A),
    ],
)
def test_control_frame_carries_at_most_125_bytes(create, first_byte):
    assert create(b"x" * 125) == bytes([first_byte, 125]) + b"x" * 125
    with pytest.raises(stream.BadOperationException, match="125 bytes or less"):
        create(b"x" * 126)


@pytest.mark.parametrize(
    ("code", "reason", "body"),
    [
        (None, "", ""),
        (1000, "", "03e8"),
        (3000, "", "0bb8"),
        (4999, "", "1387"),
        (1001, "\xe9", "03e9 c3a9"),
    ],
)
def test_closing_handshake_body(code, reason, body):
    assert stream.create_closing_handshake_body(code, reason) == bytes.fromhex(body)


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 1015, 5000, 65536])
def test_closing_handshake_body_refuses_codes_that_are_not_sent(code):
    with pytest.raises(stream.BadOperationException):
        stream.create_closing_handshake_body(code, "")


def test_builder_sets_opcode_and_fin_of_fragments():
    builder = stream.FragmentedFrameBuilder(False)
    frames = [builder.build("a", False, False), builder.build("b", False, False)]
    frames += [builder.build("c", True, False), builder.build(b"d", True, True)]
    assert b"".join(frames) == bytes.fromhex("010161 000162 800163 820164")


def test_builder_refuses_to_mix_text_and_binary():
    builder = stream.FragmentedFrameBuilder(False)
    builder.build("a", False, False)
    with pytest.raises(ValueError, match="Message types are different"):
        builder.build(b"b", True, True)
    assert builder.build("c", True, False) == bytes.fromhex("800163")


def test_builder_takes_text_that_is_encoded_already():
    builder = stream.FragmentedFrameBuilder(False, [], False)
    assert builder.build(b"abc", True, False) == bytes.fromhex("8103616263")


@pytest.mark.parametrize(
    ("header", "asked"),
    [
        ("81 85", [1, 1, 4, 5]),
        ("81 fe 007e", [1, 1, 2, 4, 126]),
        ("81 ff 0000000000010000", [1, 1, 8, 4, 65536]),
    ],
)
def test_parse_frame_asks_for_no_more_than_the_frame(header, asked):
    payload = b"x" * asked[-1]
    reader = Reader(bytes.fromhex(header) + mask(payload))
    assert stream.parse_frame(reader) == (1, payload, 1, 0, 0, 0)
    assert reader.asked == asked


def test_parse_frame_reports_all_bits():
    reader = Reader(bytes.fromhex("7b 81") + mask(b"x"))
    assert stream.parse_frame(reader) == (0xB, b"x", 0, 1, 1, 1)


def test_parse_frame_of_a_client_is_not_masked():
    reader = Reader(bytes.fromhex("82 02 0001"))
    assert stream.parse_frame(reader, unmask_receive=False) == (2, b"\x00\x01", 1, 0, 0, 0)
    assert reader.asked == [1, 1, 2]


@pytest.mark.parametrize(("header", "unmask"), [("81 05", True), ("81 85", False)])
def test_parse_frame_refuses_the_wrong_mask_bit(header, unmask):
    reader = Reader(bytes.fromhex(header))
    with pytest.raises(stream.InvalidFrameException):
        stream.parse_frame(reader, unmask_receive=unmask)
    assert reader.asked == [1, 1]


def test_parse_frame_refuses_a_length_of_2_to_the_63():
    reader = Reader(bytes.fromhex("82 ff 8000000000000000"))
    with pytest.raises(stream.InvalidFrameException, match=r"2\^63"):
        stream.parse_frame(reader)


@pytest.mark.parametrize(("header", "octets"), [("81 fe 0005", 2), ("81 ff 0000000000000005", 8)])
def test_parse_frame_warns_of_a_length_that_is_not_minimal(caplog, header, octets):
    frame = bytes.fromhex(header) + mask(b"Hello")
    assert stream.parse_frame(Reader(frame), logging.getLogger("test"))[1] == b"Hello"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"5 is encoded using {octets} bytes" in record.getMessage()


def test_parse_frame_knows_that_old_drafts_allowed_any_length(caplog):
    frame = bytes.fromhex("81 fe 0005") + mask(b"Hello")
    stream.parse_frame(Reader(frame), ws_version=8)
    assert not caplog.records


def test_stream_reads_a_connection_that_returns_short():
    request = open_request()
    pieces = iter([bytes([byte]) for byte in client_frame(0x81, b"Hello")])
    request.connection.read = lambda _length: next(pieces)
    assert request.ws_stream.receive_message() == "Hello"


def test_stream_as_a_client_masks_and_reads_what_is_not_masked():
    options = stream.StreamOptions()
    options.mask_send = True
    options.unmask_receive = False
    request = open_request(bytes.fromhex("81 05 48656c6c6f"), options)
    request.ws_stream.send_message("Hi")
    assert request.connection.written[:2] == bytes.fromhex("81 82")
    assert request.ws_stream.receive_message() == "Hello"


def test_stream_starts_with_nobody_terminated():
    request = open_request()
    assert request.client_terminated is False
    assert request.server_terminated is False


def test_stream_answers_a_close_frame():
    request = open_request(client_frame(0x88, b"\x03\xe8bye"))
    assert request.ws_stream.receive_message() is None
    assert (request.ws_close_code, request.ws_close_reason) == (1000, "bye")
    assert request.connection.written == bytes.fromhex("88 02 03e8")


def test_receive_frame_gives_the_parts_of_a_frame():
    request = open_request(client_frame(0x89, b"p") + client_frame(0x82, b"q"))
    assert request.ws_stream._receive_frame() == (9, b"p", 1, 0, 0, 0)
    frame = request.ws_stream._receive_frame_as_frame_object()
    assert (frame.opcode, frame.payload, frame.fin) == (2, b"q", 1)
    assert request.connection.written == b""


def test_stream_applies_filters_of_plain_python():
    options = stream.StreamOptions()
    options.outgoing_frame_filters.append(Reverse())
    request = open_request(options=options)
    request.ws_stream.send_message("abc")
    assert request.connection.written == bytes.fromhex("c1 03 636261")


def test_stream_may_be_derived_from():
    class Counting(stream.Stream):
        def __init__(self, request, options, start):
            super().__init__(request, options)
            self.sent = start

        def send_message(self, message, end=True, binary=False):
            self.sent += 1
            super().send_message(message, end, binary)

    request = open_request()
    derived = Counting(request, stream.StreamOptions(), start=5)
    derived.send_message("x")
    assert derived.sent == 6
    assert request.connection.written == bytes.fromhex("81 01 78")
