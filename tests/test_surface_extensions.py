"""permessage-deflate is negotiated as RFC 7692 7.1 says and pywebsocket answers."""

import pytest

from fastwsh.pywebsocket import common, extensions, stream
from surface_support import client_frame, open_request


def processor(*parameters):
    offer = common.ExtensionParameter("permessage-deflate")
    for name, value in parameters:
        offer.add_parameter(name, value)
    return extensions.get_extension_processor(offer)


def response(offered, **configured):
    """Return the parameters answered, or None if the offer was declined."""
    answering = processor(*offered)
    for setter, value in configured.items():
        getattr(answering, setter)(value)
    answer = answering.get_extension_response()
    assert answering.is_active() == (answer is not None)
    return None if answer is None else answer.get_parameters()


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ([], []),
        ([("server_max_window_bits", "8")], [("server_max_window_bits", "8")]),
        ([("server_max_window_bits", "15")], [("server_max_window_bits", "15")]),
        ([("server_no_context_takeover", None)], [("server_no_context_takeover", None)]),
        ([("client_max_window_bits", None)], []),
        ([("client_max_window_bits", "10")], []),
        ([("client_no_context_takeover", None)], []),
        (
            [
                ("client_max_window_bits", None),
                ("server_no_context_takeover", None),
                ("server_max_window_bits", "10"),
            ],
            [("server_max_window_bits", "10"), ("server_no_context_takeover", None)],
        ),
    ],
)
def test_offer_is_accepted(offered, answered):
    assert response(offered) == answered


@pytest.mark.parametrize(
    "parameter",
    [
        ("foo", None),
        ("Server_No_Context_Takeover", None),
        ("server_no_context_takeover", "1"),
        ("client_no_context_takeover", "1"),
        ("server_max_window_bits", None),
        ("server_max_window_bits", ""),
        ("server_max_window_bits", "7"),
        ("server_max_window_bits", "16"),
        ("server_max_window_bits", "010"),
        ("server_max_window_bits", "+10"),
        ("client_max_window_bits", "16"),
        ("client_max_window_bits", "x"),
    ],
)
def test_offer_is_declined(parameter):
    assert response([parameter]) is None


@pytest.mark.parametrize(
    ("offered", "wanted", "answered"),
    [(None, 10, "10"), ("12", 10, "10"), ("9", 10, "9"), (None, 8, "8")],
)
def test_limit_of_the_clients_window_is_the_lower_one(offered, wanted, answered):
    offer = [("client_max_window_bits", offered)]
    assert response(offer, set_client_max_window_bits=wanted) == [
        ("client_max_window_bits", answered)
    ]


def test_limit_of_the_clients_window_needs_an_offer():
    assert response([], set_client_max_window_bits=10) is None


def test_limit_that_no_server_may_set_is_answered_all_the_same():
    offer = [("client_max_window_bits", None)]
    assert response(offer, set_client_max_window_bits=99) == [("client_max_window_bits", "99")]


def test_client_may_be_told_not_to_take_over_its_context():
    assert response([], set_client_no_context_takeover=True) == [
        ("client_no_context_takeover", None)
    ]


def test_parameter_added_by_a_handler_counts():
    answering = processor()
    answering._request.add_parameter("server_max_window_bits", "9")
    assert answering.get_extension_response().get_parameters() == [("server_max_window_bits", "9")]


def test_processor_that_was_switched_off_declines():
    answering = processor()
    answering.set_active(False)
    assert answering.get_extension_response() is None
    options = stream.StreamOptions()
    answering.setup_stream_options(options)
    assert not options.outgoing_message_filters


def test_processor_is_known_as_deflate():
    assert processor().name() == "deflate"
    assert isinstance(processor(), extensions.PerMessageDeflateExtensionProcessor)


def test_unknown_extension_has_no_processor():
    offer = common.ExtensionParameter("x-webkit-deflate-frame")
    assert extensions.get_extension_processor(offer) is None


def test_framer_cannot_be_configured_before_the_offer_is_accepted():
    with pytest.raises(AttributeError):
        processor().set_bfinal(True)


@pytest.fixture
def compressing():
    """Return a processor, and a request with a stream that compresses."""
    answering = processor()
    answering.get_extension_response()
    options = stream.StreamOptions()
    answering.setup_stream_options(options)
    # compressed "Hello" (RFC 7692 7.2.3.1)
    incoming = client_frame(0xC1, bytes.fromhex("f248cdc9c90700"))
    return answering, open_request(incoming, options)


def test_stream_compresses_and_decompresses(compressing):
    _, request = compressing
    request.ws_stream.send_message("Hello")
    assert request.connection.written == bytes.fromhex("c107 f248cdc9c90700")
    assert request.ws_stream.receive_message() == "Hello"


def test_compression_is_switched_on_the_live_stream(compressing):
    answering, request = compressing
    answering.disable_outgoing_compression()
    request.ws_stream.send_message("Hello")
    answering.enable_outgoing_compression()
    request.ws_stream.send_message("Hello")
    plain, compressed = bytes.fromhex("8105 48656c6c6f"), bytes.fromhex("c107 f248cdc9c90700")
    assert request.connection.written == plain + compressed


def test_bfinal_is_switched_on_the_live_stream(compressing):
    answering, request = compressing
    answering.set_bfinal(True)
    request.ws_stream.send_message("Hello")
    # a final block (RFC 7692 7.2.3.4)
    assert request.connection.written == bytes.fromhex("c108 f348cdc9c9070000")


@pytest.mark.parametrize("bits", [None, "", " 8", "08", "7", "16", "8.0", "0x8", "-8"])
def test_window_bits_that_are_refused(bits):
    with pytest.raises(ValueError):
        extensions._parse_window_bits(bits)


def test_window_bits_that_are_accepted():
    assert [extensions._parse_window_bits(str(bits)) for bits in range(8, 16)] == list(range(8, 16))
