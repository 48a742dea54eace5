"""Clients of HTTP/2 that leave at some step, in some way: nothing of them stays in the server."""

import contextlib
import itertools
import socket
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame

from conftest import ALL_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT, nothing_stays
from http2_support import Http2Client
from metrics_support import Metrics
from wire import TEXT, encode_frame

MESSAGE = encode_frame(TEXT, b"hello")


def connect_only(client: Http2Client) -> None:
    """SETTINGS, and nothing else."""


def begin_a_head(client: Http2Client) -> None:
    """A head whose rest would come in CONTINUATION frames."""
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http")]
    client.socket.sendall(HeadersFrame(1, client.h2.encoder.encode(fields)).serialize())


def begin_a_body(client: Http2Client) -> None:
    client.request("/cgi-bin/none", "POST", [("content-length", "1000")])
    stream = client.open_stream(
        [(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/none")]
    )
    client.send(stream, b"some")


def ask(client: Http2Client) -> None:
    for path in ("/echo", "/none", "/echo"):
        client.connect(path)


def ask_and_send(client: Http2Client) -> None:
    client.send(client.connect("/echo"), MESSAGE)


def open_websockets(client: Http2Client) -> None:
    for _ in range(3):
        client.websocket("/echo")


def send_half_a_frame(client: Http2Client) -> None:
    client.websocket("/echo").send(MESSAGE[:5])


def send_half_a_data_frame(client: Http2Client) -> None:
    websocket = client.websocket("/echo")
    frame: bytes = DataFrame(websocket.stream, MESSAGE * 10).serialize()
    client.socket.sendall(frame[:40])


def echo_unread(client: Http2Client) -> None:
    client.websocket("/echo").send(encode_frame(TEXT, b"x" * 60_000))


def end_a_direction(client: Http2Client) -> None:
    client.websocket("/echo").send(b"", end=True)


def close_and_end(client: Http2Client) -> None:
    websocket = client.websocket("/echo")
    websocket.send_close()
    websocket.send(b"", end=True)


def close_alone(client: Http2Client) -> None:
    client.websocket("/echo").send_close()


STEPS = (
    *(connect_only, begin_a_head, begin_a_body, ask, ask_and_send, open_websockets),
    *(send_half_a_frame, send_half_a_data_frame, echo_unread),
    *(end_a_direction, close_and_end, close_alone),
)


def end_tcp(client: Http2Client) -> None:
    client.close()


def reset_tcp(client: Http2Client) -> None:
    linger_not_at_all = (1).to_bytes(4, "little") + bytes(4)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not_at_all)
    client.close()


def half_close_tcp(client: Http2Client) -> None:
    client.socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionError):
        while client.socket.recv(65536):
            pass


def say_goodbye(client: Http2Client) -> None:
    client.socket.sendall(GoAwayFrame(0, last_stream_id=0, error_code=2).serialize())


def reset_streams(client: Http2Client) -> None:
    for stream in client.streams:
        with contextlib.suppress(KeyError, ValueError):
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.flush()


def break_the_protocol(client: Http2Client) -> None:
    # DATA on the connection itself (RFC 9113 6.1)
    frame = bytearray(DataFrame(1, b"x").serialize())
    frame[5:9] = bytes(4)
    client.socket.sendall(frame)
    half_close_tcp(client)


LEAVES = (end_tcp, reset_tcp, half_close_tcp, say_goodbye, reset_streams, break_the_protocol)


@ALL_WAYS
def test_nothing_stays_of_clients_that_leave(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)
    server = start_server("-w", "handlers", "--http2", "--metrics-port", "0")
    metrics = Metrics(server)
    with nothing_stays(server, threads=10):
        for step, leave in itertools.product(STEPS, LEAVES):
            with Http2Client(server) as client:
                step(client)
                leave(client)
        wait_until_none(metrics)
    # what clients do is no error of a handler, and none of the server
    now = metrics.now()
    assert now["fastwsh_internal_errors_total", frozenset()] == 0
    assert not [name for name, _ in now if name == "fastwsh_handler_errors_total"]
    assert "Traceback" not in "\n".join(server.log.lines)


def wait_until_none(metrics: Metrics) -> None:
    """Wait until the server has neither connections nor streams."""
    metrics.wait_for("http_connections", 0, version="2")
    for name, labels in metrics.now():
        if name == "fastwsh_connections":
            metrics.wait_for("connections", 0, **dict(labels))


@pytest.mark.parametrize("step", [begin_a_head, begin_a_body, send_half_a_frame, end_a_direction])
def test_a_step_that_is_never_followed_holds_up_nobody(
    start_server: StartServer, write_handler: WriteHandler, step: Callable[[Http2Client], None]
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as half, Http2Client(server) as other:
        step(half)
        websocket = other.websocket("/echo")
        websocket.send(MESSAGE)
        assert websocket.read_frame().payload == b"hello"
