"""Two ways to use a connection in the console: by messages, or by single frames."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from fastwsh import _core
from fastwsh.client.commands import OPCODES, Close, Command, Frame, Help, Ping, Raw, Send, encode
from fastwsh.client.commands import Pong as SendPong
from fastwsh.client.connection import ClientConnection
from fastwsh.client.session import Pong
from fastwsh.client.terminal import elide, escape, hex_of
from fastwsh.errors import ConnectionClosed
from fastwsh.pywebsocket import _stream_exceptions as stream_exceptions

__all__ = ["FrameSpeaker", "MessageSpeaker", "Show", "Speaker", "describe"]

Show = Callable[[str, str], None]

_NAMES: Final = {opcode: name for name, opcode in OPCODES.items()}
_CLOSE: Final = OPCODES["close"]


class Speaker(Protocol):
    """Executes commands, and receives.

    Attributes:
        has_closed: Whether a close frame was sent by a command.
    """

    has_closed: bool

    def do(self, command: Command) -> None:
        """Carry out a line.

        Raises:
            ConnectionClosed: The connection is closed.
            ValueError: It cannot be sent.
        """

    def receive(self) -> None:
        """Receive something and show it.

        Raises:
            ConnectionClosed: The connection is closed.
        """


class MessageSpeaker:
    """Sends and shows messages.

    Args:
        connection: The connection.
        show: Called with a mark and a line.
        binary: Whether lines are sent as binary messages.
    """

    def __init__(self, connection: ClientConnection, show: Show, *, binary: bool = False) -> None:
        self.has_closed = False
        self._connection = connection
        self._show = show
        self._binary = binary

    def do(self, command: Command) -> None:
        """Carry out a line; see `Speaker`."""
        match command:
            case Send(str(message)) if self._binary:
                self._connection.send(message.encode())
            case Send(message):
                self._connection.send(message)
            case Ping(data):
                self._connection.ping(data or None, on_pong=self._show_pong)
            case SendPong(data):
                self._connection._pong(data)
            case Close(code, reason):
                self._connection.start_closing(1000 if code is None else code, reason)
                self.has_closed = True
            case Help(text):
                for line in text.splitlines():
                    self._show("#", line)

    def receive(self) -> None:
        """Receive a message and show it; see `Speaker`."""
        message = self._connection.recv()
        if isinstance(message, str):
            self._show("<", escape(message))
        else:
            self._show("<", f"{len(message)} bytes: {hex_of(message)}")

    def _show_pong(self, pong: Pong) -> None:
        milliseconds = (pong.round_trip or 0) * 1000
        self._show("#", f"pong {escape(repr(pong.data))} after {milliseconds:.1f} ms")


class FrameSpeaker:
    """Sends and shows frames, legal or not, and answers none.

    Args:
        connection: The connection; no other code may use it.
        show: Called with a mark and a line.
    """

    def __init__(self, connection: ClientConnection, show: Show) -> None:
        self.has_closed = False
        self._connection = connection
        self._show = show
        self._writing = threading.Lock()
        self._received: tuple[int, str] | None = None

    def do(self, command: Command) -> None:
        """Carry out a line; see `Speaker`."""
        match command:
            case Send(message):
                text = isinstance(message, str)
                payload = message.encode() if isinstance(message, str) else message
                self._send(Frame(OPCODES["text" if text else "binary"], payload))
            case Ping(data):
                self._send(Frame(OPCODES["ping"], data))
            case SendPong(data):
                self._send(Frame(OPCODES["pong"], data))
            case Close(code, reason):
                if code is not None and not 0 <= code <= 0xFFFF:
                    raise ValueError(f"close code {code} does not fit into two bytes")
                body = b"" if code is None else code.to_bytes(2) + reason.encode()
                self.has_closed = True
                self._send(Frame(_CLOSE, body))
            case Frame():
                self._send(command)
            case Raw(data):
                self._show(">", f"{len(data)} bytes: {hex_of(data)}")
                self._write(data)
            case Help(text):
                for line in text.splitlines():
                    self._show("#", line)

    def receive(self) -> None:
        """Receive a frame and show it; see `Speaker`."""
        stream = self._connection._stream
        try:
            opcode, payload, fin, *rsv = _core.call_within(None, stream._receive_frame)
        except stream_exceptions.InvalidFrameException as error:
            raise ConnectionClosed(self._received, None, str(error)) from None
        except (OSError, stream_exceptions.ConnectionTerminatedException):
            raise ConnectionClosed(self._received, None) from None
        self._show("<", describe(Frame(opcode, payload, fin, (rsv[0], rsv[1], rsv[2]), 0)))
        if opcode == _CLOSE and self._received is None:
            code = int.from_bytes(payload[:2]) if len(payload) >= 2 else 1005
            self._received = code, payload[2:].decode(errors="backslashreplace")

    def _send(self, frame: Frame) -> None:
        self._show(">", describe(frame))
        self._write(encode(frame))

    def _write(self, data: bytes) -> None:
        write = partial(self._connection._connection.write, data)
        try:
            # Lines and pings are sent by different threads.
            with self._writing:
                _core.call_within(None, write)
        except OSError:
            raise ConnectionClosed(self._received, None) from None


def describe(frame: Frame) -> str:
    """Return a line about a frame: opcode, bits, mask, length, payload without its middle."""
    bits = "".join(map(str, frame.rsv))
    name = _NAMES.get(frame.opcode, f"opcode {frame.opcode:#x}")
    said = f"{name} fin={frame.fin} rsv={bits} mask={frame.mask} {len(frame.payload)} bytes"
    payload = frame.payload
    if not payload:
        return said
    if frame.opcode == _CLOSE and len(payload) >= 2:
        code, payload = int.from_bytes(payload[:2]), payload[2:]
        said = f"{said}: {code}"
    if frame.opcode != OPCODES["binary"] and not frame.rsv[0]:
        with suppress(UnicodeDecodeError):
            text = elide(payload.decode())
            return f'{said}: "{escape(text)}"' if text else said
    return f"{said}: {hex_of(payload)}"
