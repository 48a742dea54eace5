"""Flow control, limits and hostile clients of HTTP/3."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import ErrorCode, FrameType, encode_frame

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT
from http3_support import Http3Client, write_certificate
from stream_tunnel import Tunnel
from usage import Usage, wait_for_usage
from wire import BINARY, TEXT, Frame
from wire import encode_frame as encode_message

MEMORY_KEPT_KIB = 24 * 1024


@pytest.fixture
def start(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path) -> Any:
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)
    write_certificate(tmp_path / "tls.pem")

    def start(*args: str) -> Server:
        return start_server("-w", "handlers", "--http3", "--ssl-certfile=tls.pem", *args)

    return start


def assert_echoes(websocket: Tunnel) -> None:
    websocket.send_frame(TEXT, b"x")
    assert websocket.read_frame() == Frame(TEXT, b"x")


def collect(server: Server) -> None:
    # aioquic's objects refer to each other, so that they go when the interpreter finds the time
    with Http3Client(server) as client:
        assert client.websocket("/collect").read_frame() == Frame(TEXT, b"collected")


@contextlib.contextmanager
def nothing_stays(server: Server) -> Iterator[None]:
    """Whatever happens inside, the server then answers and holds no more than before."""
    collect(server)
    before = Usage.of(server)
    yield
    collect(server)
    wait_for_usage(
        server,
        lambda now: (
            now.threads <= before.threads + 4
            and now.descriptors <= before.descriptors + 2
            and now.memory_kib <= before.memory_kib + MEMORY_KEPT_KIB
        ),
    )
    log = "\n".join(server.log.lines)
    assert "panicked" not in log
    # as the event loop reports what has gone wrong in the thread
    assert "HTTP/3: " not in log


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
        request.ws_stream.send_message("x" * (1 << 16))
        logging.getLogger("t").warning("sent %d", number)
    request.ws_stream.receive_message()
""",
    )
    server = start()
    with nothing_stays(server), Http3Client(server, window=65536, opens_window=False) as client:
        slow = client.websocket("/send")
        # what the window has room for, but for the answer's head and the headers of frames
        client.wait(lambda: len(slow.state.data) > 60_000)
        echo = client.websocket("/echo")
        for _ in range(10):
            assert_echoes(echo)
        assert len(slow.state.data) < 65536
        assert not [line for line in server.log.lines if "sent 63" in line]
        client.windows.opens = True
        for _ in range(64):
            assert slow.read_frame() == Frame(TEXT, b"x" * (1 << 16))
        server.log.wait_for("sent 63")


def test_a_handler_that_receives_nothing_does_not_open_the_window(
    start: Any, write_handler: WriteHandler, tmp_path: Path
):
    os.mkfifo(tmp_path / "gate")
    write_handler(
        "late",
        """\
web_socket_concurrency = "threads"
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    open("gate").read()
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(str(len(message)))
""",
    )
    server = start()
    with nothing_stays(server), Http3Client(server) as client:
        late, echo = client.websocket("/late"), client.websocket("/echo")
        late.send(encode_message(BINARY, bytes(4 << 20)))
        left = client.unsent(late.stream)
        while True:
            for _ in range(20):
                assert_echoes(echo)
            if client.unsent(late.stream) == left:
                break
            left = client.unsent(late.stream)
        # 128 KiB each: QUIC's window, HTTP/2's inside, and what sockets and the server take
        assert left > (4 << 20) - (1 << 20)
        for _ in range(10):
            assert_echoes(echo)
        (tmp_path / "gate").write_text("")
        assert late.read_frame() == Frame(TEXT, b"%d" % (4 << 20))


def test_streams_at_a_time_are_limited(start: Any):
    server = start("--max-http3-streams", "3")
    with Http3Client(server) as client:
        websockets = [client.websocket("/echo") for _ in range(3)]
        assert client.quic._remote_max_streams_bidi == 3
        # aioquic keeps it back until there is room
        fourth = client.connect("/echo")
        for websocket in websockets:
            assert_echoes(websocket)
        assert client.streams[fourth].headers is None
        websockets[0].send_close()
        websockets[0].send(b"", end=True)
        assert client.wait_headers(fourth).status == 200


def test_a_client_that_opens_too_many_streams_is_left(start: Any):
    server = start("--max-http3-streams", "3")
    with nothing_stays(server), Http3Client(server) as client:
        client.quic._remote_max_streams_bidi = 100
        for _ in range(10):
            client.connect("/echo")
        # STREAM_LIMIT_ERROR (RFC 9000 20.1)
        assert client.wait_closed() == 0x4


def test_a_client_that_resets_without_end_is_left(start: Any):
    server = start("--max-http3-resets", "20")
    with nothing_stays(server):
        with Http3Client(server) as client:
            client.websocket("/echo")
            for _ in range(10_000):
                if client.closed:
                    break
                stream = client.connect("/echo")
                # to reset a stream beyond the limit would be an error of QUIC
                while not client.closed and not client.may_open(stream):
                    client.take(0.1)
                client.reset(stream)
                client.take(0)
            assert client.wait_closed() == ErrorCode.H3_EXCESSIVE_LOAD
        server.log.wait_for(r"resets streams.* without end.*\(--max-http3-resets\)")
        with Http3Client(server) as other:
            assert_echoes(other.websocket("/echo"))


def test_a_connection_with_a_silent_websocket_is_kept(start: Any):
    server = start()
    with Http3Client(server, idle_timeout=6) as client:
        client.websocket("/echo")
        # the handshake's last packets may come behind the answer
        for _ in range(2):
            end = client.quic._close_at
            # each packet of the server puts the end off
            client.wait(lambda end=end: client.quic._close_at > end + 1)


def test_a_name_in_upper_case_is_an_error_of_its_stream(start: Any):
    server = start()
    with Http3Client(server) as client:
        fields = [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("X-Upper", "1")]
        stream = client.open_stream([(":authority", "localhost"), *fields])
        assert client.wait_end(stream).reset_code == ErrorCode.H3_MESSAGE_ERROR


def test_heads_that_never_end_are_refused(start: Any):
    server = start("--max-header-bytes", "5000")
    with nothing_stays(server), Http3Client(server) as client:
        echo = client.websocket("/echo")
        # a frame HEADERS of 100 MB
        stream = client.quic.get_next_available_stream_id()
        client.streams[stream] = type(echo.state)()
        head = encode_uint_var(FrameType.HEADERS) + encode_uint_var(100_000_000)
        client.quic.send_stream_data(stream, head + bytes(1 << 20))
        assert client.wait_end(stream).reset_code == ErrorCode.H3_EXCESSIVE_LOAD
        assert_echoes(echo)


def test_control_frames_that_never_end_are_refused(start: Any):
    server = start()
    with nothing_stays(server), Http3Client(server) as client:
        # a frame of 100 MB on the client's control stream
        head = encode_uint_var(FrameType.MAX_PUSH_ID) + encode_uint_var(100_000_000)
        client.quic.send_stream_data(2, head + bytes(1 << 20))
        assert client.wait_closed() == ErrorCode.H3_EXCESSIVE_LOAD


def frames_of_an_unknown_type(client: Http3Client) -> None:
    stream = client.quic.get_next_available_stream_id()
    client.quic.send_stream_data(stream, encode_frame(0x21, bytes(1 << 20)))


def data_without_a_head(client: Http3Client) -> None:
    stream = client.quic.get_next_available_stream_id()
    client.quic.send_stream_data(stream, encode_frame(FrameType.DATA, b"x"))


def pings(client: Http3Client) -> None:
    for number in range(2000):
        client.quic.send_ping(number)
        client.flush()


def half_open_streams(client: Http3Client) -> None:
    for _ in range(100):
        stream = client.quic.get_next_available_stream_id()
        client.quic.send_stream_data(stream, b"\x01")
    client.flush()


@pytest.mark.parametrize(
    "flood",
    [frames_of_an_unknown_type, data_without_a_head, pings, half_open_streams],
)
def test_floods_leave_nothing_behind(start: Any, flood: Any):
    server = start("--head-timeout", "2")
    with nothing_stays(server):
        client = Http3Client(server)
        flood(client)
        for _ in range(20):
            if client.closed:
                break
            client.take(0.01)
        client.vanish()


def test_packets_that_are_none_leave_nothing_behind(start: Any):
    server = start("--head-timeout", "1")
    with nothing_stays(server), socket.socket(type=socket.SOCK_DGRAM) as client:
        for number in range(3000):
            size = number % 1400
            first = b"\xc0\x00\x00\x00\x01" if number % 3 else b"\x40"
            client.sendto(first + os.urandom(size), ("127.0.0.1", server.port))


def test_handshakes_that_never_end_leave_nothing_behind(start: Any):
    server = start("--head-timeout", "1")
    with nothing_stays(server):
        for _ in range(100):
            Http3Client(server, connects=False).vanish()


@ALL_WAYS
def test_a_client_may_go_at_every_step(start: Any):
    server = start("--head-timeout", "2")

    def nothing(client: Http3Client) -> None:
        pass

    def ask(client: Http3Client) -> None:
        client.connect("/echo")

    def ask_and_send(client: Http3Client) -> None:
        client.send(client.connect("/echo"), encode_message(TEXT, b"hello"))

    def open_and_send_half(client: Http3Client) -> None:
        client.websocket("/echo").send(encode_message(TEXT, b"hello")[:5])

    def echo(client: Http3Client) -> None:
        assert_echoes(client.websocket("/echo"))

    def send_close(client: Http3Client) -> None:
        client.websocket("/echo").send_close()

    def close_whole(client: Http3Client) -> None:
        websocket = client.websocket("/echo")
        websocket.send_close()
        websocket.send(b"", end=True)
        websocket.wait_end()

    steps = [nothing, ask, ask_and_send, open_and_send_half, echo, send_close, close_whole]
    with nothing_stays(server):
        for step in steps:
            with Http3Client(server) as resets:
                step(resets)
                for stream in resets.streams:
                    resets.reset(stream)
                resets.take(0)
            with Http3Client(server) as closes:
                step(closes)
            vanishes = Http3Client(server, idle_timeout=2)
            step(vanishes)
            vanishes.vanish()


@ALL_WAYS
def test_zero_windows_for_ever_end_with_the_handler(start: Any, write_handler: WriteHandler):
    write_handler("once", 'request.ws_stream.send_message("x" * 1000)\nraise RuntimeError("over")')
    server = start("--http-timeout", "0.3")
    with nothing_stays(server), Http3Client(server, window=100, opens_window=False) as client:
        websockets = [client.connect("/once") for _ in range(3)]
        for websocket in websockets:
            assert client.wait_end(websocket).reset_code is not None
            assert len(client.streams[websocket].data) < 100


def test_usage_of_many_connections_returns(start: Any):
    server = start()
    collect(server)
    before = Usage.of(server)
    with contextlib.ExitStack() as stack:
        for client in [stack.enter_context(Http3Client(server)) for _ in range(20)]:
            client.websocket("/echo")
        assert Usage.of(server).descriptors >= before.descriptors + 20
    wait_for_usage(server, lambda usage: usage.descriptors <= before.descriptors + 2)
