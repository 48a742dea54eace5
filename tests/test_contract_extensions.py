"""Extension processors that a handler sets up, changes, replaces or writes (the contract)."""

import zlib

import pytest

from conftest import CONTRACT_WAYS
from contract_support import PATH, extra_handshake, opened, serve
from wire import BINARY, CONTINUATION, TEXT, Client, Frame

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS

EXTENSIONS = "Sec-WebSocket-Extensions"
RSV1 = 4

# "Hello" as RFC 7692 7.2.3 shows it: compressed, from the window, with a final block.
HELLO = bytes.fromhex("f248cdc9c90700")
HELLO_AGAIN = bytes.fromhex("f200110000")
HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")

ECHO = (
    "while (text := request.ws_stream.receive_message()) is not None:\n"
    "    request.ws_stream.send_message(text)"
)
FIND = "[deflate] = request.ws_extension_processors\n"


def offer(value: str = "permessage-deflate") -> list[tuple[str, str]]:
    return [(EXTENSIONS, value)]


def answer(client: Client, value: str = "permessage-deflate") -> str | None:
    """Open the connection; return the extensions that were agreed on."""
    return client.handshake(PATH, offer(value)).header(EXTENSIONS)


def compressed(payload: bytes, *, fin: bool = True) -> Frame:
    return Frame(TEXT, payload, fin=fin, rsv=RSV1)


def inflate(*payloads: bytes, window_bits: int = 15) -> list[bytes]:
    """Inflate messages that share a window."""
    inflater = zlib.decompressobj(-window_bits)
    return [inflater.decompress(payload + b"\0\0\xff\xff") for payload in payloads]


class TestNegotiation:
    @pytest.mark.parametrize(
        ("offered", "agreed"),
        [
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            (
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
                "permessage-deflate; server_max_window_bits=10; server_no_context_takeover",
            ),
            ("x-unknown; a=b, permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; unknown", None),
            ("x-unknown", None),
        ],
    )
    def test_answers_no_more_than_asked(self, serve, offered: str, agreed: str | None) -> None:
        server = serve(ECHO)
        with server.connect() as client:
            assert answer(client, offered) == agreed

    @pytest.mark.parametrize(
        ("lines", "agreed"),
        [
            ("request.ws_extension_processors = []", None),
            ("request.ws_extension_processors[:] = []", None),
            ("request.ws_extension_processors = [None]", None),
            ("request.ws_extension_processors.insert(0, None)", "permessage-deflate"),
            (f"{FIND}request.ws_extension_processors = [deflate]", "permessage-deflate"),
            (
                f"{FIND}deflate.set_client_no_context_takeover(True)",
                "permessage-deflate; client_no_context_takeover",
            ),
            (
                f"{FIND}deflate.set_client_max_window_bits(10)",
                "permessage-deflate; client_max_window_bits=10",
            ),
        ],
    )
    def test_the_extra_handshake_decides(self, serve, lines: str, agreed: str | None) -> None:
        server = serve(extra_handshake(lines, ECHO))
        with server.connect() as client:
            assert answer(client, "permessage-deflate; client_max_window_bits") == agreed
            client.send_frame(TEXT, b"Hello")
            assert client.read_frame() == (compressed(HELLO) if agreed else Frame(TEXT, b"Hello"))

    def test_the_processor_is_known_by_name_and_class(self, serve) -> None:
        server = serve(
            extra_handshake(
                f"{FIND}assert deflate.name() == 'deflate'\n"
                "import mod_pywebsocket.extensions as old\n"
                "assert isinstance(deflate, old.PerMessageDeflateExtensionProcessor)\n"
                "assert isinstance(deflate, extensions.ExtensionProcessorInterface)"
            )
        )
        with server.connect() as client:
            assert answer(client) == "permessage-deflate"

    def test_agreed_extensions_are_seen_by_the_handler(self, serve) -> None:
        server = serve(
            "[agreed] = request.ws_extensions\nrequest.ws_stream.send_message(agreed.name())"
        )
        with server.connect() as client:
            answer(client)
            assert inflate(client.read_frame().payload) == [b"permessage-deflate"]


class TestLive:
    """Toggles that are used in `transfer_data` act on the stream."""

    def conversation(self, serve, lines: str, offered: str = "permessage-deflate") -> list[Frame]:
        """Let the handler send; return its frames."""
        setup = "request.deflate = request.ws_extension_processors[0]"
        handler = extra_handshake(setup, f"send = request.ws_stream.send_message\n{lines}")
        server = serve(handler, "--deflate-level", "6")
        frames = []
        with server.connect() as client:
            answer(client, offered)
            while (frame := client.read_frame()).opcode in {TEXT, BINARY, CONTINUATION}:
                frames.append(frame)
        return frames

    @pytest.mark.blocks
    def test_compression_off_and_on_again(self, serve) -> None:
        lines = (
            "send('Hello')\nrequest.deflate.disable_outgoing_compression()\nsend('Hello')\n"
            "request.deflate.enable_outgoing_compression()\nsend('Hello')"
        )
        expected = [compressed(HELLO), Frame(TEXT, b"Hello"), compressed(HELLO_AGAIN)]
        assert self.conversation(serve, lines) == expected

    def test_short_messages_are_sent_as_they_are_if_the_operator_wants(self, serve) -> None:
        server = serve(
            extra_handshake(
                "pass", "for n in (9, 10):\n    request.ws_stream.send_message('x' * n)"
            ),
            "--deflate-min-bytes",
            "10",
        )
        with server.connect() as client:
            answer(client)
            assert client.read_frame() == Frame(TEXT, b"x" * 9)
            frame = client.read_frame()
            assert (frame.rsv, inflate(frame.payload)) == (4, [b"x" * 10])

    @pytest.mark.parametrize("level", ["0", "1", "9"])
    def test_every_level_is_understood(self, serve, level: str) -> None:
        text = "compress this, compress that, compress all of it"
        send = f"request.ws_stream.send_message({text!r})"
        server = serve(extra_handshake("pass", send), "--deflate-level", level)
        with server.connect() as client:
            answer(client)
            payload = client.read_frame().payload
            assert inflate(payload) == [text.encode()]
            assert (len(payload) < len(text)) is (level != "0")

    @pytest.mark.blocks
    def test_bfinal_ends_every_message(self, serve) -> None:
        lines = "request.deflate.set_bfinal(True)\nsend('Hello')\nsend('Hello')"
        assert self.conversation(serve, lines) == [compressed(HELLO_FINAL)] * 2

    @pytest.mark.blocks
    def test_no_context_takeover_forgets_the_window(self, serve) -> None:
        lines = "send('Hello')\nsend('Hello')"
        offered = "permessage-deflate; server_no_context_takeover"
        assert self.conversation(serve, lines, offered) == [compressed(HELLO)] * 2

    @pytest.mark.blocks
    def test_fragments_have_rsv1_on_the_first(self, serve) -> None:
        lines = "send('He', end=False)\nsend('llo', end=True)"
        first, last = self.conversation(serve, lines)
        assert (first.opcode, first.fin, first.rsv) == (TEXT, False, RSV1)
        assert (last.opcode, last.fin, last.rsv) == (CONTINUATION, True, 0)
        assert inflate(first.payload + last.payload) == [b"Hello"]

    @pytest.mark.blocks
    def test_a_small_window_is_kept_to(self, serve) -> None:
        text = "".join(f"{number:x}" for number in range(2000))
        lines = f"text = {text!r}\nsend(text)\nsend(text)"
        frames = self.conversation(serve, lines, "permessage-deflate; server_max_window_bits=9")
        payloads = [frame.payload for frame in frames]
        assert inflate(*payloads, window_bits=9) == [text.encode()] * 2

    @pytest.mark.blocks
    def test_raw_writes_are_not_compressed(self, serve) -> None:
        lines = "request.connection.write(b'\\x81\\x01a')\nsend('Hello')"
        assert self.conversation(serve, lines) == [Frame(TEXT, b"a"), compressed(HELLO)]


class TestReceiving:
    def test_what_is_compressed_and_what_is_not(self, serve) -> None:
        server = serve(extra_handshake("pass", f"NOTHING = 0\n{ECHO}"))
        with server.connect() as client:
            answer(client)
            client.send_frame(TEXT, HELLO, rsv=RSV1)
            client.send_frame(TEXT, b"Hello")
            client.send_frame(TEXT, b"", rsv=RSV1)
            client.send_frame(TEXT, HELLO_AGAIN, rsv=RSV1)
            payloads = [client.read_frame().payload for _ in range(4)]
        assert inflate(*payloads) == [b"Hello", b"Hello", b"", b"Hello"]

    @pytest.mark.blocks
    def test_frames_are_raw_to_receive_frame(self, serve) -> None:
        server = serve("print(request.ws_stream._receive_frame(), flush=True)")
        with server.connect() as client:
            answer(client)
            client.send_frame(TEXT, HELLO, rsv=RSV1)
            server.out.wait_for(r"^\(1, b'\\xf2H\\xcd\\xc9\\xc9\\x07\\x00', 1, 1, 0, 0\)$")


# Reverses messages, counts frames, and marks outgoing frames with RSV3.
FILTERS = """\
class Reverse:
    def filter(self, message, end=True, binary=False):
        return message[::-1]

class Mark:
    def filter(self, frame):
        frame.rsv3 = 1

class Count:
    def __init__(self):
        self.opcodes = []

    def filter(self, frame):
        self.opcodes.append(frame.opcode)
        frame.rsv3 = 0

class Processor(extensions.ExtensionProcessorInterface):
    def __init__(self):
        super().__init__(common.ExtensionParameter('x-mirror'))

    def name(self):
        return 'x-mirror'

    def _get_extension_response_internal(self):
        return common.ExtensionParameter('x-mirror')

    def _setup_stream_options_internal(self, stream_options):
        self.count = Count()
        stream_options.outgoing_message_filters.append(Reverse())
        stream_options.outgoing_frame_filters.append(Mark())
        stream_options.incoming_frame_filters.append(self.count)
        stream_options.incoming_message_filters.append(Reverse())

def web_socket_do_extra_handshake"""


class TestProcessorsOfAHandler:
    def handler(self, transfer: str) -> str:
        return extra_handshake(
            "request.mirror = Processor()\nrequest.ws_extension_processors = [request.mirror]",
            transfer,
        ).replace("def web_socket_do_extra_handshake", FILTERS)

    def test_filter_messages_and_frames_both_ways(self, serve) -> None:
        server = serve(
            self.handler(
                "text = request.ws_stream.receive_message()\n"
                "request.ws_stream.send_message('<%s>%r' % (text, request.mirror.count.opcodes))"
            )
        )
        with server.connect() as client:
            assert answer(client, "x-mirror") == "x-mirror"
            client.send_frame(TEXT, b"ab", fin=False, rsv=1)
            client.send_frame(CONTINUATION, b"cd", rsv=1)
            assert client.read_frame() == Frame(TEXT, "<dcba>[1, 0]"[::-1].encode(), rsv=1)

    def test_are_called_once_per_message(self, serve) -> None:
        server = serve(self.handler(ECHO))
        with server.connect() as client:
            answer(client, "x-mirror")
            for text in (b"one", b"two", b"x" * 70_000):
                client.send_frame(TEXT, text)
                assert client.read_frame() == Frame(TEXT, text, rsv=1)

    def test_an_inactive_processor_is_left_out(self, serve) -> None:
        body = self.handler(ECHO).replace(
            "return common.ExtensionParameter('x-mirror')", "return None"
        )
        server = serve(body)
        with opened(server, PATH, offer("x-mirror")) as client:
            client.send_frame(TEXT, b"ab")
            assert client.read_frame() == Frame(TEXT, b"ab")

    @pytest.mark.parametrize("is_replaced", [False, True], ids=["appended", "replaced"])
    def test_filters_that_come_between_messages_are_called(self, serve, is_replaced: bool) -> None:
        change = "{0} = [Reverse()]" if is_replaced else "{0}.append(Reverse())"
        names = ("incoming_message_filters", "outgoing_message_filters")
        lines = [
            "text = request.ws_stream.receive_message()",
            "request.ws_stream.send_message(text)",
            "stream = getattr(request.ws_stream, 'blocking', request.ws_stream)",
            *(change.format(f"stream._options.{name}") for name in names),
            "text = request.ws_stream.receive_message()",
            "request.ws_stream.send_message('<%s>' % text)",
        ]
        body = extra_handshake("pass", "\n".join(lines)).replace(
            "def web_socket_do_extra_handshake", FILTERS
        )
        server = serve(body)
        with opened(server) as client:
            for text, answered in ((b"ab", b"ab"), (b"ab", b">ab<")):
                client.send_frame(TEXT, text)
                assert client.read_frame() == Frame(TEXT, answered)
