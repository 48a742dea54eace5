"""The inner side of a connection of HTTP/3, with a server of HTTP/2 that a test speaks for."""

from typing import Any

import h2.config
import h2.connection
import h2.errors

from fastwsh.http3.inside import Inside

CONNECT = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"h"),
    (b":path", b"/echo"),
]


class Outside:
    """Notes what it is told, and sends on when there is room."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.inside: Inside | None = None
        self.waiting = bytearray(bytes(200_000))

    def has_room(self, stream_id: int | None) -> None:
        assert self.inside is not None
        self.inside.send(stream_id or 1, self.waiting)

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.told.append((name, *arguments))


def opened() -> tuple[Outside, Inside, h2.connection.H2Connection]:
    """Open a stream of which the window is shut."""
    outside = Outside()
    inside = outside.inside = Inside(outside)
    inside.open(CONNECT, ends=False)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(inside._h2.data_to_send())
    inside.data_received(server.data_to_send())
    server.receive_data(inside._h2.data_to_send())
    assert 0 < len(outside.waiting) < 200_000
    return outside, inside, server


def test_a_reset_behind_room_for_more_ends_the_stream_alone():
    outside, inside, server = opened()
    for stream in (None, 1):
        server.increment_flow_control_window(100, stream)
    server.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
    inside.data_received(server.data_to_send())
    assert outside.told[-2:] == [("was_reset", 1, 8), ("all_taken",)]
    assert not outside.waiting
    inside.end(1)
    inside.reset(1, 8)
    inside.take(1, 10)
    assert inside.open(CONNECT, ends=False) == 3


def test_streams_go_on_after_goaway():
    outside, inside, server = opened()
    server.send_headers(1, [(":status", "200")])
    answer = server.data_to_send()
    # a server that stops: no error, the last stream
    inside.data_received(b"\0\0\x08\x07\0\0\0\0\0" + (1).to_bytes(4) + bytes(4))
    inside.data_received(answer)
    assert ("answered", 1, [(b":status", b"200")]) in outside.told
    inside.connection_lost(None)
    assert outside.told[-1] == ("left", 0)


def test_what_is_not_http_2_ends_the_connection():
    outside, inside, _ = opened()
    inside.data_received(bytes(100))
    inside.connection_lost(None)
    assert outside.told[-1] == ("left", h2.errors.ErrorCodes.INTERNAL_ERROR)
