"""Receiving: hooks, raw reads, single frames (pywebsocket's contract)."""

import pytest

from conftest import CONTRACT_WAYS, Server
from contract_support import PATH, close_code, extra_handshake, opened, serve, texts
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame, encode_frame

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS

HELLO = encode_frame(TEXT, b"Hello")


def answers(server: Server, data: bytes) -> list[str]:
    """Send these bytes; return the texts that come before the server's close."""
    with opened(server) as client:
        client.send(data)
        return texts(client)


class TestMessages:
    def test_text_is_str_and_binary_is_bytes(self, serve) -> None:
        server = serve(
            "for _ in range(2):\n"
            "    message = request.ws_stream.receive_message()\n"
            "    opcode = request.ws_stream.get_last_received_opcode()\n"
            "    request.ws_stream.send_message('%r %d' % (message, opcode))"
        )
        data = encode_frame(TEXT, "ä".encode()) + encode_frame(BINARY, b"\xff")
        assert answers(server, data) == ["'ä' 1", r"b'\xff' 2"]

    def test_control_frames_may_stand_between_fragments(self, serve) -> None:
        server = serve("request.ws_stream.send_message(request.ws_stream.receive_message())")
        with opened(server) as client:
            client.send_frame(TEXT, b"frag", fin=False)
            client.send_frame(PING, b"now")
            client.send_frame(PONG, b"unasked")
            client.send_frame(CONTINUATION, b"ment")
            assert client.read_frame() == Frame(PONG, b"now")
            assert client.read_frame() == Frame(TEXT, b"fragment")

    @pytest.mark.blocks
    def test_pings_are_answered_only_while_receiving(self, serve) -> None:
        server = serve(
            "request.connection.read(6 + 4)\n"
            "request.ws_stream.send_message('first')\n"
            "request.ws_stream.receive_message()"
        )
        with opened(server) as client:
            client.send_frame(PING, b"lost")
            client.send_frame(PING, b"seen")
            assert client.read_frame() == Frame(TEXT, b"first")
            assert client.read_frame() == Frame(PONG, b"seen")

    def test_a_length_in_too_many_octets_is_a_warning(self, serve) -> None:
        server = serve("request.ws_stream.send_message(request.ws_stream.receive_message())")
        assert answers(server, encode_frame(TEXT, b"Hello", length_octets=8)) == ["Hello"]
        server.log.wait_for("WARNING.*Payload length is not encoded using the minimal number")

    @pytest.mark.parametrize(
        ("data", "exception", "code"),
        [
            (b"\x81\x05Hello", "InvalidFrameException", 1002),
            (encode_frame(CONTINUATION, b"x"), "InvalidFrameException", 1002),
            (encode_frame(TEXT, b"\xff"), "InvalidUTF8Exception", 1007),
            (encode_frame(0x3, b"x"), "UnsupportedFrameException", 1002),
            (encode_frame(TEXT, b"x", rsv=2), "UnsupportedFrameException", 1002),
        ],
    )
    def test_broken_rules_are_exceptions(
        self, serve, data: bytes, exception: str, code: int
    ) -> None:
        server = serve(
            "try:\n"
            "    request.ws_stream.receive_message()\n"
            "except Exception as error:\n"
            "    request.ws_stream.send_message(type(error).__name__)\n"
            "    raise"
        )
        with opened(server) as client:
            client.send(data)
            assert client.read_frame() == Frame(TEXT, exception.encode())
            assert close_code(client) == code

    def test_a_handler_may_go_on_behind_a_broken_message(self, serve) -> None:
        server = serve(
            "try:\n"
            "    request.ws_stream.receive_message()\n"
            "except UnicodeDecodeError:\n    pass\n"
            "except Exception as error:\n"
            "    request.ws_stream.send_message(type(error).__name__)\n"
            "request.ws_stream.send_message(request.ws_stream.receive_message())"
        )
        data = encode_frame(TEXT, b"a\xffb") + HELLO
        assert answers(server, data)[-1] == "Hello"


class TestHooks:
    @pytest.mark.blocks
    def test_the_ping_hook_replaces_the_pong(self, serve) -> None:
        server = serve(
            "def ping(of, body):\n"
            "    assert of is request\n"
            "    request.ws_stream.send_message('ping %r' % body)\n"
            "request.on_ping_handler = ping\n"
            "request.ws_stream.send_message(request.ws_stream.receive_message())"
        )
        data = encode_frame(PING, b"body") + encode_frame(PING) + HELLO
        assert answers(server, data) == ["ping b'body'", "ping b''", "Hello"]

    @pytest.mark.blocks
    def test_the_pong_hook_sees_pongs(self, serve) -> None:
        server = serve(
            "request.on_pong_handler = lambda of, body: of.ws_stream.send_message(repr(body))\n"
            "request.ws_stream.send_message(request.ws_stream.receive_message())"
        )
        assert answers(server, encode_frame(PONG, b"p") + HELLO) == ["b'p'", "Hello"]

    def test_a_hook_that_is_none_is_none(self, serve) -> None:
        server = serve("request.on_ping_handler = None\nrequest.ws_stream.receive_message()")
        with opened(server) as client:
            client.send_frame(PING, b"x")
            assert client.read_frame() == Frame(PONG, b"x")


class TestRawReads:
    @pytest.mark.blocks
    def test_receive_bytes_of_a_length_below_one_is_empty(self, serve) -> None:
        server = serve(
            "for length in -1, 0, -(1 << 70):\n"
            "    request.ws_stream.send_message(repr(request.ws_stream.receive_bytes(length)))"
        )
        assert answers(server, b"") == ["b''"] * 3

    @pytest.mark.blocks
    def test_share_one_buffer_with_the_frame_reader(self, serve) -> None:
        server = serve(
            "send = request.ws_stream.send_message\n"
            "send(request.ws_stream.receive_message())\n"
            "send(repr(request.connection.read(3)))\n"
            "send(repr(request.ws_stream.receive_bytes(4)))\n"
            "send(request.ws_stream.receive_message())"
        )
        assert answers(server, HELLO + b"rawbyte" + HELLO) == [
            *["Hello", "b'raw'", "b'byte'", "Hello"]
        ]

    @pytest.mark.blocks
    @pytest.mark.parametrize("source", ["connection", "_request_handler.rfile"])
    @pytest.mark.http1("no bytes before the answer")
    def test_read_returns_what_there_is(self, serve, source: str) -> None:
        server = serve(
            extra_handshake(
                f"source = request.{source}\n"
                "while data := source.read(4096):\n"
                "    request.connection.write(b'%d;' % len(data))\n"
                "request.connection.write(b'end')\n"
                "raise handshake.AbortedByUserException('enough')"
            )
        )
        with server.connect() as client:
            client.send_request(PATH)
            # the answer to one piece asks for the next
            for size, told in [(3, b"3;"), (5, b"5;"), (5000, b"4096;904;")]:
                client.send(b"x" * size)
                assert client.read(len(told)) == told
            client.socket.shutdown(1)
            assert client.read_to_end() == b"end"

    @pytest.mark.blocks
    def test_read_of_nothing_waits_for_nothing(self, serve) -> None:
        server = serve("print(request.connection.read(0), flush=True)")
        with opened(server):
            server.out.wait_for("^b''$")

    @pytest.mark.blocks
    def test_read_without_a_number_waits_for_the_end(self, serve) -> None:
        server = serve("print(len(request.connection.read(-1)), flush=True)")
        with opened(server) as client:
            for _ in range(3):
                client.send(b"x" * 100_000)
            client.socket.shutdown(1)
            server.out.wait_for("^300000$")

    @pytest.mark.blocks
    def test_read_returns_what_there_is_at_the_end(self, serve) -> None:
        server = serve("print(request.connection.read(100), flush=True)")
        with opened(server) as client:
            client.send(b"short")
            client.socket.shutdown(1)
            server.out.wait_for("^b'short'$")

    @pytest.mark.blocks
    def test_receive_bytes_sees_a_masked_close_and_terminates_nothing(self, serve) -> None:
        server = serve(
            "data = request.ws_stream.receive_bytes(6)\n"
            "print(data[:2], request.client_terminated, flush=True)"
        )
        with opened(server) as client:
            client.send_close(None)
            server.out.wait_for(r"^b'\\x88\\x80' False$")


class TestSingleFrames:
    @pytest.mark.blocks
    def test_receive_frame_neither_answers_nor_assembles(self, serve) -> None:
        server = serve(
            "for _ in range(4):\n"
            "    request.ws_stream.send_message(repr(request.ws_stream._receive_frame()))"
        )
        data = encode_frame(TEXT, b"a", fin=False) + encode_frame(PING, b"p", rsv=5)
        assert answers(server, data + encode_frame(0xB) + encode_frame(CLOSE, b"\3\xe8")) == [
            "(1, b'a', 0, 0, 0, 0)",
            "(9, b'p', 1, 1, 0, 1)",
            "(11, b'', 1, 0, 0, 0)",
            r"(8, b'\x03\xe8', 1, 0, 0, 0)",
        ]

    @pytest.mark.blocks
    def test_frame_objects_make_messages_and_closes(self, serve) -> None:
        server = serve(
            "s = request.ws_stream\n"
            "out = []\n"
            "for _ in range(2):\n"
            "    frame = s._receive_frame_as_frame_object()\n"
            "    for item in s._options.incoming_frame_filters: item.filter(frame)\n"
            "    message = s._get_message_from_frame(frame)\n"
            "    out.append((frame.opcode, frame.fin, frame.rsv1, message))\n"
            "s.send_message(repr((out, s._original_opcode)))\n"
            "frame = s._receive_frame_as_frame_object()\n"
            "s._process_close_message(s._get_message_from_frame(frame))\n"
            "print(request.ws_close_code, request.ws_close_reason, request.client_terminated,"
            " flush=True)"
        )
        with opened(server) as client:
            client.send_frame(TEXT, b"a", fin=False)
            client.send_frame(CONTINUATION, b"b")
            text = "([(1, 0, 0, None), (0, 1, 0, b'ab')], 1)"
            assert client.read_frame() == Frame(TEXT, text.encode())
            client.send_close(3005, "enough")
            server.out.wait_for("^3005 enough True$")
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe8")

    @pytest.mark.blocks
    def test_pieces_of_a_frame_reach_later_calls(self, serve) -> None:
        server = serve(
            "header = request.ws_stream.receive_bytes(2)\n"
            "request.ws_stream.send_message(repr(header))\n"
            "request.ws_stream.receive_bytes(4 + 5)\n"
            "request.ws_stream.send_message(request.ws_stream.receive_message())"
        )
        with opened(server) as client:
            for byte in HELLO + HELLO:
                client.send(bytes([byte]))
            assert texts(client) == [r"b'\x81\x85'", "Hello"]


class TestThreads:
    @pytest.mark.blocks
    def test_message_receiver_and_sender(self, serve) -> None:
        server = serve(
            extra_handshake(
                "pass",
                "sender = msgutil.MessageSender(request)\n"
                "receiver = msgutil.MessageReceiver(request)\n"
                "for _ in range(3):\n"
                "    sender.send(receiver.receive())\n"
                "receiver.join()",
            )
        )
        with opened(server) as client:
            for text in (b"a", b"b", b"c"):
                client.send_frame(TEXT, text)
                assert client.read_frame() == Frame(TEXT, text)
            client.send_close()
            assert close_code(client) == 1000

    def test_an_unknown_path_does_not_disturb(self, serve) -> None:
        server = serve("request.ws_stream.send_message(request.ws_stream.receive_message())")
        with opened(server) as client, Client(server.port) as lost:
            lost.send_request(f"{PATH}/none")
            assert lost.read_response().status == 404
            client.send(HELLO)
            assert texts(client) == ["Hello"]
