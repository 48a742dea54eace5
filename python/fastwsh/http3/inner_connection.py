"""The inner side of a connection: HTTP/2 to the native server, on a Unix socket.

hyper-h2 speaks the protocol. The native server is trusted and checks what comes, so that nothing is
checked here.
"""

import asyncio
import contextlib
import socket
from typing import Any, Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

__all__ = ["InnerConnection", "InnerEvents"]

# No stream's unsent answer may take room from the others.
_CONNECTION_WINDOW: Final = (1 << 31) - 1 - 65535

# The longest head of an answer. hyper-h2 takes 64 KiB, and a longer one for an attack.
_MAX_HEAD_BYTES: Final = (1 << 32) - 1

_Fields = list[tuple[bytes, bytes]]


class InnerEvents(Protocol):
    """Gets what the native server sends."""

    def answered(self, stream_id: int, fields: _Fields) -> None:
        """Take the head of an answer, or of an interim one before it (RFC 9110 15.2)."""

    def sent(self, stream_id: int, data: bytes, length: int) -> None:
        """Take data; `length` bytes of the window are `InnerConnection.take`'s."""

    def ended(self, stream_id: int) -> None:
        """Take the end of the answer."""

    def was_reset(self, stream_id: int, code: int) -> None:
        """Take a reset, with HTTP/2's code."""

    def can_send(self, stream_id: int | None) -> None:
        """Send on; None is all streams."""

    def all_taken(self) -> None:
        """Note that all events of one call of `data_received` were told."""

    def left(self, code: int) -> None:
        """Take the end of the connection, with HTTP/2's code."""


class _Connection(h2.connection.H2Connection):
    """A connection on which open streams go on after GOAWAY (RFC 9113 6.8).

    A Content-Length that is not that of the answer is passed on, as over HTTP/2. Handlers and CGI
    programs write it, and hyper-h2 would end the connection with all of the client's streams.

    Attributes:
        final_code: The code of the last GOAWAY.
    """

    final_code: int = h2.errors.ErrorCodes.NO_ERROR

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
        # hyper-h2 would take no more frames
        self.final_code = frame.error_code
        return [], []

    def _begin_new_stream(self, *args: Any, **kwargs: Any) -> Any:
        stream: Any = super()._begin_new_stream(*args, **kwargs)
        stream._initialize_content_length = stream._track_content_length = _check_nothing
        return stream


def _check_nothing(*_: object) -> None:
    """Take any Content-Length."""


class InnerConnection(asyncio.Protocol):
    """The client of the native server.

    Args:
        events: Gets what comes.
    """

    def __init__(self, events: InnerEvents) -> None:
        self._events = events
        self._transport: asyncio.Transport | None = None
        self._is_over = False
        self._h2 = _Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_inbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._h2.local_settings[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self._h2.local_settings[h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE] = _MAX_HEAD_BYTES
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW)

    def open(self, fields: _Fields, *, ends: bool) -> int:
        """Send a request's head; return its stream."""
        stream_id: int = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, fields, end_stream=ends)
        return stream_id

    def send(self, stream_id: int, data: bytearray) -> None:
        """Send as much of `data` as the window lets pass, and remove it there.

        If the native server has reset the stream, which is told in a moment, all is removed.
        """
        try:
            while data:
                window = self._h2.local_flow_control_window(stream_id)
                window = min(window, self._h2.max_outbound_frame_size)
                if window <= 0:
                    return
                self._h2.send_data(stream_id, bytes(data[:window]))
                del data[:window]
        except h2.exceptions.ProtocolError:
            data.clear()

    def end(self, stream_id: int) -> None:
        """End our direction of a stream, unless it was reset."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.end_stream(stream_id)

    def reset(self, stream_id: int, code: int) -> None:
        """Reset a stream, unless it has ended."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(stream_id, code)

    def take(self, stream_id: int, length: int) -> None:
        """Let so many bytes more come."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.acknowledge_received_data(length, stream_id)

    def flush(self) -> None:
        """Write what was sent."""
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    def close(self) -> None:
        """End the connection at once."""
        self._is_over = True
        if self._transport is not None:
            # a process that a handler has forked may have the socket as well
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what was asked for meanwhile."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (of a stream socket)
        self._transport = transport
        self.flush()
        if self._is_over:
            self.close()

    def data_received(self, data: bytes) -> None:
        """Tell which events the bytes have brought."""
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._h2.final_code = h2.errors.ErrorCodes.INTERNAL_ERROR
            self.close()
            return
        for event in events:
            self._tell(event)
        self.flush()
        self._events.all_taken()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (the end in any case)
        """Tell the end."""
        self._transport = None
        self._events.left(self._h2.final_code)

    def _tell(self, event: Any) -> None:
        events = self._events
        match event:
            case h2.events.DataReceived():
                events.sent(event.stream_id, event.data, event.flow_controlled_length)
            case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
                events.answered(event.stream_id, event.headers)
            case h2.events.StreamEnded():
                events.ended(event.stream_id)
            case h2.events.StreamReset():
                events.was_reset(event.stream_id, int(event.error_code))
            case h2.events.WindowUpdated():
                events.can_send(event.stream_id or None)
            case h2.events.RemoteSettingsChanged():
                events.can_send(None)
            case _:
                pass
