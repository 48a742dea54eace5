"""A server of HTTP/2 for tests of the client: it does exactly what a test says."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from client_support import serving_socket
from wire import CLOSE, DEADLINE_SECONDS, Frame, encode_frame

__all__ = ["Http2Peer", "serving_http2"]


class Http2Peer:
    """The server's end of one connection.

    Attributes:
        request: The fields of the request, after `read_request`.
    """

    def __init__(self, connected: socket.socket, *, websockets: bool) -> None:
        self.socket = connected
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        code = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL
        self.h2.local_settings[code] = int(websockets)
        self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.flush()
        self.request: dict[str, str] | None = None
        self.stream = 0
        self.data = bytearray()
        self.has_ended = False
        self.reset_code: int | None = None
        self.has_goodbye = False

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def wait(self, is_there: Callable[[], object]) -> None:
        """Take what comes until something is there."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not is_there():
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self.socket.recv(65536)
            assert data, "the client has ended the connection"
            for event in self.h2.receive_data(data):
                self._note(event)
            self.flush()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.request = {str(name): str(value) for name, value in event.headers}
            self.stream = event.stream_id or 0
        elif isinstance(event, h2.events.DataReceived):
            self.data += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.has_ended = True
        elif isinstance(event, h2.events.StreamReset):
            self.reset_code = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.has_goodbye = True

    def read_request(self) -> dict[str, str]:
        self.wait(lambda: self.request is not None)
        assert self.request is not None
        return self.request

    def answer(self, status: int = 200, *headers: tuple[str, str], end: bool = False) -> None:
        """Read the request and answer it."""
        self.read_request()
        fields = [(":status", str(status)), *headers]
        self.h2.send_headers(self.stream, fields, end_stream=end)
        self.flush()

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.h2.send_data(self.stream, data, end_stream=end)
        self.flush()

    def send_frame(self, opcode: int, payload: bytes = b"") -> None:
        self.send(encode_frame(opcode, payload, mask=None))

    def reset(self, code: h2.errors.ErrorCodes) -> None:
        self.h2.reset_stream(self.stream, code)
        self.flush()

    def read_frame(self) -> Frame:
        """Read a short frame of the client, which must be masked."""
        self.wait(lambda: len(self.data) >= 6 and len(self.data) >= 6 + (self.data[1] & 0x7F))
        first, second, size = self.data[0], self.data[1], self.data[1] & 0x7F
        assert second & 0x80
        assert size < 126
        mask, payload = self.data[2:6], self.data[6 : 6 + size]
        del self.data[: 6 + size]
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 0x7)

    def close(self, code: int = 1000) -> None:
        """Answer the client's close frame, and end."""
        assert self.read_frame().opcode == CLOSE
        self.send(encode_frame(CLOSE, code.to_bytes(2), mask=None), end=True)
        self.wait(lambda: self.has_ended and self.has_goodbye)


def serving_http2(
    script: Callable[[Http2Peer], None], *, websockets: bool = True
) -> AbstractContextManager[str]:
    """Serve one connection by `script`, as `client_support.serving_socket` does."""
    return serving_socket(lambda socket: script(Http2Peer(socket, websockets=websockets)))
