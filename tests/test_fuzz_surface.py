"""No argument and no byte of a peer does more than raise what `pywebsocket3` promises.

`FUZZ_EXAMPLES` in the environment is how many examples to make of each test; they are other ones
in every run then.
"""

import contextlib
from urllib.parse import urlsplit

from hypothesis import example, given
from hypothesis import strategies as st

from fastwsh.pywebsocket import (
    common,
    extensions,
    handshake,
    http_header_util,
    msgutil,
    stream,
    util,
)
from fastwsh.pywebsocket.handshake import base, hybi
from fuzz_support import (
    CONTRACT,
    HANDSHAKE,
    KINDS,
    MISUSE,
    PROFILE,
    BoomError,
    Trickle,
    blobs,
    incoming,
    junk,
    latin1,
    options,
    texts,
    tried,
)
from surface_support import GOOD_HEADERS, Request, open_request

kinds = st.sampled_from(KINDS)
most = st.sampled_from([1, 3, 1000])


def opened(received, kind="plain", most=1000):
    """Return an open request whose peer has sent these bytes."""
    request = open_request(options=options(kind))
    request.connection = Trickle(received, most)
    return request


def sent_frames(request):
    """Return the opcodes of what was written, all of which must be frames."""
    left = request.connection.written
    unmask = request.ws_stream._options.mask_send

    def receive_bytes(length):
        nonlocal left
        data, left = left[:length], left[length:]
        assert len(data) == length
        return data

    opcodes = []
    while left:
        opcodes.append(stream.parse_frame(receive_bytes, unmask_receive=unmask)[0])
    return opcodes


@PROFILE
@given(incoming, kinds, most)
def test_receiving_raises_what_the_contract_names(received, kind, most):
    request = opened(received, kind, most)
    for _ in range(12):
        message = tried(CONTRACT, msgutil.receive_message, request)
        assert message is None or isinstance(message, (str, bytes, Exception))
        if message is None:
            break
    assert {0x8, 0xA}.issuperset(sent_frames(request))


@PROFILE
@given(incoming, kinds, most, st.data())
def test_raw_reading_raises_what_the_contract_names(received, kind, most, data):
    request = opened(received, kind, most)
    ws_stream = request.ws_stream
    ways = (
        ws_stream.receive_message,
        ws_stream._receive_frame,
        ws_stream._receive_frame_as_frame_object,
        ws_stream.receive_filtered_frame,
        lambda: ws_stream.receive_bytes(2),
        lambda: ws_stream.receive_bytes(2**62),
    )
    for way in data.draw(st.lists(st.sampled_from(ways), max_size=8)):
        tried(CONTRACT, way)


@PROFILE
@given(incoming, most, st.booleans())
def test_parsing_frames_raises_what_the_contract_names(received, most, unmask):
    connection = Trickle(received, most)

    def receive_bytes(length):
        data = connection.read(length)
        while data and len(data) < length:
            more = connection.read(length - len(data))
            if not more:
                break
            data += more
        if len(data) < length:
            raise stream.ConnectionTerminatedException
        return data

    with contextlib.suppress(stream.ConnectionTerminatedException):
        while True:
            opcode, payload, *bits = stream.parse_frame(receive_bytes, unmask_receive=unmask)
            assert opcode in range(16)
            assert isinstance(payload, bytes)
            assert {0, 1}.issuperset(bits)


@PROFILE
@given(incoming, kinds, st.lists(junk, min_size=3, max_size=3), st.data())
def test_stream_methods_refuse_what_makes_no_sense(received, kind, arguments, data):
    request = opened(received, kind)
    ws_stream = request.ws_stream
    first, second, third = arguments
    calls = (
        lambda: ws_stream.send_message(first, second, third),
        lambda: ws_stream.send_message(first),
        lambda: ws_stream.send_message(first, binary=True),
        lambda: ws_stream.close_connection(first, second, third),
        lambda: ws_stream.close_connection(1000, first, False),
        lambda: ws_stream.send_ping(first, second),
        lambda: ws_stream.receive_bytes(first),
        lambda: ws_stream._read(first),
        lambda: ws_stream._write(first),
        lambda: ws_stream._send_pong(first),
        lambda: ws_stream._send_closing_handshake(first, second),
        lambda: ws_stream._process_close_message(first),
        lambda: ws_stream._process_ping_message(first),
        lambda: ws_stream._process_pong_message(first),
        lambda: ws_stream._get_message_from_frame(stream.Frame(first, 0, 0, 0, second, third)),
        lambda: msgutil.send_message(request, first, second, third),
        lambda: msgutil.send_ping(request, first),
    )
    for call in data.draw(st.lists(st.sampled_from(calls), min_size=1, max_size=4)):
        tried((*CONTRACT, *MISUSE), call)


@PROFILE
@given(junk, junk, st.sampled_from(["read", "write", "remote_addr"]))
def test_connections_may_be_anything(given_back, argument, broken):
    request = opened(b"\x89\x80\0\0\0\0\x81")
    # a peer that sends the same for ever is read for ever
    answers = iter([given_back] * 20)
    replaced = given_back if broken == "remote_addr" else lambda _argument: next(answers, b"")
    setattr(request.connection, broken, replaced)
    tried((*CONTRACT, *MISUSE), request.ws_stream.receive_message)
    tried((*CONTRACT, *MISUSE), request.ws_stream.send_message, "x")
    request.connection = argument
    tried((*CONTRACT, *MISUSE), request.ws_stream.receive_message)
    tried((*CONTRACT, *MISUSE), request.ws_stream.send_message, "x")


@PROFILE
@given(incoming, st.sampled_from([*vars(stream.StreamOptions()), "outgoing_frame_filters"]), junk)
def test_options_may_be_anything(received, name, value):
    made = options("filters")
    with contextlib.suppress(*MISUSE):
        setattr(made, name, value)
    with contextlib.suppress(*MISUSE):
        made.incoming_message_filters.append(value)
    request = Request(incoming=received)
    with contextlib.suppress(*MISUSE):
        request.ws_stream = stream.Stream(request, made)
        tried((*CONTRACT, *MISUSE), request.ws_stream.send_message, "x")
        tried((*CONTRACT, *MISUSE), request.ws_stream.receive_message)
        tried((*CONTRACT, *MISUSE), request.ws_stream.close_connection)


@PROFILE
@given(st.lists(junk, min_size=7, max_size=7), st.data())
def test_frame_builders_refuse_what_makes_no_sense(arguments, data):
    first, second, third, *_ = arguments
    builder = stream.FragmentedFrameBuilder(first, encode_utf8=second)
    calls = (
        lambda: stream.create_header(*arguments),
        lambda: stream.create_header(1, first, 1, 0, 0, 0, second),
        lambda: stream.create_length_header(first, second),
        lambda: stream.create_binary_frame(first, second, third, True),
        lambda: stream.create_binary_frame(first, frame_filters=second),
        lambda: stream.create_text_frame(first, mask=second),
        lambda: stream.create_ping_frame(first, mask=second),
        lambda: stream.create_pong_frame(first, mask=second),
        lambda: stream.create_close_frame(first, mask=second),
        lambda: stream.create_closing_handshake_body(first, second),
        lambda: builder.build(first, second, third),
        lambda: stream.parse_frame(lambda _length: first, unmask_receive=second),
    )
    call = data.draw(st.sampled_from(calls))
    built = tried((*CONTRACT, *MISUSE), call)
    assert isinstance(built, (bytes, tuple, Exception))


@PROFILE
@given(texts, st.integers(-3, 170))
def test_header_values_of_any_text_are_parsed_or_refused(text, head):
    tried(common.ExtensionParsingException, common.parse_extensions, text)
    tried(handshake.HandshakeException, base.parse_token_list, text)
    state = http_header_util.ParsingState(text)
    state.head = max(head, 0)
    for consume in (
        http_header_util.consume_lwses,
        http_header_util.consume_token,
        http_header_util.consume_token_or_quoted_string,
    ):
        before = state.head
        tried(UnicodeEncodeError, consume, state)
        assert before <= state.head <= max(len(text), before)
    tried(ValueError, http_header_util.parse_uri, text)
    tried(UnicodeEncodeError, http_header_util.quote_if_necessary, text)


@PROFILE
@given(junk, junk)
def test_header_functions_refuse_what_is_no_text(first, second):
    state = http_header_util.ParsingState(first)
    state.head = second
    for function in (
        http_header_util.peek,
        http_header_util.consume,
        http_header_util.consume_lwses,
        http_header_util.consume_token,
        http_header_util.consume_token_or_quoted_string,
    ):
        tried(MISUSE, function, state)
    for function in (
        common.parse_extensions,
        base.parse_token_list,
        base.validate_subprotocol,
        http_header_util.parse_uri,
        http_header_util.quote_if_necessary,
        hybi.compute_accept,
        hybi.compute_accept_from_unicode,
    ):
        tried((*MISUSE, *HANDSHAKE, common.ExtensionParsingException), function, first)


@PROFILE
@given(st.text("ws:/?#@a1.%", max_size=20).map("ws://h".__add__))
@example("ws://h/a??")
@example("ws://h/a?#f")
def test_uris_are_split_as_the_standard_library_does(uri):
    parts = urlsplit(uri)
    host, port, resource = http_header_util.parse_uri(uri)
    try:
        expected = parts.port or 80
    except ValueError:
        assert (host, port, resource) == (None, None, None)
        return
    if not parts.hostname:
        assert (host, port, resource) == (None, None, None)
        return
    query = f"?{parts.query}" * bool(parts.query)
    fragment = f"#{parts.fragment}" * bool(parts.fragment)
    assert (host, port) == (parts.hostname, 0 if parts.port == 0 else expected)
    assert resource == f"{parts.path or '/'}{query}{fragment}"


@PROFILE
@given(
    st.dictionaries(
        st.sampled_from([*GOOD_HEADERS, "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"]),
        latin1,
    ),
    latin1,
)
def test_opening_handshakes_are_answered_or_refused(changes, host):
    request = Request({**GOOD_HEADERS, **changes})

    class Handler:
        def do_extra_handshake(self, request):
            if request.ws_requested_protocols:
                request.ws_protocol = request.ws_requested_protocols[0]

    failed = tried(HANDSHAKE, handshake.do_handshake, request, Handler())
    if failed is None:
        head = request.connection.written
        assert head.startswith(b"HTTP/1.1 101 ")
        assert head.index(b"\r\n\r\n") == len(head) - 4
    else:
        assert request.connection.written == b""
    request.headers_in = {"Host": host}
    tried(HANDSHAKE, base.parse_host_header, request)


@PROFILE
@given(st.sampled_from([*GOOD_HEADERS, "Sec-WebSocket-Extensions", "x"]), junk, junk, junk)
def test_opening_handshakes_refuse_what_makes_no_sense(name, value, protocol, extra):
    request = Request({**GOOD_HEADERS, name: value})

    class Handler:
        def do_extra_handshake(self, request):
            request.ws_protocol = protocol
            request.extra_headers = extra if name == "x" else [("x", extra)]
            request.ws_extension_processors.append(extra if name == "x" else None)

    tried((*MISUSE, *HANDSHAKE), handshake.do_handshake, request, Handler())


parameters = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "client_max_window_bits",
                "client_no_context_takeover",
                "server_max_window_bits",
                "server_no_context_takeover",
                "x",
            ]
        ),
        st.one_of(st.none(), st.sampled_from(["8", "15", "16", "09"]), texts, junk),
    ),
    max_size=4,
)


@PROFILE
@given(parameters, junk, junk, incoming)
def test_offers_are_accepted_or_declined(offered, bits, flag, received):
    offer = common.ExtensionParameter(common.PERMESSAGE_DEFLATE_EXTENSION)
    for name, value in offered:
        offer.add_parameter(name, value)
    processor = extensions.get_extension_processor(offer)
    for configure, value in (
        (processor.set_client_max_window_bits, bits),
        (processor.set_client_no_context_takeover, flag),
        (processor.set_bfinal, flag),
    ):
        tried(MISUSE, configure, value)
    answer = tried(MISUSE, processor.get_extension_response)
    if not isinstance(answer, common.ExtensionParameter):
        return
    made = stream.StreamOptions()
    processor.setup_stream_options(made)
    tried(MISUSE, processor.set_bfinal, flag)
    request = open_request(received, made)
    tried(CONTRACT, request.ws_stream.receive_message)
    tried(CONTRACT, request.ws_stream.send_message, "x" * 300)


@PROFILE
@given(blobs, st.integers(1, 300), st.binary(min_size=1, max_size=9))
def test_deflate_and_masks_of_any_bytes(data, size, key):
    inflater = util._Inflater(15)
    inflater.append(data)
    for _ in range(4):
        piece = tried(util.zlib.error, inflater.decompress, size)
        assert isinstance(piece, util.zlib.error) or len(piece) <= size
    deflated = util._RFC1979Deflater(None, False).filter(data)
    assert util._RFC1979Inflater().filter(deflated) == data
    masked = util.RepeatedXorMasker(key).mask(data)
    assert util.RepeatedXorMasker(key).mask(masked) == data


@PROFILE
@given(junk, junk)
def test_util_refuses_what_makes_no_sense(first, second):
    for call in (
        lambda: util._Deflater(first),
        lambda: util._Deflater(9).compress(first),
        lambda: util._Deflater(9).compress_and_finish(first),
        lambda: util._RFC1979Deflater(first, second).filter(second),
        lambda: util._Inflater(first),
        lambda: util._Inflater(9).append(first),
        lambda: util._Inflater(9).decompress(first),
        lambda: util._RFC1979Inflater().filter(first),
        lambda: util.RepeatedXorMasker(first).mask(second),
        lambda: util.RepeatedXorMasker(b"abcd").mask(first),
        lambda: util.hexify(b"" if isinstance(first, int) else first),
        lambda: util.pack_byte(first),
        lambda: stream.StreamOptions(first),
        lambda: extensions._PerMessageDeflateFramer(first, second),
        lambda: extensions._parse_window_bits(first),
    ):
        tried((*MISUSE, util.struct.error, BoomError), call)
