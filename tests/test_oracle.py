"""The receive path against `wsproto` as an oracle, over generated streams, valid and broken.

What wsproto makes of a stream says what an echo server must send, and with which code it must
close; a real server gets the same bytes, cut anywhere.
"""

import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from conftest import Server, StartServer, WriteHandler
from contract_support import PATH
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, encode_frame

ECHO = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""

# Nothing of an example stays in the server, so that all examples share one.
PROFILE = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Reply = tuple[str, str | bytes]


@dataclass(frozen=True)
class Piece:
    """One frame of a message, and the control frames that precede it."""

    controls: list[tuple[int, bytes]]
    share: int
    mask: bytes


masks = st.binary(min_size=4, max_size=4)
controls = st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=2)
pieces = st.lists(st.builds(Piece, controls, st.integers(0, 9), masks), min_size=1, max_size=5)
sizes = st.sampled_from([1, 1, 1, 1, 40, 400])
contents = st.tuples(st.one_of(st.text(max_size=200), st.binary(max_size=200)), sizes)
messages = st.lists(st.tuples(contents, pieces, st.booleans()), min_size=1, max_size=12)
cuts = st.lists(st.integers(0, 100_000), max_size=8)


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler(PATH.removeprefix("/"), ECHO)
    # wsproto has no limit: whoever announces much is waited for
    return start_server("-w", "handlers", "--max-message-bytes", "0")


class Encoder:
    """Makes a stream of frames; compresses messages if the extension was agreed on."""

    def __init__(self, *, deflate: bool) -> None:
        self.deflater = zlib.compressobj(wbits=-15) if deflate else None

    def frames(
        self, content: str | bytes, parts: list[Piece], *, compress: bool
    ) -> Iterator[bytes]:
        payload = content.encode() if isinstance(content, str) else content
        compressed = self.deflater is not None and compress
        if self.deflater and compressed:
            payload = self.deflater.compress(payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
            payload = payload.removesuffix(b"\0\0\xff\xff")
        opcode = TEXT if isinstance(content, str) else BINARY
        rsv = 4 if compressed else 0
        if compressed:
            # wsproto takes what follows a control frame inside a compressed message as it is.
            yield from (frame for part in parts for frame in control_frames(part))
        for number, part in enumerate(parts):
            if not compressed:
                yield from control_frames(part)
            last = number == len(parts) - 1
            size = len(payload) if last else len(payload) * part.share // 10
            piece, payload = payload[:size], payload[size:]
            yield encode_frame(opcode, piece, fin=last, rsv=rsv, mask=part.mask)
            opcode, rsv = CONTINUATION, 0


def control_frames(part: Piece) -> Iterator[bytes]:
    for opcode, body in part.controls:
        yield encode_frame(opcode, body, mask=part.mask)


def connection(kind: ConnectionType, *, deflate: bool) -> Connection:
    extension = PerMessageDeflate()
    if deflate and kind is ConnectionType.CLIENT:
        extension.finalize("permessage-deflate")
    elif deflate:
        extension.accept("permessage-deflate")
    return Connection(kind, [extension] if deflate else [])


def replies(events: Iterator[Event], control: type[Event]) -> Iterator[Reply]:
    """What an echo server answers, or has answered, to messages and to pings."""
    collected: list[str | bytes | bytearray] = []
    for event in events:
        if isinstance(event, Message):
            collected.append(event.data)
            if event.message_finished and isinstance(event, TextMessage):
                yield "text", "".join(str(part) for part in collected)
            elif event.message_finished:
                assert isinstance(event, BytesMessage)
                yield "binary", b"".join(bytes(part) for part in collected)
            if event.message_finished:
                collected.clear()
        elif isinstance(event, control):
            yield "pong", bytes(event.payload)


def expected(data: bytes, *, deflate: bool) -> list[Reply]:
    oracle = connection(ConnectionType.SERVER, deflate=deflate)
    oracle.receive_data(data)
    return list(replies(oracle.events(), Ping))


def received(client: Client, *, deflate: bool) -> list[Reply]:
    """Read replies until the server's close frame."""
    reader = connection(ConnectionType.CLIENT, deflate=deflate)

    def events() -> Iterator[Event]:
        while True:
            reader.receive_data(client.socket.recv(1 << 16) or None)
            for event in reader.events():
                if isinstance(event, CloseConnection):
                    assert event.code == 1000
                    return
                yield event

    return list(replies(events(), Pong))


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "deflate"])
@PROFILE
@given(stream=messages, cuts=cuts)
def test_the_echo_of_a_stream_is_what_wsproto_reads_from_it(
    server: Server,
    deflate: bool,
    stream: list[tuple[tuple[str | bytes, int], list[Piece], bool]],
    cuts: list[int],
) -> None:
    encoder = Encoder(deflate=deflate)
    data = b"".join(
        frame
        for (content, times), parts, compress in stream
        for frame in encoder.frames(content * times, parts, compress=compress)
    )
    with server.connect() as client:
        offer = [("Sec-WebSocket-Extensions", "permessage-deflate")] if deflate else []
        response = client.handshake(PATH, offer)
        assert (response.header("Sec-WebSocket-Extensions") is not None) == deflate
        ends = sorted(min(cut, len(data)) for cut in cuts)
        for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
            client.send(data[start:end])
        client.send_close()
        assert received(client, deflate=deflate) == expected(data, deflate=deflate)


# --- broken streams ------------------------------------------------------------------------------

Mutation = tuple[str, int, int]
"""What happens to which frame, and where in it: a bit, a byte, or another frame."""

places = st.one_of(st.integers(0, 15), st.integers(0, 100_000))
mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "flip", "truncate", "drop", "repeat", "swap"]),
        st.integers(0, 50),
        places,
    ),
    min_size=1,
    max_size=4,
)


def mutate(frames: list[bytes], mutation: Mutation) -> None:
    kind, at, place = mutation
    if not frames:
        return
    at %= len(frames)
    frame = bytearray(frames[at])
    if kind == "flip" and frame:
        place %= len(frame) * 8
        frame[place // 8] ^= 1 << place % 8
        frames[at] = bytes(frame)
    elif kind == "truncate":
        frames[at:] = [bytes(frame[: place % (len(frame) + 1)])]
    elif kind == "drop":
        del frames[at]
    elif kind == "repeat":
        frames.insert(at, frames[at])
    elif kind == "swap":
        other = place % len(frames)
        frames[at], frames[other] = frames[other], frames[at]


@dataclass(frozen=True)
class Reading:
    """What was made of a stream: replies, and then the code of a close frame, if there is one."""

    replies: list[Reply]
    code: int | None


@dataclass(frozen=True)
class Oracle(Reading):
    """What wsproto makes of it."""

    failure: str
    """What it says of the frame that it stopped at."""
    whole: bool
    """Whether all of that frame has come."""
    rest: bytes
    """What it has not read; a header that it did not accept, or waits for, comes first."""

    def agrees_with(self, server: Reading) -> bool:
        """Whether the server did the same, but for what is known to differ."""
        if self.failure.startswith("Payload length used"):
            # We accept a length in more octets than it needs, and log a warning, as pywebsocket
            # does: what follows is read.
            return server.replies[: len(self.replies)] == self.replies
        if self.failure.startswith("Invalid opcode") and self.rest[0] & 0x88 == 0:
            # wsproto tells it from the header; we read the message that it begins, as pywebsocket
            # does, and answer the pings inside.
            extra = server.replies[len(self.replies) :]
            same = server.replies[: len(self.replies)] == self.replies
            return same and all(kind == "pong" for kind, _ in extra)
        if server.replies != self.replies:
            return False
        if self.code == 1002 and server.code is None:
            # wsproto judges the header, we the frame, when all of it has come.
            return not self.whole
        if self.code is None and server.code == 1002:
            # We look at the mask bit before the rest of the header has come.
            return len(self.rest) >= 2 and not self.rest[1] & 0x80
        return server.code == self.code


def is_whole(frame: bytes) -> bool:
    octets = {126: 2, 127: 8}.get(frame[1] & 0x7F, 0)
    size = int.from_bytes(frame[2 : 2 + octets]) if octets else frame[1] & 0x7F
    return len(frame) >= 2 + octets + 4 + size


def read_by_oracle(data: bytes) -> Oracle:
    oracle = connection(ConnectionType.SERVER, deflate=False)
    oracle.receive_data(data)
    events = list(oracle.events())
    said = list(replies(iter(events), Ping))
    decoder = oracle._proto._frame_decoder
    rest = bytes(decoder.buffer.buffer)
    last = events[-1] if events else None
    if not isinstance(last, CloseConnection):
        return Oracle(said, None, "", whole=False, rest=rest)
    if oracle.state is not ConnectionState.OPEN:
        # whatever the peer's code is, a handler that says nothing else answers with this one
        return Oracle(said, 1000, "", whole=True, rest=rest)
    refused_header = decoder.buffer.bytes_used > 0
    whole = is_whole(rest) if refused_header else decoder.header is None
    return Oracle(said, last.code, last.reason or "", whole=whole, rest=rest)


def read_from(client: Client) -> Reading:
    """Read until the server ends the connection."""
    reader = connection(ConnectionType.CLIENT, deflate=False)
    with suppress(ConnectionResetError):
        while piece := client.socket.recv(1 << 16):
            reader.receive_data(piece)
    events = list(reader.events())
    closes = [event.code for event in events if isinstance(event, CloseConnection)]
    return Reading(list(replies(iter(events), Pong)), closes[0] if closes else None)


@PROFILE
@given(stream=messages, mutations=mutations, cuts=cuts)
def test_a_broken_stream_is_echoed_as_far_as_wsproto_reads_it(
    server: Server,
    stream: list[tuple[tuple[str | bytes, int], list[Piece], bool]],
    mutations: list[Mutation],
    cuts: list[int],
) -> None:
    encoder = Encoder(deflate=False)
    frames = [
        frame
        for (content, times), parts, _ in stream
        for frame in encoder.frames(content * times, parts, compress=False)
    ]
    frames.append(encode_frame(CLOSE, b"\x03\xe8"))
    for mutation in mutations:
        mutate(frames, mutation)
    data = b"".join(frames)
    with server.connect() as client:
        client.handshake(PATH)
        # the server may have closed before all of it is sent
        with suppress(OSError):
            ends = sorted(min(cut, len(data)) for cut in cuts)
            for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
                client.send(data[start:end])
            client.socket.shutdown(socket.SHUT_WR)
        reading = read_from(client)
    oracle = read_by_oracle(data)
    assert oracle.agrees_with(reading), (oracle, reading)
