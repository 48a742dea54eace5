"""Topics: who gets what is published, in which order, and where it may stand."""

import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import quote

import pytest

from conftest import (
    ALL_WAYS,
    Server,
    StartServer,
    WriteHandler,
    starting_servers,
    to_coroutine_function,
)
from topics_support import publish, topic_handlers
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

__all__ = ["topic_handlers"]

WAYS = pytest.mark.parametrize("concurrency", ["threads", "hub", "loop", "http2"], scope="module")
"""As `CONTRACT_WAYS`, with a server for all tests of a way."""

ROOM = """\
import json
from urllib.parse import unquote
from fastwsh import topics

kept = []

def web_socket_do_extra_handshake(request):
    kept.append(request)
    query = unquote(request.ws_resource.partition("?")[2])
    if query:
        topics.subscribe(request, query)
        topics.subscribe(request, "left")
        topics.unsubscribe(request, "left")

def web_socket_transfer_data(request):
    while True:
        text = request.ws_stream.receive_message()
        if text is None:
            return
        verb, *rest = json.loads(text)
        if verb == "subscribe":
            answer = topics.subscribe(request, *rest)
        elif verb == "unsubscribe":
            answer = topics.unsubscribe(request, *rest)
        elif verb == "publish":
            answer = topics.publish(*rest)
        elif verb == "publish bytes":
            answer = topics.publish(rest[0], rest[1].encode(), binary=rest[2])
        elif verb == "exclude":
            answer = topics.publish(*rest, exclude=request)
        elif verb == "exclude all":
            answer = topics.publish(*rest, exclude=kept)
        elif verb == "subscribers":
            answer = topics.subscribers(*rest)
        elif verb == "inside":
            request.ws_stream.send_message("begun ", end=False)
            topics.publish(*rest)
            request.ws_stream.send_message("ended")
            answer = None
        elif verb == "reset":
            request.connection.reset()
            continue
        elif verb == "return":
            topics.publish(*rest)
            return
        else:
            answer = getattr(topics, verb)(*rest)
        request.ws_stream.send_message(json.dumps(["did", verb, answer]))
"""


class Member:
    """A client of the handler above."""

    def __init__(self, client: Client, *, resets: bool = False) -> None:
        self.client = client
        self.messages: list[str] = []
        self.compressed: list[bool] = []
        self._inflater = zlib.decompressobj(-15)
        self._resets = resets

    def ask(self, *call: object) -> object:
        """Have the handler do something; return its answer. Messages before it are kept."""
        self.client.send_frame(TEXT, json.dumps(call).encode())
        while not (text := self._read()).startswith('["did"'):
            self.messages.append(text)
        self.compressed.pop()
        return json.loads(text)[2]

    def next(self) -> str:
        """Return the next message of a topic."""
        return self.messages.pop(0) if self.messages else self._read()

    def _read(self) -> str:
        frame = self.client.read_frame()
        assert frame.opcode == TEXT, frame
        self.compressed.append(bool(frame.rsv))
        if not frame.rsv:
            return frame.payload.decode()
        if self._resets:
            self._inflater = zlib.decompressobj(-15)
        return self._inflater.decompress(frame.payload + b"\0\0\xff\xff").decode()


@pytest.fixture(scope="module")
def room_server(concurrency: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a way; each test has topics of its own."""
    folder = tmp_path_factory.mktemp("room")
    body = to_coroutine_function(ROOM) if concurrency == "loop" else ROOM
    (folder / "room_wsh.py").write_text(body)
    with starting_servers(folder, concurrency) as start:
        yield start("--slow-subscriber", "close")


_numbers = itertools.count()


@pytest.fixture
def topic() -> str:
    """A topic that no other test has."""
    return f"topic {next(_numbers)}"


@pytest.fixture
def join(room_server: Server) -> Iterator[Callable[..., Member]]:
    with ExitStack() as stack:

        def join(topic: str = "", offer: str = "") -> Member:
            client = stack.enter_context(room_server.connect())
            headers = [("Sec-WebSocket-Extensions", offer)] if offer else []
            client.handshake(f"/room?{quote(topic)}" if topic else "/room", headers)
            return Member(client, resets="server_no" in offer)

        yield join


@WAYS
class TestWhoGetsWhat:
    def test_all_subscribers_get_a_message_while_their_handlers_wait(
        self, join: Callable[..., Member], topic: str
    ):
        first, second, other = join(topic), join(topic), join(f"{topic} b")
        assert other.ask("publish", topic, "häagen") == 2
        assert other.ask("publish", f"{topic} b", "own") == 1
        assert other.ask("publish", "left", "nobody") == 0
        assert [first.next(), second.next(), other.next()] == ["häagen", "häagen", "own"]
        assert other.ask("subscribers", topic) == 2
        first.client.send_close()
        assert first.client.read_frame().opcode == CLOSE
        assert first.client.read_to_end() == b""
        assert other.ask("subscribers", topic) == 1

    def test_the_type_of_a_message_is_that_of_its_object_or_what_binary_says(
        self, join: Callable[..., Member], topic: str
    ):
        member, publisher = join(topic), join()
        publisher.ask("publish", topic, "text")
        publisher.ask("publish bytes", topic, "bytes", None)
        publisher.ask("publish bytes", topic, "text", False)
        frames = [member.client.read_frame() for _ in range(3)]
        assert [frame.opcode for frame in frames] == [TEXT, BINARY, TEXT]

    def test_subscribing_and_unsubscribing_take_effect_at_once(
        self, join: Callable[..., Member], topic: str
    ):
        member, publisher = join(), join()
        for _ in range(2):
            member.ask("subscribe", topic)
        assert publisher.ask("publish", topic, "one") == 1
        for _ in range(2):
            member.ask("unsubscribe", topic)
        assert publisher.ask("publish", topic, "two") == 0
        member.ask("subscribe", f"{topic} b")
        assert publisher.ask("publish", f"{topic} b", "three") == 1
        assert [member.next(), member.next()] == ["one", "three"]

    def test_a_publisher_can_exclude_itself_and_others(
        self, join: Callable[..., Member], topic: str
    ):
        first, second = join(topic), join(topic)
        assert first.ask("exclude", topic, "to the other") == 1
        assert first.ask("exclude all", topic, "to nobody") == 0
        assert first.ask("publish", topic, "to all") == 2
        assert [second.next(), second.next()] == ["to the other", "to all"]
        assert first.messages == ["to all"]

    def test_no_message_stands_inside_one_in_fragments(
        self, join: Callable[..., Member], topic: str
    ):
        member, watcher = join(topic), join(topic)
        member.client.send_frame(TEXT, json.dumps(["inside", topic, "between"]).encode())
        frames = [member.client.read_frame() for _ in range(4)]
        begun, ended = Frame(TEXT, b"begun ", fin=False), Frame(CONTINUATION, b"ended")
        assert [frame for frame in frames if b"did" not in frame.payload] == [
            begun,
            ended,
            Frame(TEXT, b"between"),
        ]
        assert watcher.next() == "between"

    def test_the_end_of_a_connection_ends_its_subscriptions(
        self, join: Callable[..., Member], topic: str
    ):
        returns, watcher = join(topic), join(topic)
        returns.client.send_frame(TEXT, json.dumps(["return", topic, "last"]).encode())
        assert returns.client.read_frame() == Frame(TEXT, b"last")
        assert returns.client.read_frame().opcode == CLOSE
        assert watcher.next() == "last"
        assert watcher.ask("subscribers", topic) == 1
        assert watcher.ask("publish", topic, "after") == 1

    @pytest.mark.http1("a reset of a stream is not one of the connection")
    def test_a_reset_ends_subscriptions(self, join: Callable[..., Member], topic: str):
        resets, watcher = join(topic), join(topic)
        resets.client.send_frame(TEXT, b'["reset"]')
        assert resets.client.read_to_end() == b""
        assert watcher.ask("publish", topic, "x") == 1

    def test_a_message_comes_while_a_ping_is_answered(
        self, join: Callable[..., Member], topic: str
    ):
        member, publisher = join(topic), join()
        for number in range(20):
            member.client.send_frame(PING, str(number).encode())
            publisher.ask("publish", topic, str(number))
        frames = [member.client.read_frame() for _ in range(40)]
        for opcode in (PONG, TEXT):
            seen = [int(frame.payload) for frame in frames if frame.opcode == opcode]
            assert seen == list(range(20))

    def test_a_large_message_arrives_whole(self, join: Callable[..., Member], topic: str):
        member, publisher = join(topic), join()
        text = "0123456789" * 100_000
        assert publisher.ask("publish", topic, text) == 1
        assert member.next() == text


@WAYS
@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
    ],
)
def test_messages_of_topics_leave_the_compression_of_the_handler_alone(
    join: Callable[..., Member], topic: str, offer: str
):
    member, plain = join(topic, offer), join(topic)
    texts = [f"words of a topic, which repeat and repeat {number}" for number in range(3)]
    # between the messages of the topic are the handler's own, which it compresses
    for text in texts:
        assert member.ask("publish", topic, text) == 2
    assert [member.next() for _ in texts] == texts
    assert member.compressed == ["server_no" in offer] * 3
    assert [plain.next() for _ in texts] == texts
    assert plain.compressed == [False] * 3


# The value of a header is made when the subscription has been, and the answer has not left.
PUBLISHES_EARLY = """\
from fastwsh import topics
class Publishes:
    def __init__(self, text, value):
        self.text, self.value = text, value
    def __str__(self):
        topics.publish("early", self.text)
        return self.value
def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "early")
    value = "bad\\0value" if request.ws_resource.endswith("?bad") else "good"
    request.extra_headers.append(("X-Value", Publishes("before the answer", value)))
def web_socket_transfer_data(request):
    topics.publish("early", "behind it")
    while request.ws_stream.receive_message() is not None:
        pass
"""


@ALL_WAYS
def test_nothing_is_missed_from_the_answer_on(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("early", PUBLISHES_EARLY)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/early")
        found = [client.read_frame() for _ in range(2)]
        assert found == [Frame(TEXT, b"before the answer"), Frame(TEXT, b"behind it")]
        with server.connect() as refused:
            refused.send_request("/early?bad")
            assert refused.read_response().status == 403
            assert refused.read_to_end().count(b"before the answer") == 0
        assert client.read_frame() == Frame(TEXT, b"before the answer")


@pytest.mark.usefixtures("topic_handlers")
def test_a_thousand_get_what_several_threads_publish_in_their_order(start_server: StartServer):
    server = start_server("-w", "handlers")
    with ExitStack() as stack:
        publisher = stack.enter_context(server.connect())
        publisher.handshake("/publishes")
        clients = [stack.enter_context(server.connect()) for _ in range(1000)]
        for client in clients:
            client.send_request("/waits")
        for client in clients:
            assert client.read_response().status == 101
        publish(publisher, 4, range(5))
        for client in clients:
            seen = [client.read_frame().payload.split() for _ in range(20)]
            for thread in range(4):
                numbers = [int(number) for which, number in seen if int(which) == thread]
                assert numbers == list(range(5))
