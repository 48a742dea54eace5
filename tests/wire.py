"""A WebSocket client that shows and does everything: raw bytes out, raw bytes and frames in.

It shares no code with fastwsh, so that a mistake there cannot hide here.
"""

import base64
import hashlib
import os
import select
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

DEADLINE_SECONDS = 20.0 * float(os.environ.get("FASTWSH_TEST_TIME_SCALE", "1"))
"""How long a test waits for something that happens at once on a healthy machine."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

# RFC 6455 1.2: the nonce of its example, and the answer to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(
    hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
).decode()


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    mask: bytes | None = None

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, None if its body is empty."""
        return int.from_bytes(self.payload[:2]) if self.payload else None


@dataclass(frozen=True)
class Response:
    status_line: str
    headers: tuple[tuple[str, str], ...]

    @property
    def status(self) -> int:
        return int(self.status_line.split(" ")[1])

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), None)


def encode_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length_octets: int | None = None,
) -> bytes:
    """Encode a frame; `length_octets` (1, 2 or 8) forces a length field that is too long."""
    size = len(payload)
    octets = length_octets or (1 if size < 126 else 2 if size < 1 << 16 else 8)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    marked = 0x80 if mask else 0
    if octets == 1:
        head += bytes([marked | size])
    else:
        head += bytes([marked | (126 if octets == 2 else 127)]) + size.to_bytes(octets)
    if not mask:
        return head + payload
    return head + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask (RFC 6455 5.3): as two numbers, since a step for each byte takes seconds."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


class Client:
    """One TCP connection to a server; every wait has a deadline."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), DEADLINE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        self.port = port

    @classmethod
    def over(cls, connected: socket.socket, port: int = 0) -> Self:
        """A client of a connection that exists: a Unix socket, or TLS."""
        client = cls.__new__(cls)
        client.socket = connected
        client._file = connected.makefile("rb")
        client.port = port
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection without a closing handshake."""
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Close the connection by a reset instead of an orderly end, as a crash does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.socket.sendall(data)

    def send_request(self, path: str = "/echo", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send an opening handshake; `headers` replace the usual ones of their name."""
        lines = {
            "Host": f"127.0.0.1:{self.port}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
        }
        own = list(headers)
        for name, _ in own:
            lines.pop(name, None)
        head = [f"GET {path} HTTP/1.1", *(f"{n}: {v}" for n, v in [*lines.items(), *own])]
        self.send("\r\n".join([*head, "", ""]).encode("latin-1"))

    def read_response(self) -> Response:
        """Read a status line and headers."""
        lines = []
        while (line := self._file.readline()) not in (b"\r\n", b"\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        if not lines:
            raise EOFError("the server closed without a response")
        pairs = (line.partition(":") for line in lines[1:])
        return Response(lines[0], tuple((name, value.strip()) for name, _, value in pairs))

    def handshake(self, path: str = "/echo", headers: Iterable[tuple[str, str]] = ()) -> Response:
        """Open the WebSocket connection; fails the test unless the server accepts."""
        self.send_request(path, headers)
        response = self.read_response()
        assert response.status == 101, response
        assert response.header("Sec-WebSocket-Accept") == ACCEPT
        return response

    def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = b"\x37\xfa\x21\x3d",
    ) -> None:
        """Send one frame, masked unless `mask` is None."""
        self.send(encode_frame(opcode, payload, fin=fin, rsv=rsv, mask=mask))

    def send_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame; None sends an empty body."""
        body = b"" if code is None else code.to_bytes(2) + reason.encode()
        self.send_frame(CLOSE, body)

    def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError(f"the server closed after {len(data)} of {count} bytes")
        return data

    def socket_has_ended_within(self, seconds: float) -> bool:
        """Whether the server closes in this time; what it sends besides stays unread."""
        readable, _, _ = select.select([self.socket], [], [], seconds)
        return bool(readable) and self.socket.recv(1, socket.MSG_PEEK) == b""

    def read_to_end(self) -> bytes:
        """Read until the server closes; a reset counts as the end."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""

    def read_frame(self) -> Frame:
        """Read one frame."""
        first, second = self.read(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8))
        mask = self.read(4) if second & 0x80 else None
        payload = self.read(size)
        if mask:
            payload = apply_mask(payload, mask)
        return Frame(first & 0x0F, payload, bool(first & 0x80), first >> 4 & 0x7, mask)
