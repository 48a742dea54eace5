"""Sends: call order, blocking, errors in the call, from any thread (pywebsocket's contract)."""

import struct
import threading
import time
from contextlib import ExitStack

import pytest

from conftest import CONTRACT_WAYS
from contract_support import PATH, extra_handshake, opened, serve, texts
from wire import BINARY, CLOSE, CONTINUATION, DEADLINE_SECONDS, PING, PONG, TEXT, Client, Frame

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS

MIB = 1 << 20

# For handlers that block on something the test decides about: `h?go` lets them go.
GATE = "import threading\nGO = threading.Event()\nimport sys"
OPEN_GATE = "if request.ws_resource.endswith('?go'):\n    GO.set()\n    return\n"


def gated(lines: str) -> str:
    """A handler whose lines may wait for `GO`, which a connection to `h?go` sets."""
    return extra_handshake("pass", OPEN_GATE + lines).replace("import sys", GATE)


class TestOrder:
    @pytest.mark.blocks
    def test_raw_writes_and_messages_leave_in_call_order(self, serve) -> None:
        server = serve(
            "for number in range(300):\n"
            "    request.connection.write(b'\\x81\\x01a')\n"
            "    request.ws_stream.send_message('b' * (number * 40))\n"
            "    request.ws_stream._write(b'\\x89\\x01')\n"
            "    request.connection.write(b'c')\n"
            "    request.ws_stream._send_pong(b'd')"
        )
        with opened(server) as client:
            for number in range(300):
                assert client.read_frame() == Frame(TEXT, b"a")
                assert client.read_frame() == Frame(TEXT, b"b" * (number * 40))
                assert client.read_frame() == Frame(PING, b"c")
                assert client.read_frame() == Frame(PONG, b"d")

    def test_order_is_kept_for_a_pipelining_client(self, serve) -> None:
        server = serve(
            "while (text := request.ws_stream.receive_message()) is not None:\n"
            "    request.ws_stream.send_message(text)\n"
            "    request.connection.write(b'\\x89\\x00')\n"
            "    request.ws_stream.send_message(text.encode(), binary=True)"
        )
        with opened(server) as client:
            client.socket.sendall(b"".join(encode_text(number) for number in range(200)))
            for number in range(200):
                text = str(number).encode()
                frames = [client.read_frame() for _ in range(3)]
                assert frames == [Frame(TEXT, text), Frame(PING, b""), Frame(BINARY, text)]

    def test_nothing_validates_raw_frames(self, serve) -> None:
        raw = b"\xf3\x01x" + b"\x81\x01\xff" + b"\x09\x00" + b"\x81\xfe\x00\x01mask\x0c"
        server = serve(f"request.connection.write({raw!r})")
        with opened(server) as client:
            assert client.read(len(raw)) == raw

    def test_pieces_of_a_message_are_fragments(self, serve) -> None:
        server = serve(
            "request.ws_stream.send_message('a', end=False)\n"
            "request.ws_stream.send_ping(b'between')\n"
            "request.ws_stream.send_message('b', False)\n"
            "request.ws_stream.send_message('c')\n"
            "request.ws_stream.send_message(b'd', end=True, binary=True)"
        )
        with opened(server) as client:
            assert [client.read_frame() for _ in range(5)] == [
                Frame(TEXT, b"a", fin=False),
                Frame(PING, b"between"),
                Frame(CONTINUATION, b"b", fin=False),
                Frame(CONTINUATION, b"c"),
                Frame(BINARY, b"d"),
            ]


class TestTypes:
    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("request.ws_stream.send_message(b'bytes')", "AttributeError"),
            ("request.ws_stream.send_message('text', binary=True)", "BadOperationException"),
            ("request.connection.write('text')", "TypeError"),
            ("request.ws_stream.send_ping('x' * 126)", "BadOperationException"),
        ],
    )
    @pytest.mark.blocks
    def test_a_wrong_one_raises_in_the_call(self, serve, statement: str, error: str) -> None:
        server = serve(
            f"try:\n    {statement}\nexcept Exception as error:\n"
            "    request.ws_stream.send_message(type(error).__name__)"
        )
        with opened(server) as client:
            assert texts(client) == [error]


class TestBackpressure:
    def test_send_blocks_until_the_client_reads(self, serve) -> None:
        server = serve(
            "for number in range(16):\n"
            "    request.ws_stream.send_message(bytes([number]) * (1 << 20), binary=True)\n"
            "    print('sent', number, flush=True)"
        )
        with opened(server) as client:
            # The kernel's buffers take less than 16 MiB: the handler is in the middle of a send.
            wait_until_full(client)
            assert not [line for line in server.out.lines if line == "sent 15"]
            for number in range(16):
                assert client.read_frame() == Frame(BINARY, bytes([number]) * MIB)
        server.out.wait_for("sent 15")

    @pytest.mark.blocks
    def test_the_server_does_not_read_ahead_while_the_handler_does_not(self, serve) -> None:
        server = serve(
            gated("GO.wait()\nprint(len(request.ws_stream.receive_message()), flush=True)")
        )
        size = 32 * MIB
        with opened(server) as client:
            head = b"\x82\xff" + struct.pack("!Q", size) + b"\0\0\0\0"
            sent = send_until_stalled(client, head + bytes(size))
            # Both kernel buffers, and what fastwsh reads ahead.
            assert sent < size // 2
            with opened(server, f"{PATH}?go"):
                client.send((head + bytes(size))[sent:])
                server.out.wait_for(f"^{size}$")

    def test_writes_fail_in_the_call_when_the_peer_is_gone(self, serve) -> None:
        server = serve(
            "count = 0\n"
            "try:\n"
            "    while True:\n"
            "        request.ws_stream.send_message('x' * 1000)\n"
            "        count += 1\n"
            "finally:\n"
            "    print('failed after', count, flush=True)"
        )
        with opened(server) as client:
            assert client.read_frame() == Frame(TEXT, b"x" * 1000)
            client.reset()
        server.out.wait_for(r"failed after \d+")


class TestAcrossConnections:
    @pytest.mark.blocks
    def test_sends_on_a_stream_whose_handler_is_receiving(self, serve) -> None:
        server = serve(
            extra_handshake(
                "pass",
                "ALL.append(request)\n"
                "request.ws_stream.send_message('welcome')\n"
                "while (text := request.ws_stream.receive_message()) is not None:\n"
                "    for other in ALL:\n"
                "        msgutil.send_message(other, text)",
            ).replace("import sys", "ALL = []\nimport sys")
        )
        with ExitStack() as stack:
            clients = [stack.enter_context(opened(server)) for _ in range(10)]
            for client in clients:
                assert client.read_frame() == Frame(TEXT, b"welcome")
            clients[3].send_frame(TEXT, b"to all")
            for client in clients:
                assert client.read_frame() == Frame(TEXT, b"to all")

    @pytest.mark.blocks
    def test_frames_of_many_threads_do_not_mix(self, serve) -> None:
        server = serve(
            "import threading\n"
            "def send(letter):\n"
            "    for _ in range(100):\n"
            "        request.ws_stream.send_message(letter * 9999)\n"
            "threads = [threading.Thread(target=send, args=(letter,)) for letter in 'abcd']\n"
            "for thread in threads: thread.start()\n"
            "for thread in threads: thread.join()"
        )
        with opened(server) as client:
            received = texts(client)
        assert sorted(received) == [letter * 9999 for letter in "abcd" for _ in range(100)]

    @pytest.mark.blocks
    def test_a_second_thread_receives_while_the_first_sends(self, serve) -> None:
        server = serve(
            "import threading\n"
            "started = threading.Event()\n"
            "def receive():\n"
            "    while request.ws_stream.receive_message() is not None:\n"
            "        started.set()\n"
            "threading.Thread(target=receive, daemon=True).start()\n"
            "started.wait()\n"
            "for number in range(50):\n"
            "    request.ws_stream.send_message(str(number))"
        )
        with opened(server) as client:
            client.send_frame(TEXT, b"start")
            for number in range(50):
                assert client.read_frame() == Frame(TEXT, str(number).encode())
            # The handler has returned: the close is implicit.
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe8")


class TestHeldBack:
    """Replies may be held back while a further message is buffered; none may be lost."""

    RECEIVE_AND_ANSWER = (
        "for _ in range(50):\n"
        "    request.ws_stream.send_message(request.ws_stream.receive_message())\n"
    )

    @pytest.mark.parametrize(
        "then",
        [
            "GO.wait()",
            "raise ValueError('after answering')",
            "raise handshake.AbortedByUserException('after answering')",
            "return",
            "sys.exit()",
            "request.ws_stream.close_connection(3000)",
            "request.connection.read(1 << 30)",
        ],
    )
    def test_replies_arrive_whatever_the_handler_does_next(self, serve, then: str) -> None:
        server = serve(gated(self.RECEIVE_AND_ANSWER + then))
        with opened(server) as client:
            # More than it takes: there is always a further message.
            client.socket.sendall(b"".join(encode_text(number) for number in range(60)))
            for number in range(50):
                assert client.read_frame() == Frame(TEXT, str(number).encode())


def encode_text(number: int) -> bytes:
    text = str(number).encode()
    return bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text


def wait_until_full(client: Client) -> None:
    """Wait until the bytes that the kernel holds for us no longer grow."""
    import array
    import fcntl
    import termios

    def pending() -> int:
        held = array.array("i", [0])
        fcntl.ioctl(client.socket, termios.FIONREAD, held)
        return held[0]

    deadline = time.monotonic() + DEADLINE_SECONDS
    before = -1
    while (held := pending()) == 0 or held != before:
        assert time.monotonic() < deadline, f"{held} bytes and more"
        before = held
        threading.Event().wait(0.1)


def send_until_stalled(client: Client, data: bytes) -> int:
    """Send until the server takes no more; return how many bytes it took."""
    client.socket.settimeout(1.0)
    sent = 0
    try:
        while sent < len(data):
            sent += client.socket.send(data[sent : sent + 65536])
    except TimeoutError:
        pass
    client.socket.settimeout(DEADLINE_SECONDS)
    return sent
