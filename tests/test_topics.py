"""Topics: who gets what is published, in which order, and where it may stand."""

import asyncio
import itertools
import json
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import fastwsh
from conftest import (
    ALL_WAYS,
    Server,
    StartServer,
    WriteHandler,
    starting_servers,
    to_coroutine_function,
)
from fastwsh import topics
from fastwsh.options import parse_args_and_config
from fastwsh.server import WebSocketServer
from fastwsh.testing import Connection, running_server
from metrics_support import Metrics
from wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEADLINE_SECONDS,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
)

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


WAITS = """\
from fastwsh import topics
def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "a")
def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        pass
"""

PUBLISHES = """\
import json
import threading
from fastwsh import topics
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    while (text := request.ws_stream.receive_message()) is not None:
        if text == "subscribers":
            request.ws_stream.send_message(str(topics.subscribers("a")))
            continue
        threads, first, end, size = json.loads(text)
        def publish(thread):
            for number in range(first, end):
                topics.publish("a", f"{thread} {number} " + "x" * size)
        own = [threading.Thread(target=publish, args=(thread,)) for thread in range(threads)]
        for thread in own:
            thread.start()
        for thread in own:
            thread.join()
        request.ws_stream.send_message("done")
"""


def publish(publisher: Client, threads: int, numbers: range, size: int = 0) -> None:
    what = [threads, numbers.start, numbers.stop, size]
    publisher.send_frame(TEXT, json.dumps(what).encode())
    assert publisher.read_frame() == Frame(TEXT, b"done")


def number_of(frame: Frame) -> int:
    return int(frame.payload.split()[1])


@pytest.fixture
def _handlers(write_handler: WriteHandler) -> None:
    write_handler("waits", WAITS)
    write_handler("publishes", PUBLISHES)


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


@pytest.mark.usefixtures("_handlers")
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


END = 10_000
"""The number of a message after those that fill the queue."""


class SlowReader:
    """Reads what a slow client has got, in a thread, until the end or a close frame."""

    def __init__(self, client: Client) -> None:
        self.numbers: list[int] = []
        self.close_code: int | None = None
        self._client = client
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while self.numbers[-1:] != [END]:
            frame = self._client.read_frame()
            if frame.opcode == CLOSE:
                self.close_code = int.from_bytes(frame.payload[:2])
                return
            self.numbers.append(number_of(frame))


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("policy", ["close", "drop-newest", "drop-oldest"])
def test_a_subscriber_that_does_not_read_delays_nobody(start_server: StartServer, policy: str):
    limits = ["--slow-subscriber", policy, "--topic-queue-bytes", "300000"]
    server = start_server("-w", "handlers", "--metrics-port", "0", *limits)
    metrics = Metrics(server)
    with server.connect() as publisher, server.connect() as slow, server.connect() as quick:
        publisher.handshake("/publishes")
        slow.handshake("/waits")
        quick.handshake("/waits")
        count = 300
        for number in range(count):
            publish(publisher, 1, range(number, number + 1), 50_000)
            assert number_of(quick.read_frame()) == number
        server.log.wait_for(r"127\.0\.0\.1 is too slow for its topics \(--topic-queue-bytes\): ")
        reader = SlowReader(slow)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while reader.thread.is_alive() and time.monotonic() < deadline:
            # as long as the queue is full, the new message may be dropped
            publish(publisher, 1, range(END, END + 1))
            reader.thread.join(0.01)
        numbers = [number for number in reader.numbers if number != END]
        assert numbers == sorted(set(numbers))
        assert 0 < len(numbers) < count
        if policy == "drop-oldest":
            assert numbers[-1] == count - 1
        else:
            assert numbers == list(range(len(numbers)))
        closes = policy == "close"
        assert reader.close_code == (1008 if closes else None)
        assert metrics.value("topic_slow_closes_total") == closes
        dropped = metrics.value("topic_messages_dropped_total")
        assert dropped is not None
        assert dropped == 1 if closes else dropped > count - len(numbers) - 1
        if closes:
            slow.send_close(1008)
            assert slow.read_to_end() == b""
            metrics.wait_for("topic_subscriptions", 1)
        assert metrics.value("topics") == 1


@pytest.mark.usefixtures("_handlers")
def test_a_slow_subscriber_that_does_not_answer_is_cut(start_server: StartServer):
    limits = ["--topic-queue-bytes", "300000", "--close-timeout", "1", "--shutdown-timeout", "300"]
    server = start_server("-w", "handlers", *limits)
    with server.connect() as publisher, server.connect() as slow:
        publisher.handshake("/publishes")
        slow.handshake("/waits")
        publish(publisher, 1, range(300), 50_000)
        server.log.wait_for("is too slow for its topics .--topic-queue-bytes.: connection closed")
        publisher.send_close()
        assert publisher.read_frame().opcode == CLOSE
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_code_outside_of_handlers_reaches_every_server_of_the_process():
    def handler(connection: Connection) -> None:
        topics.subscribe(connection.request, "a")
        connection.send("ready")
        for text in connection:
            connection.send(f"reached {topics.publish('a', text)}")

    with running_server() as first, running_server() as second:
        for server in (first, second):
            server.handler("/a")(handler)
        with (
            fastwsh.connect(first.url_for("/a")) as one,
            fastwsh.connect(second.url_for("/a")) as two,
        ):
            assert [one.recv(), two.recv()] == ["ready"] * 2
            assert topics.subscribers("a") == 2
            assert topics.publish("a", "to both") == 2
            assert [one.recv(), two.recv()] == ["to both"] * 2
            one.send("to the own server")
            assert [one.recv(), one.recv()] == ["to the own server", "reached 1"]
    assert topics.subscribers("a") == 0
    assert topics.publish("a", "nobody") == 0


@contextmanager
def serving(folder: Path) -> Iterator[WebSocketServer]:
    options, _ = parse_args_and_config(["-H", "127.0.0.1", "-p0", "-w", str(folder)])
    server = WebSocketServer(options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.stop(0)
        server.server_close()
        thread.join()


def test_an_embedder_uses_the_topics_of_one_server(handler_root: Path, write_handler: WriteHandler):
    body = "request.connection.server.kept.append(request)\nrequest.ws_stream.receive_message()"
    write_handler("kept", body)
    kept: list[Any] = []
    with serving(handler_root) as server, serving(handler_root) as other:
        server.kept = kept  # type: ignore[attr-defined]
        with Client(server.server_port) as client:
            client.handshake("/kept")
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not kept and time.monotonic() < deadline:
                time.sleep(0.01)
            server.subscribe(kept[0], "a")
            idle = WebSocketServer(server.websocket_server_options)
            for stranger in (other, idle):
                with pytest.raises(ValueError, match="another server"):
                    stranger.subscribe(kept[0], "a")
                with pytest.raises(ValueError, match="another server"):
                    stranger.unsubscribe(kept[0], "a")
            idle.server_close()
            assert (server.subscribers("a"), other.subscribers("a")) == (1, 0)
            assert (other.publish("a", "x"), server.publish("a", b"y")) == (0, 1)
            assert client.read_frame() == Frame(BINARY, b"y")
            assert server.publish("a", "x", exclude=kept) == 0
            server.unsubscribe(kept[0], "a")
            assert server.subscribers("a") == 0
    server.subscribe(kept.pop(), "a")
    assert server.publish("a", "x") == 0


def test_a_handler_in_the_hub_reaches_its_own_server(
    handler_root: Path, write_handler: WriteHandler
):
    body = """
from fastwsh import topics
topics.subscribe(request, "own")
while (text := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(f"reached {topics.publish('own', text, exclude=request)}")
"""
    write_handler("own", body)
    with (
        serving(handler_root) as one,
        serving(handler_root) as two,
        Client(one.server_port) as first,
        Client(two.server_port) as second,
    ):
        for client in (first, second):
            client.handshake("/own")
        # in turns, as all share the hub's thread
        for client in (first, second, first):
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"reached 0")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: topics.publish("", "x"), ValueError, "must not be empty"),
        (
            lambda: topics.publish("é" * 128, "x"),
            ValueError,
            "256 bytes of UTF-8, and may have 255",
        ),
        (lambda: topics.subscribers(7), TypeError, "name of a topic must be a str, not int"),
        (lambda: topics.publish("a", 7), TypeError, "must be str or a bytes-like object, not int"),
        (lambda: topics.publish("a", "x", binary=True), TypeError, "must be bytes, not str"),
        # what is true or false counts as such, as in `send_message`
        (lambda: topics.publish("a", "x", binary=[1]), TypeError, "must be bytes, not str"),
        (lambda: topics.publish("a", b"\xff", binary=0), ValueError, "must be UTF-8"),
        (lambda: topics.publish("a", b"\xff", binary=False), ValueError, "must be UTF-8"),
        (lambda: topics.publish("a", "\ud800"), ValueError, "surrogates not allowed"),
        (lambda: topics.publish("\ud800", "x"), ValueError, "surrogates not allowed"),
        (lambda: topics.publish("a", "x" * (1 << 20)), ValueError, "--topic-queue-bytes"),
        (lambda: topics.publish("a", "x", exclude=7), TypeError, "argument of a handler is wanted"),
        (lambda: topics.publish("a", "x", exclude=["x"]), TypeError, "not str"),
        (lambda: topics.subscribe(None, "a"), TypeError, "not NoneType"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    call: Callable[[], object], error: type[Exception], text: str
):
    with running_server(), pytest.raises(error, match=text):
        call()


def test_a_server_in_an_event_loop_and_one_of_tests_publish(handler_root: Path, write_handler):
    body = "topics.subscribe(request, 'a')\nrequest.ws_stream.send_message('ready')\n"
    write_handler("a", f"from fastwsh import topics\n{body}request.ws_stream.receive_message()")

    async def in_a_loop() -> None:
        async with await fastwsh.serve(handler_root, port=0) as server:
            url = f"ws://127.0.0.1:{server.port}/a"
            connection = await asyncio.to_thread(fastwsh.connect, url)
            assert await asyncio.to_thread(connection.recv) == "ready"
            assert (server.publish("a", "x"), server.subscribers("a")) == (1, 1)
            assert await asyncio.to_thread(connection.recv) == "x"
            await asyncio.to_thread(connection.close)

    asyncio.run(in_a_loop())
    with running_server(handler_root) as server, fastwsh.connect(server.url_for("/a")) as client:
        assert client.recv() == "ready"
        assert (server.publish("a", b"y"), server.subscribers("a")) == (1, 1)
        assert client.recv() == b"y"
        [connection] = server.connections
        assert server.publish("a", "no", exclude=connection.request) == 0
        server.unsubscribe(connection.request, "a")
        assert server.publish("a", "no") == 0
