"""What strangers send over HTTP/2: each input has one answer, and the server is as before."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hpack import Decoder

from conftest import Server, starting_servers
from echo_handlers import ECHO_MODULE
from faults_support import COLLECT, nothing_stays
from http2_support import Http2Client
from wire import DEADLINE_SECONDS, PONG, TEXT, Frame, encode_frame

Fields = tuple[tuple[str, str], ...]


MESSAGE = encode_frame(TEXT, b"hi")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = range(6)
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(6, 10)

END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 1) -> bytes:
    """Write a frame, whatever it says (RFC 9113 4.1)."""
    head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4)
    return head + payload


def block(fields: Fields) -> bytes:
    """Write fields as literals without Huffman codes (RFC 7541 6.2.2), whatever they say."""

    def text(value: str) -> bytes:
        data = value.encode("latin-1")
        assert len(data) < 127
        return bytes((len(data),)) + data

    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


CONNECT: Fields = (
    *((":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http")),
    *((":authority", "h"), (":path", "/echo"), ("sec-websocket-version", "13")),
)
GET: Fields = ((":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/none"))


def change(fields: Fields, name: str, value: str | None) -> Fields:
    """Give a field another value, or take it out."""
    changed = ((n, value if n == name else v) for n, v in fields)
    return tuple((n, v) for n, v in changed if v is not None)


def ask(fields: Fields, *, end: bool = False, stream: int = 1) -> bytes:
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, block(fields), flags=flags, stream=stream)


def message(stream: int = 1) -> bytes:
    return frame(DATA, MESSAGE, stream=stream)


def setting(number: int, value: int) -> bytes:
    return frame(SETTINGS, struct.pack(">HI", number, value), stream=0)


def number(value: int) -> bytes:
    return value.to_bytes(4)


OPEN = ask(CONNECT)
REQUEST = ask(GET, end=True)

# Answers, as `Exchange` names them: errors of the connection and of the stream, and the echo.
BROKEN, FLOW_CONTROL, TOO_LARGE = "GOAWAY 1", "GOAWAY 3", "GOAWAY 6"
MALFORMED = "RST_STREAM 1"
ECHOED = "DATA " + (b"\x81\x02hi").hex()

CASES: dict[str, tuple[bytes, str]] = {
    # frames in the wrong place
    "CONTINUATION alone": (frame(CONTINUATION, flags=END_HEADERS), BROKEN),
    "another frame inside a head": (frame(HEADERS) + frame(0xBB), BROKEN),
    "HEADERS on the connection": (ask(GET, stream=0), BROKEN),
    "HEADERS on an even stream": (ask(GET, stream=2), BROKEN),
    "HEADERS on an older stream": (ask(GET, stream=5) + ask(GET, stream=3), BROKEN),
    "HEADERS twice": (REQUEST + REQUEST, BROKEN),
    "DATA on the connection": (frame(DATA, b"x", stream=0), BROKEN),
    "DATA on an idle stream": (frame(DATA, b"x"), BROKEN),
    "DATA behind the end": (OPEN + frame(DATA, MESSAGE, flags=END_STREAM) + message(), BROKEN),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, number(8)), BROKEN),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, number(2) + block(GET), flags=END_HEADERS), BROKEN),
    "PING on a stream": (frame(PING, bytes(8)), BROKEN),
    "SETTINGS on a stream": (frame(SETTINGS), BROKEN),
    # sizes
    "large frame": (frame(DATA, bytes(16385)), TOO_LARGE),
    "padding that is too long": (OPEN + frame(DATA, b"\x05abc", flags=PADDED), BROKEN),
    "short PRIORITY": (frame(PRIORITY, b"12"), BROKEN),
    "short RST_STREAM": (OPEN + frame(RST_STREAM, b"12"), BROKEN),
    "short SETTINGS": (frame(SETTINGS, b"12345", stream=0), BROKEN),
    "long SETTINGS ACK": (frame(SETTINGS, bytes(6), flags=ACK, stream=0), BROKEN),
    "short PING": (frame(PING, b"123", stream=0), BROKEN),
    "short GOAWAY": (frame(GOAWAY, bytes(4), stream=0), BROKEN),
    # values
    "window beyond the maximum": (setting(4, 1 << 31), BROKEN),
    "frame size below the minimum": (setting(5, 5), BROKEN),
    "ENABLE_PUSH 2": (setting(2, 2), BROKEN),
    "ENABLE_CONNECT_PROTOCOL 2": (setting(8, 2), BROKEN),
    "no window": (frame(WINDOW_UPDATE, number(0), stream=0), BROKEN),
    "window overflow": (frame(WINDOW_UPDATE, number((1 << 31) - 1), stream=0) * 2, FLOW_CONTROL),
    "window overflow of a stream": (
        OPEN + frame(WINDOW_UPDATE, number((1 << 31) - 1)) * 2,
        "RST_STREAM 3",
    ),
    "priority of itself": (OPEN + frame(PRIORITY, number(1) + b"\0"), MALFORMED),
    # header compression
    "index that is too large": (
        frame(HEADERS, b"\xff\xff\xff\x0f", flags=END_HEADERS | END_STREAM),
        BROKEN,
    ),
    "index that overflows": (
        frame(HEADERS, b"\xff" * 20 + b"\x01", flags=END_HEADERS | END_STREAM),
        BROKEN,
    ),
    "table that is too large": (
        frame(HEADERS, b"\x3f\xff\xff\xff\x0f", flags=END_HEADERS | END_STREAM),
        BROKEN,
    ),
    "head that ends in a field": (frame(HEADERS, b"\0\x7f", flags=END_HEADERS), BROKEN),
    "field with an end of line": (ask((*CONNECT, ("a", "\r\nb: c"))), BROKEN),
    "value behind a space": (ask((*CONNECT, ("a", " b"))), MALFORMED),
    "value before a tab": (ask((*CONNECT, ("a", "b\t"))), MALFORMED),
    "name in upper case": (ask((*CONNECT, ("X-A", "1"))), BROKEN),
    # heads
    "no :authority and no host": (ask(change(CONNECT, ":authority", None)), "HEADERS 400"),
    "empty :authority": (ask(change(CONNECT, ":authority", "")), MALFORMED),
    "another host": (ask((*CONNECT, ("host", "g"))), "HEADERS 400"),
    "no :path": (ask(change(CONNECT, ":path", None)), MALFORMED),
    ":path with a space": (ask(change(CONNECT, ":path", "/echo x")), MALFORMED),
    ":path without a slash": (ask(change(CONNECT, ":path", "echo")), MALFORMED),
    ":path that is a URL": (ask(change(CONNECT, ":path", "http://h/echo")), MALFORMED),
    ":path * without OPTIONS": (ask(change(CONNECT, ":path", "*")), MALFORMED),
    "two of :protocol": (ask((*CONNECT, (":protocol", "websocket"))), MALFORMED),
    "pseudo-header behind others": (ask((*CONNECT[:-2], CONNECT[-1], CONNECT[-2])), MALFORMED),
    "header of answers": (ask((*CONNECT, (":status", "200"))), MALFORMED),
    ":protocol without CONNECT": (ask(change(CONNECT, ":method", "POST")), MALFORMED),
    "method in lower case": (ask(change(CONNECT, ":method", "connect")), MALFORMED),
    "plain CONNECT": (ask(((":method", "CONNECT"), (":authority", "h:80"))), "HEADERS 501"),
    "empty :protocol": (ask(change(CONNECT, ":protocol", "")), "HEADERS 501"),
    ":protocol with a space": (ask(change(CONNECT, ":protocol", " websocket")), "HEADERS 501"),
    "list of protocols": (ask(change(CONNECT, ":protocol", "websocket, x")), "HEADERS 501"),
    "connection": (ask((*CONNECT, ("connection", "upgrade"))), MALFORMED),
    "upgrade": (ask((*CONNECT, ("upgrade", "websocket"))), MALFORMED),
    "transfer-encoding": (ask((*CONNECT, ("transfer-encoding", "chunked"))), MALFORMED),
    "te": (ask((*CONNECT, ("te", "gzip"))), MALFORMED),
    "content-length": (ask((*CONNECT, ("content-length", "5"))), "HEADERS 400"),
    "content-length that is no number": (ask((*CONNECT, ("content-length", "x"))), MALFORMED),
    "content-length and less": (ask((*GET, ("content-length", "5")), end=True), MALFORMED),
    "trailers without an end": (OPEN + ask((("x", "y"),)), MALFORMED),
    # what is allowed
    "te: trailers": (ask((*CONNECT, ("te", "trailers"))) + message(), ECHOED),
    ":protocol in upper case": (ask(change(CONNECT, ":protocol", "WEBSOCKET")) + message(), ECHOED),
    "host without :authority": (
        ask((*change(CONNECT, ":authority", None), ("host", "h"))) + message(),
        ECHOED,
    ),
    "padding": (
        frame(
            HEADERS,
            b"\x03" + bytes(4) + b"\x10" + block(CONNECT) + bytes(3),
            flags=END_HEADERS | PADDED | WITH_PRIORITY,
        )
        + frame(DATA, b"\x05" + MESSAGE + bytes(5), flags=PADDED),
        ECHOED,
    ),
    "head in pieces": (
        frame(HEADERS, block(CONNECT)[:20])
        + frame(CONTINUATION, block(CONNECT)[20:30])
        + frame(CONTINUATION, block(CONNECT)[30:], flags=END_HEADERS)
        + message(),
        ECHOED,
    ),
    "priority of idle streams": (frame(PRIORITY, bytes(5), stream=9) + OPEN + message(), ECHOED),
    "unknown frames": (frame(0xBB, b"z", stream=7) + OPEN + frame(0xBC) + message(), ECHOED),
    "unknown settings": (setting(0xABCD, 7) + OPEN + message(), ECHOED),
    "PING ACK that nobody asked for": (
        frame(PING, bytes(8), flags=ACK, stream=0) + OPEN + message(),
        ECHOED,
    ),
    "GOAWAY": (OPEN + frame(GOAWAY, bytes(8), stream=0) + message(), ECHOED),
    "RST_STREAM twice": (
        OPEN + frame(RST_STREAM, number(8)) * 2 + ask(CONNECT, stream=3) + message(3),
        ECHOED,
    ),
    "trailers": (OPEN + message() + ask((("x", "y"),), end=True), ECHOED),
    "many cookies": (
        ask((*CONNECT, *(("cookie", f"a{n}=b") for n in range(90)))) + message(),
        ECHOED,
    ),
    "empty DATA": (OPEN + frame(DATA) * 50 + message(), ECHOED),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all inputs."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    (folder / "echo_wsh.py").write_text(ECHO_MODULE)
    body = "".join(f"    {line}\n" for line in COLLECT.splitlines())
    head = ECHO_MODULE.partition("    while")[0]
    (folder / "collect_wsh.py").write_text(head + body)
    with starting_servers(folder, "hub") as start:
        yield start("-w", ".", "--http2")


def answers(server: Server, data: bytes) -> Iterator[str]:
    """Send bytes behind the preface; give what comes, as far as it is an answer to them."""
    decoder = Decoder()
    with server.connect() as client, client.socket.makefile("rb") as stream:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, stream=0) + data)
        client.socket.settimeout(DEADLINE_SECONDS)
        while len(head := stream.read(9)) == 9:
            kind, payload = head[3], stream.read(int.from_bytes(head[:3]))
            if kind == HEADERS:
                yield f"HEADERS {dict(decoder.decode(payload))[':status']}"
            elif kind == DATA:
                yield f"DATA {payload.hex()}"
            elif kind == RST_STREAM:
                yield f"RST_STREAM {int.from_bytes(payload)}"
            elif kind == GOAWAY:
                yield f"GOAWAY {int.from_bytes(payload[4:8])}"
    yield "end"


@pytest.mark.parametrize("case", CASES)
def test_each_input_has_its_answer(server: Server, case: str):
    data, wanted = CASES[case]
    found: list[str] = []
    for answer in answers(server, data):
        # what precedes an error of an open WebSocket, and an echo
        if answer != "HEADERS 200":
            found.append(answer)
        if answer in {wanted, "end"}:
            break
    assert found == [wanted]


def test_nothing_stays_of_all_of_them(server: Server):
    with nothing_stays(server, threads=10):
        for _ in range(3):
            for data, wanted in CASES.values():
                assert wanted in answers(server, data)
    assert "Traceback" not in "\n".join(server.log.lines)


def test_a_broken_rule_is_told_once(tmp_path: Path):
    with starting_servers(tmp_path, "hub") as start:
        server = start("--http2")
        assert BROKEN in answers(server, frame(PING, bytes(8)))
        server.log.wait_for(r"127\.0\.0\.1 breaks HTTP/2, PROTOCOL_ERROR: connection closed")
        with Http2Client(server) as client:
            assert client.fetch("/none").status == 404
        server.log.wait_for("404")
        assert len([line for line in server.log.lines if "PROTOCOL_ERROR" in line]) == 1


def test_padding_does_not_use_up_the_window(server: Server):
    with Http2Client(server) as client:
        websocket = client.websocket("/echo")
        pong = encode_frame(PONG, b"")
        # a mebibyte in frames of which nearly all is padding
        for _ in range(4096):
            client.wait(lambda: client.h2.local_flow_control_window(websocket.stream) > 300)
            client.h2.send_data(websocket.stream, pong, pad_length=250)
            client.flush()
        websocket.send(MESSAGE)
        assert websocket.read_frame() == Frame(TEXT, b"hi")


def test_a_window_of_one_byte_at_a_time(server: Server):
    with Http2Client(server, window=0) as client:
        websocket = client.websocket("/echo")
        websocket.send(encode_frame(TEXT, b"x" * 1000))
        for _ in range(1000 + 4):
            client.h2.increment_flow_control_window(1, websocket.stream)
            client.flush()
        assert websocket.read_frame() == Frame(TEXT, b"x" * 1000)


def test_very_many_streams_one_after_another(server: Server):
    with nothing_stays(server, threads=10), Http2Client(server) as client:
        for _ in range(1000):
            assert client.fetch("/none").status == 404
        for _ in range(300):
            # resets behind the answer are no rapid resets
            client.websocket("/echo").reset()
        assert client.goaway is None


def test_a_preface_in_single_bytes_is_cut_off(tmp_path: Path):
    with starting_servers(tmp_path, "hub") as start:
        server = start("--http2", "--head-timeout", "0.3")
        with server.connect() as client, contextlib.suppress(ConnectionError):
            for byte in b"PRI * HTTP/2.0\r\n":
                client.send(bytes((byte,)))
                if client.socket_has_ended_within(0.05):
                    return
            assert client.socket_has_ended_within(DEADLINE_SECONDS)
