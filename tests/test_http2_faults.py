"""Flow control, limits and hostile clients of HTTP/2."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.errors
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)
from hyperframe.frame import Frame as RawFrame

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT, nothing_stays
from http2_support import Http2Client
from stream_tunnel import Tunnel
from wire import BINARY, TEXT, Frame, encode_frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

PROTOCOL_ERROR = h2.errors.ErrorCodes.PROTOCOL_ERROR
REFUSED_STREAM = h2.errors.ErrorCodes.REFUSED_STREAM
ENHANCE_YOUR_CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM

# Far more than the sockets and windows between a handler and its client have room for.
LARGE = 16 << 20


@pytest.fixture
def start(start_server: StartServer, write_handler: WriteHandler) -> Any:
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)

    def start(*args: str) -> Server:
        return start_server("-w", "handlers", "--http2", *args)

    return start


def assert_echoes(websocket: Tunnel) -> None:
    websocket.send_frame(TEXT, b"x")
    assert websocket.read_frame() == Frame(TEXT, b"x")


@ALL_WAYS
def test_a_client_that_takes_nothing_holds_up_its_handler_alone(
    start: Any, write_handler: WriteHandler
):
    write_handler(
        "send",
        """\
import logging
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    for number in range(64):
        request.ws_stream.send_message("x" * (1 << 18))
        logging.getLogger("t").warning("sent %d", number)
    request.ws_stream.receive_message()
""",
    )
    server = start()
    with nothing_stays(server), Http2Client(server, opens_window=False) as client:
        # what is received by all streams together does not hold them up
        client.h2.increment_flow_control_window(1 << 30)
        client.flush()
        slow = client.websocket("/send")
        client.wait(lambda: len(slow.state.data) == 65535)
        echo = client.websocket("/echo")
        for _ in range(10):
            assert_echoes(echo)
        assert len(slow.state.data) == 65535
        # the first message does not fit in the window and what the server takes beyond it
        assert not [line for line in server.log.lines if re.search(r"sent \d", line)]
        client.h2.increment_flow_control_window(LARGE * 2, slow.stream)
        client.flush()
        for _ in range(64):
            assert slow.read_frame() == Frame(TEXT, b"x" * (1 << 18))
        server.log.wait_for("sent 63")


# What the server takes for a handler: the stream's window, which is as large as the receive buffer
# of HTTP/1.1 and that of its socket, whether or not the handler has received before.
STREAM_WINDOW = 128 * 1024


@pytest.mark.parametrize("first", [(), (encode_frame(TEXT, b"first"),)])
def test_a_handler_that_receives_nothing_does_not_open_the_window(
    start: Any, write_handler: WriteHandler, tmp_path: Path, first: tuple[bytes, ...]
):
    os.mkfifo(tmp_path / "gate")
    write_handler(
        "late",
        f"""\
web_socket_concurrency = "threads"
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    for _ in range({len(first)}):
        request.ws_stream.send_message(request.ws_stream.receive_message())
    open("gate").read()
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(str(len(message)))
""",
    )
    server = start()
    with nothing_stays(server), Http2Client(server) as client:
        late, echo = client.websocket("/late"), client.websocket("/echo")
        for message in first:
            late.send(message)
            assert late.read_frame() == Frame(TEXT, b"first")
        frame = encode_frame(BINARY, bytes(1 << 20))
        sent = 0
        while sent < len(frame):
            client.take(0 if client.h2.local_flow_control_window(late.stream) else 0.5)
            room = client.h2.local_flow_control_window(late.stream)
            if not room:
                break
            piece = frame[sent : sent + min(room, client.h2.max_outbound_frame_size)]
            client.h2.send_data(late.stream, piece)
            client.flush()
            sent += len(piece)
        assert 0 <= STREAM_WINDOW - sent <= sum(map(len, first))
        for _ in range(10):
            assert_echoes(echo)
        (tmp_path / "gate").write_text("")
        late.send(frame[sent:])
        assert late.read_frame() == Frame(TEXT, b"%d" % (1 << 20))


def test_streams_at_a_time_are_limited(start: Any):
    server = start("--max-http2-streams", "3")
    with Http2Client(server) as client:
        websockets = [client.websocket("/echo") for _ in range(3)]
        assert client.h2.remote_settings.max_concurrent_streams == 3
        # a client that does not care
        headers = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
        frame = HeadersFrame(101, client.h2.encoder.encode([*headers, (":authority", "h")]))
        frame.flags |= {"END_HEADERS", "END_STREAM"}
        client.socket.sendall(frame.serialize())
        assert wait_for_frame(client, RstStreamFrame).error_code == REFUSED_STREAM
        for websocket in websockets:
            assert_echoes(websocket)


def wait_for_frame(client: Http2Client, kind: type[RawFrame]) -> Any:
    """Wait for a frame; what else comes is taken as always."""
    found: list[Any] = []
    table = client.h2._frame_dispatch_table

    def note(frame: Any) -> tuple[list[Any], list[Any]]:
        found.append(frame)
        return [], []

    table[kind] = note
    client.wait(lambda: found)
    return found[0]


def test_a_client_that_resets_without_end_is_left(start: Any):
    server = start("--max-http2-resets", "20")
    with nothing_stays(server):
        with Http2Client(server) as client:
            client.websocket("/echo")
            resets = [client.connect("/echo") for _ in range(20)]
            for stream in resets:
                client.h2.reset_stream(stream)
            client.flush()
            for _ in range(10_000):
                if client.goaway is not None:
                    break
                client.h2.reset_stream(client.connect("/echo"))
                client.flush()
                client.take(0)
            assert client.goaway == ENHANCE_YOUR_CALM
        server.log.wait_for(r"resets streams.* without end.*\(--max-http2-resets\)")
        with Http2Client(server) as other:
            assert_echoes(other.websocket("/echo"))


WAITS = """
import os, time

def web_socket_do_extra_handshake(request):
    print('begun', request.uri, flush=True)
    while not os.path.exists({go!r}):
        time.sleep(0.01)

def web_socket_transfer_data(request):
    pass
"""


@pytest.mark.parametrize("answers", [True, False])
def test_resets_before_a_handlers_answer_are_counted_against_answers(
    start: Any, write_handler: WriteHandler, tmp_path: Path, *, answers: bool
):
    go = tmp_path / "go"
    write_handler("waits", WAITS.format(go=str(go)))
    server = start("--max-http2-resets", "3")
    with Http2Client(server) as client:
        for number in range(8):
            stream = client.connect(f"/waits?{number}")
            server.out.wait_for(rf"begun /waits\?{number}$")
            client.reset(stream)
            if answers:
                # more than one, as the task of the first may be told before that of the reset
                assert [client.fetch("/none").status for _ in range(2)] == [404, 404]
            elif number == 3:
                break
        if answers:
            assert client.goaway is None
        else:
            client.wait(lambda: client.goaway == ENHANCE_YOUR_CALM)
    go.touch()


def test_a_preface_alone_is_cut_off(start: Any):
    server = start("--head-timeout", "0.2")
    with server.connect() as silent:
        silent.send(PREFACE)
        silent.read_to_end()


def header_flood() -> Iterator[bytes]:
    yield SettingsFrame(0).serialize()
    frame = HeadersFrame(1, b"\x00\x01a\x01b")
    yield frame.serialize()
    for _ in range(20_000):
        yield ContinuationFrame(1, b"\x00\x01a\x01b" * 100).serialize()


def empty_continuations() -> Iterator[bytes]:
    yield SettingsFrame(0).serialize()
    yield HeadersFrame(1, b"").serialize()
    for _ in range(100_000):
        yield ContinuationFrame(1, b"").serialize()


def ping_flood() -> Iterator[bytes]:
    yield SettingsFrame(0).serialize()
    for _ in range(50_000):
        yield PingFrame(0, b"12345678").serialize()


def settings_flood() -> Iterator[bytes]:
    for _ in range(50_000):
        yield SettingsFrame(0, settings={3: 100}).serialize()


@pytest.mark.parametrize("flood", [header_flood, empty_continuations, ping_flood, settings_flood])
def test_floods_leave_nothing_behind(start: Any, flood: Any):
    server = start()
    with nothing_stays(server), server.connect() as client:
        # nothing is read: answers are for the server to keep or not
        client.socket.settimeout(0.5)
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.send(PREFACE + b"".join(flood()))
        client.reset()


def test_a_client_that_reads_nothing_is_cut_when_the_connection_ends(start: Any):
    # the last frame, which says why, waits behind the answers to these for ever
    pings = PingFrame(0).serialize() * 1000
    server = start("--head-timeout", "1")
    with server.connect() as client:
        client.send(PREFACE + SettingsFrame(0).serialize())

        def send_without_end() -> None:
            while True:
                client.send(pings)

        with pytest.raises(ConnectionError):
            send_without_end()


def script() -> bytes:
    """What a client sends for a WebSocket with a message."""
    import h2.config
    import h2.connection

    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=True, validate_outbound_headers=False)
    )
    connection.initiate_connection()
    headers = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "h"),
        (":path", "/echo"),
        ("sec-websocket-version", "13"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, encode_frame(TEXT, b"hello"))
    data: bytes = connection.data_to_send()
    return data


@ALL_WAYS
def test_a_client_may_go_at_every_step(start: Any):
    server = start()
    data = script()
    with nothing_stays(server):
        for end in range(1, len(data) + 1, 3):
            with server.connect() as client:
                client.send(data[:end])
                if end % 2:
                    client.reset()


@ALL_WAYS
def test_zero_windows_for_ever_end_with_the_handler(start: Any, write_handler: WriteHandler):
    write_handler("once", 'request.ws_stream.send_message("x" * 1000)\nraise RuntimeError("over")')
    server = start("--http-timeout", "0.3")
    with nothing_stays(server, threads=8), Http2Client(server, window=0) as client:
        client.flush()
        websockets = [client.websocket("/once") for _ in range(10)]
        pages = [client.request("/") for _ in range(3)]
        for websocket in websockets:
            assert websocket.wait_end().reset_code is not None
        for page in pages:
            assert client.wait_end(page).reset_code is not None
        assert not any(websocket.state.data for websocket in websockets)


def test_what_was_sent_does_not_wait_for_a_handler_that_blocks(
    start: Any, write_handler: WriteHandler
):
    # handlers that run in one turn send together, unless one of them takes too long
    write_handler(
        "blocks",
        """\
import threading
web_socket_concurrency = "hub"
left = 8
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    global left
    request.ws_stream.send_message(request.ws_stream.receive_message())
    left -= 1
    if left == 0:
        threading.Event().wait()
""",
    )
    server = start()
    with Http2Client(server) as client:
        websockets = [client.websocket("/blocks") for _ in range(8)]
        data = b"".join(data_frame(websocket.stream, b"hello") for websocket in websockets)
        client.socket.sendall(data)
        for websocket in websockets:
            assert websocket.read_frame() == Frame(TEXT, b"hello")


def data_frame(stream: int, message: bytes) -> bytes:
    serialized: bytes = DataFrame(stream, encode_frame(TEXT, message)).serialize()
    return serialized


@ALL_WAYS
def test_a_websocket_takes_no_descriptor(start: Any):
    server = start()
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    with Http2Client(server) as client:
        assert_echoes(client.websocket("/echo"))
        before = len(list(descriptors.iterdir()))
        websockets = [client.websocket("/echo") for _ in range(20)]
        for websocket in websockets:
            assert_echoes(websocket)
        assert len(list(descriptors.iterdir())) == before
