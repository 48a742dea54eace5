"""The proxy: for each client, connects to the real server, and records what passes.

It decides nothing: it passes the client's request to the real server, changing only its
destination, and passes the answer back unchanged. Then it passes bytes in both directions until
each has ended, and ends each as it ended.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from fastwsh import _core
from fastwsh.client.options import Options
from fastwsh.errors import ConnectArgumentError, ConnectError, FastwshError
from fastwsh.record.frame_finder import Frame, FrameFinder
from fastwsh.record.messages import Assembler
from fastwsh.record.redaction import Redaction
from fastwsh.record.upstream import Answer, UpstreamUrl, open_upstream, read_answer, read_body
from fastwsh.record.writer import HarWriter
from fastwsh.testing import clock
from fastwsh.testing.har import CLOSE, Conversation, End, Headers, Message

__all__ = ["Proxy"]

_SWITCHING_PROTOCOLS: Final = 101
_BAD_GATEWAY: Final = (502, "Bad Gateway")
_GATEWAY_TIMEOUT: Final = (504, "Gateway Timeout")

_PIECE_BYTES: Final = 64 * 1024

# Threads that wait for a connection that is cut wake up at once.
_CUT_SECONDS: Final = 5.0

_LOGGER: Final = logging.getLogger("fastwsh.record")


class Proxy:
    """Passes connections on, and records them.

    Args:
        upstream: The real server.
        writer: Gets everything that passes.
        redaction: Removes secrets from that.
        options: How to connect to the real server.
        note_failure: Called with the path and the reason if the real server cannot be reached.
    """

    def __init__(
        self,
        upstream: UpstreamUrl,
        writer: HarWriter,
        redaction: Redaction,
        options: Options,
        note_failure: Callable[[str, FastwshError], object],
    ) -> None:
        self._upstream = upstream
        self._writer = writer
        self._redaction = redaction
        self._options = options
        self._note_failure = note_failure
        self._changed = threading.Condition()
        self._tunnels: set[_Tunnel] = set()
        self._is_closed = False
        self.failure: FastwshError | None = None
        """Why the last client that failed could not be connected."""

    def serve(self, connection: _core.Connection) -> None:
        """Serve a client; return when both directions have ended."""
        if "websocket" not in (connection.header("Upgrade") or "").lower():
            connection.send_refusal(426, "only WebSocket connections are recorded")
            return
        head, headers = self._upstream.head_for(connection)
        started = clock.time()
        url = self._upstream.url_of(connection.resource)
        begun = Conversation(url, started, request_headers=headers)
        try:
            upstream = open_upstream(url, head, self._options)
        except (ConnectArgumentError, ConnectError) as error:
            self._fail(connection, begun, error)
            return
        tunnel = _Tunnel(connection, upstream, self._recording(begun))
        with self._changed:
            self._tunnels.add(tunnel)
            is_late = self._is_closed
        try:
            if not is_late:
                tunnel.run(self._options.open_timeout)
        finally:
            upstream.disconnect()
            with self._changed:
                self._tunnels.discard(tunnel)
                self._changed.notify_all()

    def close(self) -> None:
        """Cut all connections, and wait until everything that has passed is recorded."""
        with self._changed:
            self._is_closed = True
            for tunnel in self._tunnels:
                tunnel.disconnect()
            self._changed.wait_for(lambda: not self._tunnels, _CUT_SECONDS)

    def _fail(self, connection: _core.Connection, begun: Conversation, error: FastwshError) -> None:
        """Tell a client that the real server cannot be reached."""
        self.failure = error
        self._note_failure(connection.resource, error)
        _LOGGER.warning("%s", error)
        status, phrase = _GATEWAY_TIMEOUT if isinstance(error, TimeoutError) else _BAD_GATEWAY
        text = f"{error}\n".encode()
        answer = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        answer += f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        # there is no answer to record: this one does not come from the real server
        self._recording(begun).add_unanswered()
        with contextlib.suppress(OSError):
            connection.write(answer.encode() + text)

    def _recording(self, begun: Conversation) -> "_Recording":
        return _Recording(begun, self._writer, self._redaction)


class _Recording:
    """One connection that is being recorded."""

    def __init__(self, begun: Conversation, writer: HarWriter, redaction: Redaction) -> None:
        self._begun = begun
        self._writer = writer
        self._redaction = redaction
        self._identity: str | None = None

    def open(self, status: int, phrase: str, headers: Headers, body: bytes) -> None:
        """Record the answer."""
        whole = replace(
            self._begun,
            status=status,
            status_text=phrase,
            response_headers=headers,
            body=body,
            messages=[],
        )
        try:
            self._identity = self._writer.begin(self._redaction.conversation(whole))
        except Exception:  # (a hook is the user's own code)
            _LOGGER.exception("%s is not recorded: the redaction failed", self._begun.url)

    def add_unanswered(self) -> None:
        """Record a request to which there is no valid answer, and nothing more."""
        self.open(0, "", [], b"")
        self.end()

    def add(self, message: Message | End | None) -> None:
        """Record a frame that has passed."""
        if message is None or self._identity is None:
            return
        try:
            kept = message if isinstance(message, End) else self._redaction.message(message)
        except Exception:  # (as above)
            _LOGGER.exception("A message of %s is left out: the redaction failed", self._begun.url)
            return
        if kept is not None:
            had_failed = self._writer.error is not None
            self._writer.add(self._identity, kept)
            if self._writer.error is not None and not had_failed:
                _LOGGER.error("Nothing more is recorded: %s", self._writer.error)

    def end(self) -> None:
        """Record that the connection has ended."""
        if self._identity is not None:
            self._writer.end(self._identity)


class _Tunnel:
    """Passes bytes between two connections."""

    def __init__(
        self, client: _core.Connection, upstream: _core.Connection, recording: _Recording
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._recording = recording
        # one lock for both directions, so that the record has the order in which frames passed
        self._lock = threading.Lock()
        self._has_closed = False
        self._is_cut = False

    def run(self, timeout: float | None) -> None:
        """Pass the answer on, and then everything."""
        try:
            answer = read_answer(self._upstream, timeout)
        except (EOFError, ValueError) as error:
            # no valid answer: pass on the bytes that have come
            self._recording.add_unanswered()
            with contextlib.suppress(OSError):
                self._client.write(error.args[0])
                if isinstance(error, ValueError):
                    self._pass_rest()
            return
        except OSError:
            self._recording.add_unanswered()
            self._client.reset()
            return
        try:
            if answer.status == _SWITCHING_PROTOCOLS:
                self._recording.open(answer.status, answer.phrase, answer.headers, b"")
                self._client.write(answer.raw)
                self._pass_both_ways(answer)
            else:
                self._refuse(answer)
        except OSError:
            # one side was reset
            self._upstream.reset()
            self._client.reset()
        finally:
            self._recording.end()

    def disconnect(self) -> None:
        """Cut both connections."""
        self._is_cut = True
        self._upstream.disconnect()
        self._client.disconnect()

    def _refuse(self, answer: Answer) -> None:
        self._client.write(answer.raw)
        body = b""
        try:
            body = read_body(self._upstream, answer, self._client.write)
        finally:
            self._recording.open(answer.status, answer.phrase, answer.headers, body)

    def _pass_rest(self) -> None:
        while piece := self._upstream.read(_PIECE_BYTES):
            self._client.write(piece)

    def _pass_both_ways(self, answer: Answer) -> None:
        forth = _Direction(
            self._client, self._upstream, self._noting(True, answer), self._noting_end(True)
        )
        back = _Direction(
            self._upstream, self._client, self._noting(False, answer), self._noting_end(False)
        )
        thread = threading.Thread(
            target=back.run, args=(False,), name="fastwsh-record", daemon=True
        )
        thread.start()
        forth.run(is_masked=True)
        thread.join()
        if not (forth.was_reset or back.was_reset):
            self._client.set_clean()

    def _noting(self, from_client: bool, answer: Answer) -> Callable[[Frame], None]:
        assembler = Assembler(from_client=from_client, is_compressed=answer.is_compressed)

        def note(frame: Frame) -> None:
            with self._lock:
                message = assembler.add(frame)
                self._has_closed |= frame.opcode == CLOSE
                self._recording.add(message)

        return note

    def _noting_end(self, from_client: bool) -> Callable[[bool], None]:
        def note_end(was_reset: bool) -> None:
            with self._lock:
                # only the first end counts
                if not (self._has_closed or self._is_cut):
                    self._has_closed = True
                    self._recording.add(End(from_client, was_reset, clock.time()))

        return note_end


class _Direction:
    """One direction of a connection.

    Args:
        source: Where the bytes come from.
        sink: Where they go to.
        note: Called with each frame.
        note_end: Called before the end is passed on; says whether it is a reset.
    """

    def __init__(
        self,
        source: _core.Connection,
        sink: _core.Connection,
        note: Callable[[Frame], None],
        note_end: Callable[[bool], None],
    ) -> None:
        self._source, self._sink = source, sink
        self._note, self._note_end = note, note_end
        self.was_reset = False

    def run(self, is_masked: bool) -> None:
        """Pass everything on, and the end in the same way: a FIN for a FIN, a reset for a reset."""
        frames = FrameFinder(is_masked=is_masked)
        while True:
            try:
                piece = self._source.read(_PIECE_BYTES)
            except OSError:
                self.was_reset = True
                self._note_end(True)
                self._sink.reset()
                return
            # record frames before passing them on, so that an answer is recorded after its question
            for frame in frames.feed(piece):
                self._note(frame)
            try:
                if not piece:
                    self._note_end(False)
                    self._sink.half_close()
                    return
                self._sink.write(piece)
            except OSError:
                # the other side has gone, so end this side, too
                self.was_reset = True
                self._source.reset()
                return
