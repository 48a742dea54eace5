"""WebSockets on streams, for clients of HTTP/2 and HTTP/3 alike."""

from typing import Any

from wire import CLOSE, Frame, encode_frame


class Tunnel:
    """An open WebSocket on a stream of HTTP/2 or HTTP/3.

    Args:
        client: An `Http2Client` or an `Http3Client`.
        stream: The number of the stream.
    """

    def __init__(self, client: Any, stream: int) -> None:
        self.client = client
        self.stream = stream
        self.state = client.streams[stream]

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.client.send(self.stream, data, end=end)

    def send_frame(self, opcode: int, payload: bytes = b"", **more: object) -> None:
        self.send(encode_frame(opcode, payload, **more))  # type: ignore[arg-type]

    def send_close(self, code: int = 1000) -> None:
        self.send_frame(CLOSE, code.to_bytes(2))

    def read(self, count: int) -> bytes:
        """Wait for so many bytes."""
        state = self.state
        self.client.wait(
            lambda: len(state.data) >= count or state.has_ended or state.reset_code is not None
        )
        assert len(state.data) >= count, state
        data = bytes(state.data[:count])
        del state.data[:count]
        return data

    def read_frame(self) -> Frame:
        """Wait for a frame."""
        first, second = self.read(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8))
        assert not second & 0x80
        return Frame(first & 0x0F, self.read(size), bool(first & 0x80), first >> 4 & 0x7)

    def wait_end(self) -> Any:
        return self.client.wait_end(self.stream)

    def reset(self) -> None:
        self.client.reset(self.stream)
