"""A client of HTTP/3 (RFC 9114) for tests: aioquic speaks the protocol, frames are `wire`'s.

It opens WebSockets by extended CONNECT (RFC 9220) and asks for pages, on one connection, in the
thread that calls it.
"""

import contextlib
import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import aioquic.h3.connection
import aioquic.h3.events
import aioquic.quic.connection
import aioquic.quic.events
import trustme
from aioquic.h3.connection import H3Connection
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from conftest import Server
from fastwsh.testing import WsServer
from stream_tunnel import Asks, Headers, HttpStream, Tunnel
from wire import DEADLINE_SECONDS

__all__ = ["CERTIFICATE", "Http3Client", "Http3Stream", "Tunnel", "write_certificate"]

CERTIFICATE = trustme.CA().issue_cert("localhost", "127.0.0.1", "::1")
"""The certificate of the tests' servers; clients do not check it."""

NO_ERROR = aioquic.h3.connection.ErrorCode.H3_NO_ERROR


def write_certificate(path: os.PathLike[str]) -> None:
    """Write a file for `--ssl-certfile`."""
    CERTIFICATE.private_key_and_cert_chain_pem.write_to_path(path)


@dataclass
class Http3Stream(HttpStream):
    """What has come on a stream of HTTP/3."""

    stop_code: int | None = None


class _Windows:
    """Whether received data makes room for more, which aioquic always does by itself."""

    def __init__(self, quic: Any, opens: bool) -> None:
        self.opens = opens
        self._write = quic._write_stream_limits
        quic._write_stream_limits = self._write_if_open

    def _write_if_open(self, **arguments: Any) -> None:
        if self.opens:
            self._write(**arguments)


class _Http3(H3Connection):
    """Takes answers to HEAD, whose length is that of an answer to GET."""

    def _check_content_length(self, stream: Any) -> None:
        pass


class Http3Client(Asks[Http3Stream]):
    """One connection; every wait has a deadline.

    Args:
        server: Where to connect.
        port: The UDP port; None is the server's TCP port.
        window: The window of a stream.
        opens_window: Whether received data makes room for more.
        connects: Whether to wait until the handshake is done.
    """

    def __init__(
        self,
        server: Server | WsServer,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        window: int = 1 << 20,
        opens_window: bool = True,
        connects: bool = True,
        idle_timeout: float = DEADLINE_SECONDS,
    ) -> None:
        self.port = port or server.port
        self.authority = f"localhost:{server.port}"
        self.scheme = "https"
        self._address = (host, self.port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setblocking(False)
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=["h3"],
            server_name="localhost",
            max_stream_data=window,
            max_data=1 << 30,
            idle_timeout=idle_timeout,
            verify_mode=ssl.CERT_NONE,
        )
        self.quic: Any = QuicConnection(configuration=configuration)
        self.windows = _Windows(self.quic, opens_window)
        self.streams: dict[int, Http3Stream] = {}
        self.is_connected = False
        self.closed: aioquic.quic.events.ConnectionTerminated | None = None
        self.has_retried = False
        self.h3: Any = _Http3(self.quic)
        self.control = bytearray()
        self.quic.connect(self._address, now=time.monotonic())
        self.flush()
        if connects:
            self.wait(lambda: self.is_connected)
            self.wait(lambda: self.h3.received_settings is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection with CONNECTION_CLOSE."""
        if self.socket.fileno() >= 0:
            if self.closed is None:
                self.quic.close(NO_ERROR)
                self.flush()
            self.socket.close()

    def vanish(self) -> None:
        """Be gone without a word."""
        self.socket.close()

    def flush(self) -> None:
        for data, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            # the kernel has no room, or nobody is there: packets may be lost
            with contextlib.suppress(OSError):
                self.socket.sendto(data, self._address)

    def open_stream(self, headers: Headers, *, end_stream: bool = False) -> int:
        stream: int = self.quic.get_next_available_stream_id()
        self.streams[stream] = Http3Stream()
        fields = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        self.h3.send_headers(stream, fields, end_stream=end_stream)
        self.flush()
        return stream

    def may_open(self, stream: int) -> bool:
        """Return whether the server allows a stream with this number by now."""
        return stream // 4 < self.quic._remote_max_streams_bidi

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send data; what there is no window for waits."""
        self.h3.send_data(stream, data, end_stream=end)
        self.flush()

    def unsent(self, stream: int) -> int:
        """Return how many bytes wait for the window or an acknowledgement."""
        found = self.quic._streams.get(stream)
        return 0 if found is None else len(found.sender._buffer)

    def wait_for_settings(self) -> None:
        # the handshake has waited for them
        assert self.h3.received_settings[8] == 1  # ENABLE_CONNECT_PROTOCOL

    def reset(self, stream: int, code: int = 0x10C) -> None:
        """Break a stream off in both directions."""
        self.quic.reset_stream(stream, code)
        # it is not known if it has ended
        with contextlib.suppress(ValueError):
            self.quic.stop_stream(stream, code)
        self.flush()

    def wait_closed(self) -> int:
        """Wait for the end of the connection; return its code."""
        self.wait(lambda: self.closed)
        assert self.closed is not None
        return self.closed.error_code

    def wait(self, is_there: Callable[[], object]) -> None:
        """Take what comes until something is there."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        self.flush()
        while not is_there():
            left = deadline - time.monotonic()
            assert left > 0, (self.streams, self.closed)
            assert not self.closed, (self.streams, self.closed)
            self.take(left)

    def take(self, seconds: float) -> None:
        """Take what comes within this time."""
        timer = self.quic.get_timer()
        now = time.monotonic()
        most = seconds if timer is None else max(0, min(seconds, timer - now))
        select.select([self.socket], [], [], most)
        # until nothing is left, or nobody is there
        with contextlib.suppress(OSError):
            while True:
                data = self.socket.recv(65536)
                self.quic.receive_datagram(data, self._address, now=time.monotonic())
        now = time.monotonic()
        if (timer := self.quic.get_timer()) is not None and timer <= now:
            self.quic.handle_timer(now=now)
        while (event := self.quic.next_event()) is not None:
            self._note(event)
        self.flush()

    def _note(self, event: Any) -> None:
        stream = self.streams.get(getattr(event, "stream_id", -1))
        match event:
            case aioquic.quic.events.HandshakeCompleted():
                self.is_connected = True
            case aioquic.quic.events.ConnectionTerminated():
                self.closed = event
            case aioquic.quic.events.StreamReset() if stream is not None:
                stream.reset_code = event.error_code
            case aioquic.quic.events.StopSendingReceived() if stream is not None:
                stream.stop_code = event.error_code
            case aioquic.quic.events.StreamDataReceived(stream_id=3):
                self.control += event.data
            case _:
                pass
        for found in self.h3.handle_event(event):
            stream = self.streams.get(getattr(found, "stream_id", -1))
            if stream is None:
                continue
            if isinstance(found, aioquic.h3.events.HeadersReceived):
                fields = [(name.decode(), value.decode("latin-1")) for name, value in found.headers]
                stream.take_head(fields)
            elif isinstance(found, aioquic.h3.events.DataReceived):
                stream.data += found.data or b""
            stream.has_ended |= bool(getattr(found, "stream_ended", False))

    @property
    def goaway(self) -> int | None:
        """The stream of GOAWAY, if it has come."""
        # behind the stream's type and SETTINGS: 0x07, its length and the stream
        found = self.control.find(b"\x07\x01")
        return None if found < 0 else self.control[found + 2]
