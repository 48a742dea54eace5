"""A proxy for tests: HTTP/1.1 in front, HTTP/2 behind (RFC 8441), so that the clients of all tests,
which send raw bytes and frames, also speak to a server over a stream of HTTP/2.

Each connection of a client becomes a connection with one stream. What the bridge adds to the
server's answer is what HTTP/1.1 has in addition: the status 101, Upgrade, Connection and
Sec-WebSocket-Accept. The end of the stream and its reset both become the end of TCP, which is as
much as a browser sees; a reset of the client becomes RST_STREAM.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from client_support import accept_value
from wire import DEADLINE_SECONDS

__all__ = ["Passage", "answer_head", "bridging", "connect_fields"]

_OF_HTTP1 = {"host", "connection", "upgrade", "sec-websocket-key", "keep-alive"}
_PIECE = 16 * 1024


def connect_fields(head: str, scheme: str) -> tuple[str, list[tuple[str, str]]]:
    """Read a client's request; return its key, and the fields of extended CONNECT."""
    line, *lines = head.split("\r\n")
    method, path, _ = line.split(" ")
    pairs = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
    headers = [(name.lower(), value) for name, value in pairs]
    first = dict(reversed(headers))
    assert method == "GET", method
    pseudo = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", scheme),
        (":authority", first.get("host", "")),
        (":path", path),
    ]
    rest = [(name, value) for name, value in headers if name not in _OF_HTTP1]
    return first.get("sec-websocket-key", ""), [*pseudo, *rest]


def answer_head(headers: list[tuple[str, str]], key: str) -> bytes:
    """Write the head of the client's answer; the first header is the status."""
    (_, status), *rest = ((name.title(), value) for name, value in headers)
    # HTTP/1.1 has no Date there
    rest = [pair for pair in rest if pair[0] != "Date"]
    if status == "200":
        added = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
        rest = [*added, ("Sec-WebSocket-Accept", accept_value(key)), *rest]
        status = "101"
    lines = [f"HTTP/1.1 {status} Bridged", *(f"{name}: {value}" for name, value in rest)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Passage(Protocol):
    """One client and its stream."""

    client: socket.socket

    def run(self) -> None:
        """Pass bytes on until both directions have ended."""

    def cut(self) -> None:
        """Let `run` end."""


class _Passage:
    """One client and its stream of HTTP/2."""

    def __init__(self, client: socket.socket, port: int) -> None:
        self.client = client
        self.server = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
        for one in (client, self.server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            header_encoding="latin-1",
            validate_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        # `h2` takes GOAWAY for the end of all streams; those that are open go on (RFC 9113 6.8)
        self.h2._frame_dispatch_table[GoAwayFrame] = lambda _: ([], [])
        code = h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE
        self.h2.local_settings[code] = 1 << 20
        self.h2.local_settings.acknowledge()
        self.h2.decoder.max_header_list_size = 1 << 20
        self.h2.initiate_connection()
        self.head = b""
        self.waiting = bytearray()
        self.stream: int | None = None
        self.key = ""
        self.to_client = bytearray()
        # received bytes for which the window has not opened again
        self.held = 0
        self.client_ended = self.stream_ended = self.has_sent_end = False
        self.is_reset = self.is_cut = False

    def run(self) -> None:
        """Pass bytes on until both directions have ended."""
        with self.client, self.server, contextlib.suppress(OSError):
            while not (self.is_cut or (self.stream_ended and self.client_ended)):
                self._turn()
            if self.is_cut and not self.is_reset and self.stream is not None:
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.h2.reset_stream(self.stream, h2.errors.ErrorCodes.CANCEL)
            self.server.sendall(self.h2.data_to_send())
            # unread bytes would make a reset of the end
            self.server.shutdown(socket.SHUT_WR)
            while self.server.recv(65536):
                pass

    def cut(self) -> None:
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _turn(self) -> None:
        self.server.sendall(self.h2.data_to_send())
        has_room = self.stream is None or self.is_reset or (self._room() > 0 and not self.waiting)
        wants = has_room and not self.client_ended
        readers = [self.server, *([self.client] if wants else [])]
        writers = [self.client] if self.to_client else []
        readable, writable, _ = select.select(readers, writers, [])
        try:
            if self.client in writable:
                self._pass_to_client()
            if self.client in readable:
                self._take_from_client()
        except OSError:
            # the client has reset its connection
            self.is_cut = True
            return
        if self.server in readable:
            self._take_from_server()
        self._pass_to_server()

    def _room(self) -> int:
        if self.stream is None or self.is_reset:
            return 0
        return min(self.h2.local_flow_control_window(self.stream), _PIECE)

    def _pass_to_client(self) -> None:
        self.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            count = self.client.send(self.to_client)
            del self.to_client[:count]
            count = min(count, self.held)
            if count and not self.is_reset and self.stream is not None:
                self.held -= count
                self.h2.acknowledge_received_data(count, self.stream)
        if not self.to_client:
            self._end_client()

    def _end_client(self) -> None:
        if self.stream_ended:
            with contextlib.suppress(OSError):
                self.client.shutdown(socket.SHUT_WR)

    def _take_from_client(self) -> None:
        data = self.client.recv(_PIECE)
        if not data:
            self.client_ended = True
            if self.stream is None:
                self.is_cut = True
        elif self.stream is None:
            self.head += data
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if end:
                self._ask(head.decode("latin-1"))
                self.waiting += rest
        elif not self.is_reset:
            self.waiting += data

    def _ask(self, head: str) -> None:
        self.key, fields = connect_fields(head, "http")
        self.stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(self.stream, fields)

    def _pass_to_server(self) -> None:
        if self.stream is None or self.is_reset:
            return
        while self.waiting and (room := self._room()):
            self.h2.send_data(self.stream, bytes(self.waiting[:room]))
            del self.waiting[:room]
        if self.client_ended and not self.waiting and not self.has_sent_end:
            self.has_sent_end = True
            self.h2.end_stream(self.stream)

    def _take_from_server(self) -> None:
        try:
            data = self.server.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.is_reset = True
            self._stream_ends()
            return
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived(headers=headers):
                    self._answer([(str(name), str(value)) for name, value in headers])
                case h2.events.DataReceived(data=piece, flow_controlled_length=count):
                    self.to_client += piece
                    self.held += count or 0
                case h2.events.StreamEnded():
                    self._stream_ends()
                case h2.events.StreamReset():
                    self.is_reset = True
                    self._stream_ends()

    def _stream_ends(self) -> None:
        self.stream_ended = True
        if not self.to_client:
            self._end_client()

    def _answer(self, headers: list[tuple[str, str]]) -> None:
        self.to_client += answer_head(headers, self.key)


@contextlib.contextmanager
def bridging(
    port: int, passage_of: Callable[[socket.socket, int], Passage] = _Passage
) -> Iterator[int]:
    """Lead clients to a server on this port; give the port for them."""
    passages: list[Passage] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    passage = passage_of(client, port)
                    passages.append(passage)
                    thread = threading.Thread(target=passage.run, daemon=True)
                    threads.append(thread)
                    thread.start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(DEADLINE_SECONDS)
            for passage in passages:
                passage.cut()
            for thread in threads:
                thread.join(DEADLINE_SECONDS)
