"""`fastwsh.connect` in threads: messages, deadlines, pings, interruptions."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

import fastwsh
from client_support import Peer, serving
from conftest import BOTH_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO
from fastwsh.client import ClientConnection
from interrupt_support import assert_is_interrupted
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, Frame, encode_frame

MESSAGES = ["", "hello", "\u00fc" * 70_000, b"", b"\x00\xff" * 100, b"0123456789abcdef" * 300_000]


@pytest.fixture
def websockets_url() -> Iterator[str]:
    """An echo server of websockets."""

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((name for name in offered if name == "b"), None)

    with serve(echo, "127.0.0.1", 0, max_size=None, select_subprotocol=choose) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(DEADLINE_SECONDS)


def connect(url: str, **options: object) -> ClientConnection:
    return fastwsh.connect(url, **options)


def exchange(connection: ClientConnection) -> None:
    for message in MESSAGES:
        connection.send(message)
        assert connection.recv(DEADLINE_SECONDS) == message


@BOTH_WAYS
@pytest.mark.parametrize("compression", [True, False])
def test_our_server_echoes(
    start_server: StartServer, write_handler: WriteHandler, *, compression: bool
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers")
    with connect(server.url("/echo"), compression=compression) as connection:
        assert connection.is_compressed == compression
        assert connection.remote_address == ("127.0.0.1", server.port)
        exchange(connection)
    assert (connection.close_code, connection.close_reason) == (1000, "")


@pytest.mark.parametrize("compression", [True, False])
def test_websockets_server_echoes(websockets_url: str, *, compression: bool):
    with connect(websockets_url, compression=compression) as connection:
        assert connection.is_compressed == compression
        exchange(connection)


def test_subprotocol_is_the_one_that_the_server_chose(websockets_url: str):
    with connect(websockets_url, subprotocols=["a", "b", "c"]) as connection:
        assert connection.subprotocol == "b"


def test_server_may_choose_no_subprotocol():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"first", mask=None))
        assert peer.request.header("Sec-WebSocket-Protocol") == "a, b"
        assert peer.read_frame().opcode == CLOSE

    with serving(script) as url, connect(url, subprotocols=["a", "b"], close_timeout=1) as client:
        assert client.subprotocol is None
        assert client.recv(DEADLINE_SECONDS) == "first"


@pytest.mark.parametrize("pieces", [1, None])
def test_frames_that_come_with_the_answer_are_received(pieces: int | None):
    behind = encode_frame(TEXT, b"one", mask=None) + encode_frame(BINARY, b"two", mask=None)

    def script(peer: Peer) -> None:
        peer.answer(behind=behind, pieces=pieces)
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        assert client.recv(DEADLINE_SECONDS) == "one"
        assert client.recv(DEADLINE_SECONDS) == b"two"


def test_connection_header_may_name_more_than_the_upgrade():
    def script(peer: Peer) -> None:
        peer.answer([("Connection", "keep-alive, upgrade")])
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        assert client.subprotocol is None


def test_request_has_what_was_asked_for():
    def script(peer: Peer) -> None:
        peer.answer([("X-Reply", "yes")])
        request = peer.request
        assert request.status_line == "GET /?a=b HTTP/1.1"
        assert [v for n, v in request.headers if n.lower() == "x-a"] == ["1", "2"]
        assert request.header("Origin") == "http://example.org"
        assert request.header("Sec-WebSocket-Extensions") is None

    with serving(script) as url:
        client = connect(
            url + "?a=b",
            headers=[("X-A", "1"), ("X-A", "2"), ("X-B", "\u00fc")],
            origin="http://example.org",
            compression=False,
        )
        assert ("x-reply", "yes") in client.response_headers
        client.close()


def test_frames_are_masked_with_fresh_keys():
    frames: list[Frame] = []

    def script(peer: Peer) -> None:
        peer.answer()
        frames.extend(peer.read_frame() for _ in range(4))

    with serving(script) as url, connect(url, close_timeout=1) as client:
        client.send("a")
        client.send(b"b" * 70_000)
        client.ping(b"c")
    assert [(frame.opcode, frame.payload[:1]) for frame in frames[:3]] == [
        (TEXT, b"a"),
        (BINARY, b"b"),
        (PING, b"c"),
    ]
    assert frames[3].close_code == 1000
    assert None not in {frame.mask for frame in frames}
    assert len({frame.mask for frame in frames}) == 4


def test_timeout_of_recv_loses_nothing():
    go_on = threading.Event()
    whole = encode_frame(TEXT, b"hello", mask=None)

    def script(peer: Peer) -> None:
        peer.answer(behind=whole[:4])
        assert go_on.wait(DEADLINE_SECONDS)
        peer.send(whole[4:])
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match=f"no message came within {timeout} s"):
                client.recv(timeout)
        go_on.set()
        assert client.recv(DEADLINE_SECONDS) == "hello"


def test_ping_is_answered_while_receiving():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(PING, b"body", mask=None))
        frame = peer.read_frame()
        assert (frame.opcode, frame.payload) == (PONG, b"body")
        peer.send_frame(TEXT, b"seen", mask=None)
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        assert client.recv(DEADLINE_SECONDS) == "seen"


def test_wait_for_a_pong_keeps_messages(websockets_url: str):
    with connect(websockets_url) as client:
        client.send("before")
        pong = client.ping("data")
        assert pong.round_trip is None
        assert client.wait_pong(pong, DEADLINE_SECONDS) == pong.round_trip
        assert client.recv(DEADLINE_SECONDS) == "before"


def test_pong_that_another_thread_receives_ends_the_wait():
    """That thread goes on receiving."""
    received: list[str | bytes] = []

    def script(peer: Peer) -> None:
        peer.answer()
        body = peer.read_frame().payload
        peer.send_frame(PONG, body, mask=None)
        assert peer.read_frame().payload == b"go"
        peer.send_frame(TEXT, b"on", mask=None)
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        receiver = threading.Thread(target=lambda: received.append(client.recv(DEADLINE_SECONDS)))
        receiver.start()
        client.wait_pong(client.ping(), DEADLINE_SECONDS)
        client.send("go")
        receiver.join(DEADLINE_SECONDS)
        assert (received or [client.recv(0)]) == ["on"]


def test_pong_answers_the_pings_before_it():
    def script(peer: Peer) -> None:
        peer.answer()
        assert [peer.read_frame().payload for _ in range(2)] == [b"1", b"2"]
        peer.send_frame(PONG, b"2", mask=None)
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        first, second = client.ping("1"), client.ping("2")
        client.wait_pong(first, DEADLINE_SECONDS)
        assert second.round_trip is not None


def test_pong_that_does_not_come_is_a_timeout():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.read_frame().opcode == PING
        peer.read_frame()

    with (
        serving(script) as url,
        connect(url, close_timeout=0.1) as client,
        pytest.raises(TimeoutError, match="no pong came"),
    ):
        client.wait_pong(client.ping(), 0.05)


def test_wrong_arguments_are_told():
    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_frame()

    with serving(script) as url, connect(url, close_timeout=0.1) as client:
        with pytest.raises(TypeError, match="not int"):
            client.send(1)  # type: ignore[arg-type]
        with pytest.raises(UnicodeEncodeError):
            client.send("\ud800")
        with pytest.raises(ValueError, match="126 bytes"):
            client.ping(bytes(126))
        with pytest.raises(ValueError, match="1006"):
            client.close(1006)
        with pytest.raises(TypeError, match=r"\['ab'\]"):
            connect(url, subprotocols="ab")


def test_one_thread_sends_while_another_receives(websockets_url: str):
    count = 300
    with connect(websockets_url) as client:
        sender = threading.Thread(target=lambda: [client.send(str(i)) for i in range(count)])
        sender.start()
        assert [client.recv(DEADLINE_SECONDS) for _ in range(count)] == [
            str(i) for i in range(count)
        ]
        sender.join(DEADLINE_SECONDS)


INTERRUPTED = """\
import sys, fastwsh
client = fastwsh.connect(sys.argv[1], close_timeout=0.1)
try:
    print("ready", flush=True)
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("call", ["client.recv()", "client.send(bytes(100_000_000))"])
def test_interrupt_ends_a_call_that_waits(call: str):
    released = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert released.wait(DEADLINE_SECONDS)

    with serving(script) as url:
        assert_is_interrupted(INTERRUPTED.format(call=call), url)
        released.set()


def test_interrupt_ends_connecting():
    code = "import sys, fastwsh\nprint('ready', flush=True)\nfastwsh.connect(sys.argv[1])"

    def script(peer: Peer) -> None:
        peer.read_request()
        process.send_signal(signal.SIGINT)
        assert peer.read_to_end() == b""

    with serving(script) as url:
        process = subprocess.Popen(
            [sys.executable, "-c", code, url], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        _, error = process.communicate(timeout=DEADLINE_SECONDS)
    assert b"KeyboardInterrupt" in error


def test_unix_socket(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path):
    write_handler("echo", ECHO)
    path = tmp_path / "s.sock"
    start_server("-w", "handlers", listen=("--uds", str(path)))
    with connect(f"ws+unix://{path}:/echo") as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "hello"
        assert client.remote_address == ()


def test_import_alone_is_cheap():
    code = "import sys, fastwsh; print([m for m in sys.modules if 'client' in m or m == 'asyncio'])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_public_names_exist():
    assert all(hasattr(fastwsh, name) for name in fastwsh.__all__)
    with pytest.raises(AttributeError, match=re.escape("no attribute 'nothing'")):
        _ = fastwsh.nothing


HANDLER = """\
import fastwsh

web_socket_concurrency = {concurrency!r}

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    url = request.ws_stream.receive_message()
    with fastwsh.connect(url) as client:
        for timeout in (None, 10):
            client.send(request.ws_stream.receive_message())
            request.ws_stream.send_message(client.recv(timeout))
        try:
            client.recv(0.01)
        except TimeoutError as error:
            request.ws_stream.send_message(str(error))
"""


@pytest.mark.parametrize("place", ["threads", "hub"])
def test_handlers_may_be_clients(
    start_server: StartServer, write_handler: WriteHandler, websockets_url: str, place: str
):
    write_handler("relay", HANDLER.format(concurrency=place))
    server = start_server("-w", "handlers")
    with connect(server.url("/relay")) as client:
        for message in (websockets_url, "one", "two"):
            client.send(message)
        received = [client.recv(DEADLINE_SECONDS) for _ in range(3)]
    assert received == ["one", "two", "no message came within 0.01 s"]


def test_each_frame_has_a_masking_key_of_its_own() -> None:
    """RFC 6455 5.3: one that cannot be guessed, so none comes again."""
    count = 300
    keys: list[bytes] = []

    def peer(peer: Peer) -> None:
        peer.answer()
        # opcode and length, key, four masked bytes
        keys.extend(peer.read(10)[2:6] for _ in range(count))

    for _ in range(2):
        with serving(peer) as url, connect(url) as connection:
            for _ in range(count):
                connection.send("text")
    # two of so few random keys are the same once in some 20,000 runs, and three pairs never
    assert len(set(keys)) >= len(keys) - 2
    assert bytes(4) not in keys
