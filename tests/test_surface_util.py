"""util, memorizingfile, http_header_util and common do what handlers and clients expect of them."""

import hashlib
import io
import logging
import socket
import zlib

import pytest

from fastwsh.pywebsocket import common, http_header_util, memorizingfile, stream, util
from fastwsh.pywebsocket.handshake import hybi
from surface_support import Request


def test_message_goes_before_the_exceptions_own():
    error = ValueError("World")
    util.prepend_message_to_exception("Hello ", error)
    assert error.args == ("Hello World",)


@pytest.mark.parametrize(
    ("first_line", "cygwin_path", "command"),
    [
        ("#!/usr/bin/perl -wT", None, "/usr/bin/perl -wT"),
        ("#!/usr/bin/perl -wT", "/cygwin/bin", "/cygwin/bin/perl -wT"),
        ("#!/usr/bin/perl", "/cygwin/bin", "/cygwin/bin/perl"),
        ("#!perl", "/cygwin/bin", "perl"),
        ("text", None, None),
        ("", None, None),
    ],
)
def test_script_names_its_interpreter(tmp_path, first_line, cygwin_path, command):
    script = tmp_path / "script"
    script.write_text(f"{first_line}\nrest\n")
    assert util.get_script_interp(str(script), cygwin_path) == command


def test_stack_trace_is_that_of_the_exception_being_handled():
    try:
        int("seven")
    except ValueError:
        trace = util.get_stack_trace()
    assert trace.startswith("Traceback")
    assert trace.endswith("ValueError: invalid literal for int() with base 10: 'seven'\n")


@pytest.mark.parametrize("has_ended", [False, True])
def test_drained_data_are_what_has_come_until_now(has_ended):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(7)
        assert util.drain_received_data(ours) == b""
        theirs.sendall(b"late" * 20_000)
        if has_ended:
            theirs.shutdown(socket.SHUT_WR)
        assert util.drain_received_data(ours) == b"late" * 20_000
        assert util.drain_received_data(ours) == b""
        assert ours.gettimeout() == 7


@pytest.mark.parametrize("name", ["DeflateConnection", "DeflateRequest", "wrap_popen3_for_win"])
def test_what_is_gone_since_0_7_says_so_when_it_is_called(name):
    with pytest.raises(NotImplementedError, match=f"^{name} is gone with .{{20}}"):
        getattr(util, name)(None)


def test_hexify_separates_the_bytes():
    assert util.hexify(b"az\t\x00\xff") == "61 7a 09 00 ff"


def test_pack_byte():
    assert util.pack_byte(0xC1) == b"\xc1"


def test_hashes_of_old_clients():
    assert util.sha1_hash(b"x").digest() == hashlib.sha1(b"x").digest()
    assert util.md5_hash(b"x").digest() == hashlib.md5(b"x").digest()


def test_loggers_have_pywebsockets_names():
    class Own:
        pass

    assert util.get_class_logger(hybi.Handshaker(Request(), None)).name == (
        "pywebsocket3.handshake.hybi.Handshaker"
    )
    assert util.get_class_logger(util.NoopMasker()).name == "pywebsocket3.util.NoopMasker"
    assert util._logger_name(stream.Stream) == "pywebsocket3.stream.Stream"
    assert util.get_class_logger(Own()).name == f"{__name__}.Own"


def test_masker_goes_on_where_it_stopped():
    masker = util.RepeatedXorMasker(b"\x00\x7f\xff\x20")
    assert masker.mask(bytes(5)) == b"\x00\x7f\xff\x20\x00"
    assert masker.mask(bytes(5)) == b"\x7f\xff\x20\x00\x7f"


@pytest.mark.parametrize("key", [b"\x01", b"\x01\x02\x03", b"\x01\x02\x03\x04\x05"])
def test_masker_repeats_a_key_of_any_length(key):
    masker = util.RepeatedXorMasker(key)
    assert masker.mask(bytes(7)) + masker.mask(bytes(7)) == (key * 14)[:14]


@pytest.mark.parametrize("data", ["text", 3, True, 2**40])
def test_masker_refuses_what_is_no_data(data):
    with pytest.raises(TypeError):
        util.RepeatedXorMasker(b"abcd").mask(data)


def test_noop_masker_takes_anything():
    assert util.NoopMasker().mask("text") == "text"


@pytest.mark.parametrize("window_bits", [8, 9, 15])
def test_inflater_reads_what_the_deflater_wrote(window_bits):
    data = b"hello" + b"-" * 30000 + b"hello"
    deflater, inflater = util._Deflater(window_bits), util._Inflater(window_bits)
    inflater.append(deflater.compress(data) + deflater.compress_and_finish(b""))
    assert inflater.decompress(-1) == data


def test_inflater_returns_no_more_than_asked():
    inflater = util._Inflater(15)
    inflater.append(util._Deflater(15).compress_and_flush(b"abcdef"))
    assert [inflater.decompress(4), inflater.decompress(4), inflater.decompress(4)] == [
        b"abcd",
        b"ef",
        b"",
    ]


def test_inflater_goes_on_behind_a_final_block():
    inflater = util._Inflater(15)
    for text in (b"one", b"two"):
        inflater.append(util._Deflater(15).compress_and_finish(text))
    assert inflater.decompress(-1) == b"onetwo"


@pytest.mark.parametrize("size", [0, -2])
def test_inflater_refuses_other_sizes(size):
    with pytest.raises(ValueError):
        util._Inflater(15).decompress(size)


def test_inflater_reports_bad_data_as_zlib_does():
    inflater = util._Inflater(15)
    inflater.append(b"\xff\xff\xff\xff")
    with pytest.raises(zlib.error):
        inflater.decompress(-1)


def test_deflater_strips_the_tail_of_a_message():
    deflater = util._RFC1979Deflater(None, False)
    assert deflater.filter(b"Hello") == bytes.fromhex("f248cdc9c90700")
    assert deflater._window_bits == 15


def test_deflater_keeps_the_tail_of_a_piece():
    assert util._RFC1979Deflater(15, False).filter(b"Hello", end=False).endswith(b"\0\0\xff\xff")


def test_deflater_without_takeover_repeats_itself():
    deflater = util._RFC1979Deflater(15, True)
    assert deflater.filter(b"Hello") == deflater.filter(b"Hello")


def test_deflater_ends_a_final_block_with_an_empty_one():
    assert util._RFC1979Deflater(15, False).filter(b"Hello", bfinal=True) == bytes.fromhex(
        "f348cdc9c9070000"
    )


def test_inflater_adds_the_tail_of_a_message():
    assert util._RFC1979Inflater().filter(bytes.fromhex("f248cdc9c90700")) == b"Hello"


def test_deflate_loggers_obey_their_own_level(caplog):
    with caplog.at_level(logging.DEBUG, "pywebsocket3.util._Deflater"):
        util._Deflater(15).compress_and_flush(b"Hello")
    assert "Hello" in caplog.text


class Pipe:
    """A socket connected to itself."""

    def __init__(self):
        self.data = b""

    def sendall(self, data):
        self.data += data

    def recv(self, size):
        data, self.data = self.data[:size], self.data[size:]
        return data


def test_deflate_socket_compresses_both_ways():
    pipe = Pipe()
    socket = util.DeflateSocket(pipe)
    assert socket.send(b"Hello") == 5
    socket.sendall(b" World")
    assert pipe.data != b"Hello World"
    assert socket.recv(8) == b"Hello Wo"
    assert socket.recv(8) == b"rld"
    assert socket.recv(8) == b""
    with pytest.raises(ValueError):
        socket.recv(0)


def test_memorizing_file_memorizes_whole_lines():
    file = memorizingfile.MemorizingFile(io.StringIO("Hello\nWorld\n"))
    assert [file.readline(4), file.readline(4), file.readline()] == ["Hell", "o\n", "World\n"]
    assert file.get_memorized_lines() == ["Hello\n", "World\n"]
    assert file.readline() == ""


def test_memorizing_file_memorizes_the_first_lines_only():
    file = memorizingfile.MemorizingFile(io.BytesIO(b"1\n2\n3\n"), 2)
    assert [file.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
    assert file.get_memorized_lines() == [b"1\n", b"2\n"]


def test_memorizing_file_is_otherwise_the_file():
    file = memorizingfile.MemorizingFile(io.StringIO("abc"))
    assert file.read(2) == "ab"
    file.close()
    assert file.closed


def test_cursor_moves_only_over_what_fits():
    state = http_header_util.ParsingState("token ,\t\r\n x")
    assert http_header_util.consume_token(state) == "token"
    assert http_header_util.consume_token(state) is None
    assert not http_header_util.consume_string(state, ",")
    assert http_header_util.consume_lws(state)
    assert not http_header_util.consume_lws(state)
    assert http_header_util.consume_string(state, ",")
    http_header_util.consume_lwses(state)
    assert http_header_util.peek(state) == "x"
    assert http_header_util.peek(state, 1) is None
    assert http_header_util.consume(state, 2) is None
    assert http_header_util.consume(state) == "x"
    assert state.head == len(state.data)


def test_cursor_behind_the_end_stays_there():
    state = http_header_util.ParsingState("a")
    state.head = 5
    assert http_header_util.consume_token(state) is None
    assert not http_header_util.consume_lws(state)
    assert state.head == 5


@pytest.mark.parametrize(
    ("text", "value", "head"),
    [
        ("abc;", "abc", 3),
        ('"a b";', "a b", 5),
        (r'"a\"b"', 'a"b', 6),
        ('""', "", 2),
        ('"open', None, 0),
        (";", None, 0),
    ],
)
def test_token_or_quoted_string(text, value, head):
    state = http_header_util.ParsingState(text)
    assert http_header_util.consume_token_or_quoted_string(state) == value
    assert state.head == head


@pytest.mark.parametrize(
    ("text", "quoted"), [("abc", "abc"), ("", '""'), ("a b", '"a b"'), ('a"b', r'"a\"b"')]
)
def test_quote_if_necessary(text, quoted):
    assert http_header_util.quote_if_necessary(text) == quoted


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("/ws/test?q", (None, None, "/ws/test?q")),
        ("ws://localhost:10080/ws", ("localhost", 10080, "/ws")),
        ("wss://example.com", ("example.com", 443, "/")),
        ("ws://localhost:PORT/", (None, None, None)),
    ],
)
def test_parse_uri(uri, parts):
    assert http_header_util.parse_uri(uri) == parts


def test_extensions_are_parsed_and_formatted():
    text = 'foo; bar=baz; car, quoted; a="b c"'
    parsed = common.parse_extensions(text)
    assert [(item.name(), item.get_parameters()) for item in parsed] == [
        ("foo", [("bar", "baz"), ("car", None)]),
        ("quoted", [("a", "b c")]),
    ]
    assert common.format_extensions(parsed) == text


@pytest.mark.parametrize("text", [",,", "foo;", "foo; a=", 'foo; a="b', "foo bar"])
def test_malformed_extensions_are_refused(text):
    with pytest.raises(common.ExtensionParsingException):
        common.parse_extensions(text)


def test_extension_parameter_finds_the_first_of_a_name():
    extension = common.ExtensionParameter("x")
    extension.add_parameter("a", "1")
    extension.add_parameter("a", "2")
    assert extension.has_parameter("a")
    assert not extension.has_parameter("b")
    assert extension.get_parameter_value("a") == "1"
    assert extension.get_parameter_value("b") is None
    assert extension.get_parameter_names() == ["a", "a"]


def test_control_opcodes_are_8_to_15():
    assert [opcode for opcode in range(16) if common.is_control_opcode(opcode)] == [*range(8, 16)]
