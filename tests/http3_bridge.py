"""The proxy of `http2_bridge` for HTTP/3 (RFC 9220): each connection of a client becomes a QUIC
connection with one stream.
"""

import contextlib
import select
import socket
import time
from types import SimpleNamespace
from typing import Any, cast

from http2_bridge import answer_head, connect_fields
from http3_support import Http3Client, Http3Stream

__all__ = ["Http3Passage"]

_WINDOW = 128 * 1024
_PIECE = 16 * 1024


class Http3Passage:
    """One client and its stream of HTTP/3."""

    def __init__(self, client: socket.socket, port: int) -> None:
        self.client = client
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = cast("Any", SimpleNamespace(port=port))
        self.http3 = Http3Client(server, window=_WINDOW)
        self.head = b""
        self.key = ""
        self.stream = -1
        self.to_client = bytearray()
        self.state = Http3Stream()
        self.is_answered = self.client_ended = self.is_cut = False

    def run(self) -> None:
        """Pass bytes on until both directions have ended."""
        with self.client, contextlib.closing(self.http3), contextlib.suppress(OSError):
            try:
                while not (self.is_cut or (self._has_stream_ended() and self.client_ended)):
                    self._turn()
            finally:
                if self.stream >= 0 and not self._has_stream_ended():
                    self.http3.reset(self.stream)

    def cut(self) -> None:
        """Let `run` end."""
        self.is_cut = True
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def _is_lost(self) -> bool:
        return self.state.reset_code is not None or self.http3.closed is not None

    def _has_stream_ended(self) -> bool:
        return self.state.has_ended or self._is_lost()

    def _turn(self) -> None:
        http3 = self.http3
        # the client's reading opens the window
        http3.windows.opens = len(self.to_client) < _PIECE
        has_room = self.stream < 0 or http3.unsent(self.stream) < _PIECE or self._is_lost()
        wants = has_room and not self.client_ended
        readers = [http3.socket, *([self.client] if wants else [])]
        writers = [self.client] if self.to_client else []
        timer = http3.quic.get_timer()
        most = None if timer is None else max(0, timer - time.monotonic())
        readable, writable, _ = select.select(readers, writers, [], most)
        if self.client in writable:
            self.client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                del self.to_client[: self.client.send(self.to_client)]
        if self.client in readable:
            self._take_from_client()
        http3.take(0)
        self._take_from_server()

    def _take_from_client(self) -> None:
        data = self.client.recv(_PIECE)
        self.client_ended = not data
        if self.stream < 0:
            self.is_cut = self.client_ended
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.key, fields = connect_fields(head.decode("latin-1"), "https")
            self.stream = self.http3.open_stream(fields)
            self.state = self.http3.streams[self.stream]
        # the server asks for no more when it has refused
        wants_more = self.state.stop_code is None and not self._is_lost()
        if (data or self.client_ended) and wants_more:
            self.http3.send(self.stream, data, end=self.client_ended)

    def _take_from_server(self) -> None:
        state = self.state
        if state.all_headers and not self.is_answered:
            self.is_answered = True
            self.to_client += answer_head(state.all_headers, self.key)
        self.to_client += state.data
        state.data.clear()
        if self._has_stream_ended() and not self.to_client:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_WR)
