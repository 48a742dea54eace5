"""The inner side of a connection of HTTP/3, with a server of HTTP/2 that a test speaks for."""

from typing import Any

import h2.config
import h2.connection
import h2.errors

from fastwsh.http3.inner_connection import InnerConnection

CONNECT = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"h"),
    (b":path", b"/echo"),
]


class Events:
    """Notes what it is told, and sends on when it can."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.inner: InnerConnection | None = None
        self.waiting = bytearray(bytes(200_000))

    def can_send(self, stream_id: int | None) -> None:
        assert self.inner is not None
        self.inner.send(stream_id or 1, self.waiting)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append((name, *arguments))


def opened() -> tuple[Events, InnerConnection, h2.connection.H2Connection]:
    """Open a stream of which the window is shut."""
    events = Events()
    inner = events.inner = InnerConnection(events)
    inner.open(CONNECT, ends=False)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(inner._h2.data_to_send())
    inner.data_received(server.data_to_send())
    server.receive_data(inner._h2.data_to_send())
    assert 0 < len(events.waiting) < 200_000
    return events, inner, server


def test_a_reset_behind_a_larger_window_ends_the_stream_alone():
    events, inner, server = opened()
    for stream in (None, 1):
        server.increment_flow_control_window(100, stream)
    server.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    inner.data_received(server.data_to_send())
    assert events.told[-2:] == [("was_reset", 1, 8), ("all_taken",)]
    assert not events.waiting
    inner.end(1)
    inner.reset(1, 8)
    inner.take(1, 10)
    assert inner.open(CONNECT, ends=False) == 3


def test_streams_go_on_after_goaway():
    events, inner, server = opened()
    server.send_headers(1, [(":status", "200")])
    answer = server.data_to_send()
    # a server that stops: no error, the last stream
    inner.data_received(b"\0\0\x08\x07\0\0\0\0\0" + (1).to_bytes(4) + bytes(4))
    inner.data_received(answer)
    assert ("answered", 1, [(b":status", b"200")]) in events.told
    inner.connection_lost(None)
    assert events.told[-1] == ("left", 0)


def test_what_is_not_http_2_ends_the_connection():
    events, inner, _ = opened()
    inner.data_received(bytes(100))
    inner.connection_lost(None)
    assert events.told[-1] == ("left", h2.errors.ErrorCodes.INTERNAL_ERROR)
