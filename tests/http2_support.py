"""A client of HTTP/2 (RFC 9113) for tests: Hyper's `h2` speaks the protocol, frames are `wire`'s.

It opens WebSockets by extended CONNECT (RFC 8441) and asks for pages, on one connection.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
from hyperframe.frame import GoAwayFrame

from conftest import Server
from fastwsh.testing import WsServer
from stream_tunnel import Asks, Headers, HttpStream, Tunnel
from wire import DEADLINE_SECONDS

__all__ = ["Http2Client", "Tunnel"]


class Http2Client(Asks[HttpStream]):
    """One connection; every wait has a deadline.

    Args:
        server: Where to connect.
        context: For TLS, whose ALPN is to offer h2; None speaks HTTP/2 by prior knowledge.
        window: The initial window of our streams; None is the protocol's.
        opens_window: Whether received data makes room for more.
    """

    def __init__(
        self,
        server: Server | WsServer,
        context: ssl.SSLContext | None = None,
        *,
        window: int | None = None,
        opens_window: bool = True,
        checks: bool = True,
    ) -> None:
        self.authority = f"localhost:{server.port}"
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", server.port), DEADLINE_SECONDS
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.scheme = "http"
        if context is not None:
            context.set_alpn_protocols(["h2", "http/1.1"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
            self.scheme = "https"
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=checks,
            normalize_outbound_headers=checks,
        )
        self.h2 = h2.connection.H2Connection(config)
        # `h2` takes GOAWAY for the end of all streams; those that are open go on (RFC 9113 6.8)
        self.h2._frame_dispatch_table[GoAwayFrame] = self._receive_goaway
        self.streams: dict[int, HttpStream] = {}
        self.goaway: int | None = None
        self.is_closed = False
        self.pongs = 0
        self._opens_window = opens_window
        if window is not None:
            code = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
            self.h2.local_settings[code] = window
            self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def break_off(self) -> None:
        """Reset the TCP connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def open_stream(self, headers: Headers, *, end_stream: bool = False) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = HttpStream()
        self.h2.send_headers(stream, list(headers), end_stream=end_stream)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send data, as the window has room."""
        while data:
            self.wait(lambda: self.h2.local_flow_control_window(stream) > 0)
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def wait_closed(self) -> None:
        """Wait for the end of the connection."""
        self.wait(lambda: self.is_closed)

    def wait(self, is_there: Callable[[], object]) -> None:
        """Take what comes until something is there."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_there():
            left = deadline - time.monotonic()
            assert left > 0, (self.streams, self.goaway)
            assert not self.is_closed, (self.streams, self.goaway)
            self.take(left)

    def take(self, seconds: float) -> None:
        """Take what comes within this time."""
        has_more = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        if not has_more and not select.select([self.socket], [], [], seconds)[0]:
            return
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            self.is_closed = True
            return
        for event in self.h2.receive_data(data):
            self._note(event)
        with contextlib.suppress(ConnectionError):
            self.flush()

    def wait_for_settings(self) -> None:
        self.wait(lambda: self.h2.remote_settings.enable_connect_protocol == 1)

    def reset(self, stream: int) -> None:
        """Break a stream off."""
        self.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        self.flush()

    def ping(self) -> None:
        """Wait until the server has answered a PING (RFC 9113 6.7)."""
        before = self.pongs
        self.h2.ping(bytes(8))
        self.flush()
        self.wait(lambda: self.pongs > before)

    def _receive_goaway(self, frame: GoAwayFrame) -> tuple[list[object], list[object]]:
        self.goaway = frame.error_code
        return [], []

    def _note(self, event: h2.events.Event) -> None:
        self.pongs += isinstance(event, h2.events.PingAckReceived)
        stream = self.streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived | h2.events.InformationalResponseReceived):
            stream.take_head([(str(name), str(value)) for name, value in event.headers])
        elif isinstance(event, h2.events.DataReceived):
            stream.data += event.data
            if self._opens_window and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.has_ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset_code = int(event.error_code)
