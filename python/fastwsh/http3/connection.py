"""One QUIC connection: its streams, each of which is a stream of the inner connection as well.

The windows go through from end to end: what the native server has not taken is not asked for, and
what the client has not taken is not fetched from the native server.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import ErrorCode
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.events import (
    ConnectionTerminated,
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from h2.errors import ErrorCodes

from fastwsh.http3.codes import to_http3
from fastwsh.http3.inner_connection import InnerConnection
from fastwsh.http3.pacing import Fields, Pacing, Stall
from fastwsh.http3.stream import Stream, is_control_stream, is_too_large
from fastwsh.http3.streams import Streams

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection

    from fastwsh.http3.owner import Owner

__all__ = ["Connection"]

# The most bytes of a stream that wait to be sent.
_SEND_BYTES: Final = 64 * 1024

# Seconds that a client has to read the rest of a stream that is reset, or of a connection that
# ends.
_REST_SECONDS: Final = 5.0

# Pings that keep a connection with streams alive, in the time after which it would be taken for
# gone; two may be lost.
_PINGS_PER_IDLE_TIME: Final = 3


class Connection(QuicConnectionProtocol):
    """A client's connection. All methods are called in the endpoint's thread.

    Args:
        quic: The connection of aioquic.
        owner: The endpoint.
    """

    _quic: Any
    _transport: Any

    def __init__(self, quic: "QuicConnection", owner: "Owner[Connection]") -> None:
        super().__init__(quic)
        self._owner = owner
        self._pacing = Pacing(quic, owner.limits.streams, self._count_waiting)
        self._http: Fields | None = None
        self._inner: InnerConnection | None = None
        self._opening: asyncio.Task[object] | None = None
        self._streams = Streams(self._pacing.is_known)
        self._is_leaving = False
        self._is_over = False
        self._final_code: ErrorCode | None = None
        self._stall: Stall | None = None
        self._own_timer = self._later(owner.limits.head_seconds, self._give_up_handshake)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Take a packet."""
        super().datagram_received(data, addr)
        if not self._is_over and self._pacing.has_client_left():
            self._end()

    def quic_event_received(self, event: Any) -> None:
        """Handle an event of the connection."""
        match event:
            case HandshakeCompleted():
                self._begin()
            case ConnectionTerminated():
                self._end()
            case StreamDataReceived() | StreamReset() | StopSendingReceived():
                self._handle(event)
            case _:
                pass

    def transmit(self) -> None:
        """Send what can be sent, and go on with what waited for it."""
        super().transmit()
        if self._streams.paced:
            self._go_on()
        if self._final_code is not None:
            self._close_if_delivered()

    def _begin(self) -> None:
        """Open the inner connection when the client's address is known to be its own."""
        self._stop_timer()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        peer, local = self._quic.get_peer_address(), self._transport.get_extra_info("sockname")
        if not self._owner.admit(theirs, peer, local):
            ours.close()
            self.finish(ErrorCode.H3_EXCESSIVE_LOAD, "too many connections")
            return
        header_bytes = self._owner.limits.header_bytes
        self._http = Fields(self._quic, header_bytes, self._note_malformed)
        self._inner = inner = InnerConnection(self)
        self._opening = self._loop.create_task(
            self._loop.create_unix_connection(lambda: inner, sock=ours)
        )
        self._owner.note_open(self)
        self._keep_alive()

    def _handle(self, event: Any) -> None:
        http, inner, stream_id = self._http, self._inner, event.stream_id
        if http is None or inner is None or self._streams.is_dead(stream_id):
            return
        for found in http.handle_event(event):
            match found:
                case HeadersReceived():
                    self._receive_head(found)
                case DataReceived():
                    self._receive(found.stream_id, found.data or b"", ends=found.stream_ended)
                case _:
                    pass
        self._check_size(stream_id, http.buffered(stream_id))
        if isinstance(event, StreamReset | StopSendingReceived):
            self._give_up(stream_id, ErrorCodes.CANCEL, ErrorCode.H3_REQUEST_CANCELLED)
        inner.flush()

    def _check_size(self, stream_id: int, size: int) -> None:
        """Reset a stream that has sent too many bytes of an unfinished frame."""
        if not is_too_large(stream_id, size, self._owner.limits.header_bytes):
            return
        if is_control_stream(stream_id):
            self.finish(ErrorCode.H3_EXCESSIVE_LOAD, "frame too large")
        else:
            self._refuse(stream_id, ErrorCode.H3_EXCESSIVE_LOAD)

    def _receive_head(self, event: HeadersReceived) -> None:
        stream_id = event.stream_id
        assert self._inner is not None  # noqa: S101 (there are streams)
        if self._streams.find(stream_id) is not None:
            # trailers, which no handler reads
            self._receive(stream_id, b"", ends=event.stream_ended)
            return
        self._streams.note_request(stream_id)
        if self._is_leaving:
            self._refuse(stream_id, ErrorCode.H3_REQUEST_REJECTED)
            return
        inner = self._inner.open(event.headers, ends=event.stream_ended)
        stream = Stream(stream_id, inner)
        stream.has_received_all = stream.has_reported_end = event.stream_ended
        self._streams.add(stream)

    def _receive(self, stream_id: int, data: bytes, *, ends: bool) -> None:
        stream = self._streams.find(stream_id)
        if stream is None:
            return
        stream.waiting += data
        stream.has_received_all |= ends
        self._pass_on(stream)

    def _pass_on(self, stream: Stream) -> None:
        """Give the native server what it has room for."""
        assert self._inner is not None  # noqa: S101 (there are streams)
        self._inner.send(stream.inner, stream.waiting)
        if stream.has_received_all and not stream.waiting and not stream.has_reported_end:
            stream.has_reported_end = True
            self._inner.end(stream.inner)
            self._forget_if_over(stream)

    def _count_waiting(self, stream_id: int) -> int:
        stream = self._streams.find(stream_id)
        return 0 if stream is None else len(stream.waiting)

    def _note_malformed(self, stream_id: int) -> None:
        # not in this call: HTTP/3 is still handling the frame
        self._loop.call_soon(self._refuse_and_send, stream_id)
        self._streams.bury(stream_id)

    def _refuse_and_send(self, stream_id: int) -> None:
        self._refuse(stream_id, ErrorCode.H3_MESSAGE_ERROR)
        self.flush()

    def answered(self, stream_id: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer."""
        stream = self._streams.find_inner(stream_id)
        if stream is not None and self._http is not None:
            stream.is_answered = True
            self._http.send_headers(stream.outer, fields)

    def sent(self, stream_id: int, data: bytes, length: int) -> None:
        """Send data; the native server may send more when the client has taken some."""
        stream = self._streams.find_inner(stream_id)
        if stream is None or self._http is None:
            return
        if data:
            self._http.send_data(stream.outer, data, end_stream=False)
        stream.owed += length
        self._streams.paced.add(stream)

    def ended(self, stream_id: int) -> None:
        """End our direction."""
        stream = self._streams.find_inner(stream_id)
        if stream is not None and self._http is not None and not stream.is_ended:
            stream.is_ended = True
            self._http.send_data(stream.outer, b"", end_stream=True)
            self._forget_if_over(stream)

    def was_reset(self, stream_id: int, code: int) -> None:
        """Reset a stream when the client has got what was sent on it before."""
        stream = self._streams.find_inner(stream_id)
        if stream is None:
            return
        if stream.is_ended:
            # an answer that is complete, of which the rest of the request is not needed
            self._pacing.stop(stream.outer, ErrorCode.H3_NO_ERROR)
            self._forget(stream, is_dead=True)
            return
        stream.code = to_http3(code)
        if not stream.is_answered or self._pacing.is_delivered(stream.outer):
            self._reset(stream)
            return
        stream.timer = self._loop.call_later(_REST_SECONDS, self._reset_and_send, stream)
        self._streams.paced.add(stream)

    def can_send(self, stream_id: int | None) -> None:
        """Send on."""
        if stream_id is None:
            for stream in self._streams.all():
                self._pass_on(stream)
        elif (found := self._streams.find_inner(stream_id)) is not None:
            self._pass_on(found)

    def all_taken(self) -> None:
        """Send what has come."""
        self.flush()

    def left(self, code: int) -> None:
        """End the connection, as the server has, when the client has got everything."""
        if self._is_over:
            return
        self._final_code = to_http3(code)
        self._is_leaving = True
        for stream in self._streams.all():
            stream.code = stream.code or ErrorCode.H3_INTERNAL_ERROR
            if not stream.is_ended:
                self._streams.paced.add(stream)
        self._stop_timer()
        self._own_timer = self._later(_REST_SECONDS, self._finish_late)
        self.flush()

    def _go_on(self) -> None:
        """Let more come, and reset what was to be reset, for streams whose bytes have left."""
        inner, has_reset = self._inner, False
        for stream in list(self._streams.paced):
            has_left = self._pacing.unsent(stream.outer) < _SEND_BYTES
            if stream.owed and has_left and inner is not None:
                inner.take(stream.inner, stream.owed)
                stream.owed = 0
            if stream.code is not None:
                if self._pacing.is_delivered(stream.outer):
                    self._reset(stream)
                    has_reset = True
            elif not stream.owed:
                self._streams.paced.discard(stream)
        if inner is not None:
            inner.flush()
        if has_reset:
            super().transmit()

    def _reset_and_send(self, stream: Stream) -> None:
        if self._streams.find(stream.outer) is not None:
            self._reset(stream)
            self.flush()

    def _reset(self, stream: Stream) -> None:
        code = stream.code or ErrorCode.H3_INTERNAL_ERROR
        self._forget(stream, is_dead=True)
        self._quic.reset_stream(stream.outer, code)
        self._pacing.stop(stream.outer, code)

    def _refuse(self, stream_id: int, code: ErrorCode) -> None:
        """Reset a stream whose request nobody will answer."""
        stream = self._streams.find(stream_id)
        if stream is not None:
            self._give_up(stream_id, ErrorCodes.CANCEL, code)
            return
        self._bury(stream_id)
        self._quic.reset_stream(stream_id, code)
        self._pacing.stop(stream_id, code)

    def _give_up(self, stream_id: int, inner_code: ErrorCodes, code: ErrorCode) -> None:
        """End a stream on both sides, because the client has broken it off."""
        stream = self._streams.find(stream_id)
        if stream is None:
            return
        if self._inner is not None:
            self._inner.reset(stream.inner, inner_code)
        stream.code = code
        self._reset(stream)

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.is_ended and stream.has_reported_end:
            self._forget(stream, is_dead=False)

    def _forget(self, stream: Stream, *, is_dead: bool) -> None:
        self._streams.remove(stream)
        if stream.owed and self._inner is not None:
            # else the window of the inner connection, which all streams share, would shrink
            self._inner.take(stream.inner, stream.owed)
        if stream.timer is not None:
            stream.timer.cancel()
        if is_dead:
            self._bury(stream.outer)

    def _bury(self, stream_id: int) -> None:
        """Ignore what still comes on a stream."""
        if self._http is not None:
            self._http.forget(stream_id)
        self._streams.bury(stream_id)

    def go_away(self) -> None:
        """Tell the client that the server stops; streams that are open go on."""
        self._is_leaving = True
        self._stall = Stall(self._pacing, self._loop.time())
        if self._http is not None:
            self._http.send_goaway(self._streams.next_id)
            self.flush()

    def is_stalled(self) -> bool:
        """Tell whether the client has taken nothing for a while since `go_away`; ask regularly."""
        return self._stall is not None and self._stall.is_over(self._loop.time())

    def finish(self, code: int, reason: str = "") -> None:
        """End the connection at once."""
        self._is_over = True
        self._stop_timer()
        self._final_code = None
        self._owner.note_closed(self)
        self.close(code, reason)
        if self._inner is not None:
            self._inner.close()

    def flush(self) -> None:
        """Send what waits on either side."""
        if self._inner is not None:
            self._inner.flush()
        self.transmit()

    def _close_if_delivered(self) -> None:
        is_delivered = self._http is None or all(
            self._pacing.is_delivered(stream) for stream in self._pacing.open_streams()
        )
        if is_delivered and self._final_code is not None:
            self.finish(self._final_code)

    def _finish_late(self) -> None:
        if self._final_code is not None:
            self.finish(self._final_code)

    def _give_up_handshake(self) -> None:
        self.finish(ErrorCode.H3_REQUEST_INCOMPLETE, "the handshake took too long")

    def _end(self) -> None:
        """Release everything, because QUIC has ended."""
        self._is_over = True
        self._stop_timer()
        self._final_code = None
        for stream in self._streams.all():
            self._forget(stream, is_dead=False)
        self._owner.note_closed(self)
        if self._inner is not None:
            self._inner.close()

    def _keep_alive(self) -> None:
        if self._streams:
            self._quic.send_ping(0)
            self.transmit()
        seconds = self._pacing.idle_seconds() / _PINGS_PER_IDLE_TIME
        self._own_timer = self._loop.call_later(seconds, self._keep_alive)

    def _later(self, seconds: float | None, function: Any) -> asyncio.TimerHandle | None:
        return None if seconds is None else self._loop.call_later(seconds, function)

    def _stop_timer(self) -> None:
        if self._own_timer is not None:
            self._own_timer.cancel()
            self._own_timer = None
