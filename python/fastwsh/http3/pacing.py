"""Windows of streams, and header fields: what aioquic does by itself, made to follow the handlers.

aioquic doubles a stream's window whenever half of it was used, whether anybody has taken the bytes
or not, and does not tell how much of an answer waits to be sent. So this module uses attributes
that aioquic does not publish, and is the only one that does: `check` finds out at the start whether
they are there.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import aioquic
import pylsqpack
from aioquic.buffer import encode_uint_var
from aioquic.h3 import connection as h3
from aioquic.quic import connection as quic
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.recovery import QuicPacketRecovery

from fastwsh.config_error import ConfigError

__all__ = ["WINDOW", "Fields", "Pacing", "Stall", "check"]

WINDOW: Final = 128 * 1024
"""The most bytes that a client may send on a stream before the handler has received them."""

# A server that stops waits no longer than this for clients that acknowledge nothing, unless a round
# trip takes longer. It waits as long for those of TCP.
_STALL_SECONDS: Final = 0.2

# The control stream is the first of ours (H3Connection opens it first, RFC 9114 6.2.1).
_CONTROL_STREAM: Final = 3

_SETTING_MAX_FIELD_SECTION_SIZE: Final = 0x6

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def check() -> None:
    """Refuse a version of aioquic that this module does not know.

    Raises:
        ConfigError: An attribute is missing.
    """
    known = all(
        (
            hasattr(QuicConnection, "_write_stream_limits"),
            hasattr(QuicConnection, "_on_max_stream_data_delivery"),
            hasattr(QuicConnectionState, "DRAINING"),
            hasattr(QuicPacketRecovery, "get_probe_timeout"),
            hasattr(quic, "MAX_STREAM_DATA_FRAME_CAPACITY"),
            hasattr(h3.H3Connection, "_init_connection"),
            hasattr(h3.H3Connection, "_get_local_settings"),
            hasattr(h3.H3Connection, "_handle_request_or_push_frame"),
            hasattr(h3.H3Connection, "_handle_request_or_push_end"),
            hasattr(h3.H3Connection, "_decode_headers"),
        )
    )
    if not known:
        raise ConfigError(
            f"HTTP/3 does not work with aioquic {aioquic.__version__}; install another version "
            "with: pip install 'fastwsh[http3]'"
        )


class Pacing:
    """The windows of a connection's streams.

    Args:
        connection: The connection; it must be new.
        streams: The most streams that its client may have open at a time.
        waiting: Returns how many bytes of a stream nobody has taken yet.
    """

    def __init__(
        self, connection: QuicConnection, streams: int, waiting: Callable[[int], int]
    ) -> None:
        unpublished: Any = connection
        self._quic = unpublished
        self._waiting = waiting
        self._write_others = unpublished._write_stream_limits
        unpublished._write_stream_limits = self._write_stream_limits
        # aioquic adds one for each stream that has ended
        limit = self._quic._local_max_streams_bidi
        limit.value = limit.sent = streams

    def idle_seconds(self) -> float:
        """Return after how many seconds without a packet an end takes the other for gone."""
        ours: float = self._quic.configuration.idle_timeout
        theirs: float | None = self._quic._remote_max_idle_timeout
        return ours if theirs is None else min(ours, theirs)

    def unsent(self, stream_id: int) -> int:
        """Return how many bytes of a stream have not been sent at all."""
        stream = self._quic._streams.get(stream_id)
        if stream is None or stream.sender.is_finished:
            return 0
        unsent: int = stream.sender._buffer_stop - stream.sender.highest_offset
        return unsent

    def is_delivered(self, stream_id: int) -> bool:
        """Tell whether the client has acknowledged all that was written to a stream."""
        stream = self._quic._streams.get(stream_id)
        if stream is None or stream.sender.is_finished:
            return True
        return not stream.sender._buffer and not stream.sender._pending_eof

    def has_client_left(self) -> bool:
        """Tell whether the client has ended the connection.

        aioquic tells this three probe timeouts later, when late packets have been dropped.
        """
        state: QuicConnectionState = self._quic._state
        return state is QuicConnectionState.DRAINING

    def undelivered(self) -> int:
        """Return how many bytes of all streams the client has not acknowledged."""
        return sum(len(stream.sender._buffer) for stream in self._quic._streams.values())

    def patience(self) -> float:
        """Return after how many seconds without a sign of the client it has probably gone.

        RFC 9000 10.2 keeps a connection that ends for three probe timeouts.
        """
        probe: float = self._quic._loss.get_probe_timeout()
        return max(_STALL_SECONDS, 3 * probe)

    def open_streams(self) -> list[int]:
        """Return the streams of requests on which something may still be sent."""
        return [number for number in self._quic._streams if number % 4 == 0]

    def is_known(self, stream_id: int) -> bool:
        """Tell whether frames of a stream may still come."""
        return stream_id in self._quic._streams

    def stop(self, stream_id: int, code: int) -> None:
        """Ask the client to send no more on a stream, unless it has finished."""
        stream = self._quic._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            self._quic.stop_stream(stream_id, code)

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:
        """Write MAX_STREAM_DATA if the handler has made room."""
        if quic.stream_is_unidirectional(stream.stream_id):
            self._write_others(builder=builder, space=space, stream=stream)
            return
        if stream.receiver.is_finished:
            return
        taken = stream.receiver.starting_offset() - self._waiting(stream.stream_id)
        # few large steps: each is a frame
        if taken + WINDOW - stream.max_stream_data_local >= WINDOW // 2:
            stream.max_stream_data_local = taken + WINDOW
        if stream.max_stream_data_local_sent != stream.max_stream_data_local:
            frame = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=quic.MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._quic._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            frame.push_uint_var(stream.stream_id)
            frame.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local


class Stall:
    """Since when a client has acknowledged nothing of what was sent.

    Args:
        pacing: That of its connection.
        now: The time.
    """

    def __init__(self, pacing: Pacing, now: float) -> None:
        self._pacing = pacing
        self._undelivered = 0
        self._since = now

    def is_over(self, now: float) -> bool:
        """Look at the client again; tell whether it has had time enough."""
        undelivered = self._pacing.undelivered()
        if undelivered != self._undelivered or not undelivered:
            self._undelivered, self._since = undelivered, now
        return now - self._since >= self._pacing.patience()


class Fields(h3.H3Connection):
    """The HTTP/3 of a connection.

    Args:
        connection: The QUIC connection.
        header_bytes: The most bytes of a request's fields; None: no limit.
        malformed: Called with a stream whose request is malformed, which is an error of the stream
            (RFC 9114 4.1.2); aioquic would end the connection.
    """

    def __init__(
        self,
        connection: QuicConnection,
        header_bytes: int | None,
        malformed: Callable[[int], None],
    ) -> None:
        self._header_bytes = header_bytes
        self._malformed = malformed
        self._refused: set[int] = set()
        super().__init__(connection)

    def buffered(self, stream_id: int) -> int:
        """Return how many bytes of an unfinished frame are kept."""
        stream = self._stream.get(stream_id)
        return 0 if stream is None else len(stream.buffer)

    def forget(self, stream_id: int) -> None:
        """Forget a stream that has been reset."""
        self._stream.pop(stream_id, None)
        self._refused.discard(stream_id)

    def send_goaway(self, stream_id: int) -> None:
        """Tell the client that requests from this stream on will not be answered."""
        frame = h3.encode_frame(h3.FrameType.GOAWAY, encode_uint_var(stream_id))
        self._quic.send_stream_data(_CONTROL_STREAM, frame)

    def _init_connection(self) -> None:
        # without a dynamic table no field is larger than what its reference took, but for those of
        # the static table, and no stream waits for another
        self._max_table_capacity = self._blocked_streams = 0
        self._decoder = pylsqpack.Decoder(0, 0)
        super()._init_connection()

    def _get_local_settings(self) -> dict[int, int]:
        settings: dict[int, int] = super()._get_local_settings()
        if self._header_bytes is not None:
            settings[_SETTING_MAX_FIELD_SECTION_SIZE] = self._header_bytes
        return settings

    def _handle_request_or_push_frame(self, *args: Any, **kwargs: Any) -> list[Any]:
        stream_id: int = kwargs["stream"].stream_id
        if stream_id in self._refused:
            # behind the malformed request, perhaps in the same packet
            return []
        try:
            return super()._handle_request_or_push_frame(*args, **kwargs)
        except h3.MessageError:
            return self._refuse(stream_id)

    def _handle_request_or_push_end(self, stream: Any) -> list[Any]:
        if stream.stream_id in self._refused:
            return []
        try:
            return super()._handle_request_or_push_end(stream)
        except h3.MessageError:
            return self._refuse(stream.stream_id)

    def _refuse(self, stream_id: int) -> list[Any]:
        self._refused.add(stream_id)
        self._malformed(stream_id)
        return []

    def _decode_headers(self, *args: Any) -> Any:
        fields = super()._decode_headers(*args)
        for name, value in fields:
            _check_field(name, value)
        return fields


def _check_field(name: bytes, value: bytes) -> None:
    """Refuse a field that aioquic lets pass, and that no request may have (RFC 9114 4.2).

    The native server would end the inner connection, and with it all streams of the client.

    Raises:
        MessageError: The request is malformed.
    """
    if not _TOKEN.fullmatch(name.removeprefix(b":")) or _CONTROL.search(value):
        raise h3.MessageError("a field has characters that are not allowed")
    if name == b":method" and not _TOKEN.fullmatch(value):
        raise h3.MessageError("the method is not a token")
    if name.startswith(b":"):
        try:
            value.decode()
        except UnicodeDecodeError as error:
            raise h3.MessageError("a pseudo-header is not UTF-8") from error
