"""Limits on what a peer may send and how long it may take: each flag, and what the peer, the
handler and the operator get to know.
"""

import re
import socket
import zlib
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import ALL_WAYS, BOTH_WAYS, Server
from contract_support import PATH, Serve, close_code, extra_handshake, opened, serve
from echo_handlers import ECHO
from fastwsh.options import parse_args_and_config
from fastwsh.settings import limits
from usage import Usage
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

__all__ = ["serve"]

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


def status_of(server: Server, request: bytes) -> int:
    with server.connect() as client:
        client.send(request)
        return client.read_response().status


class TestDefaults:
    def test_strict_compat_has_pywebsockets_limits_alone(self) -> None:
        values = limits.of(Namespace(strict_compat=True))
        assert {name for name, value in values.items() if value} == {
            "max_request_line_bytes",
            "max_header_lines",
            "ping_timeout",  # without effect alone
            "max_http2_streams",  # without effect where HTTP/2 is not asked for
            "max_http2_resets",
            "topic_queue_bytes",  # without effect on handlers of pywebsocket
            "max_http3_streams",  # likewise
            "max_http3_resets",
        }

    def test_an_embedder_that_knows_of_none_gets_the_defaults(self) -> None:
        options, _ = parse_args_and_config([])
        assert limits.of(Namespace()) == limits.of(options)
        assert options.max_message_bytes == 64 << 20

    def test_the_limit_on_messages_is_also_that_on_inflated_ones(self) -> None:
        options, _ = parse_args_and_config(["--max-message-bytes", "7"])
        assert options.max_inflated_bytes == 7
        options, _ = parse_args_and_config(
            ["--max-message-bytes", "7", "--max-inflated-bytes", "9"]
        )
        assert (options.max_message_bytes, options.max_inflated_bytes) == (7, 9)

    def test_every_limit_has_its_reason_and_its_line_in_the_docs(self) -> None:
        page = (Path(__file__).parent.parent / "docs/options.md").read_text(encoding="utf-8")
        for limit in limits.LIMITS:
            assert limit.reason
            assert f"| `{limit.option}` |" in page
        assert "| `--pong-while-busy` |" in page


class TestRequestHead:
    def test_request_line(self, serve: Serve) -> None:
        server = serve(ECHO, "--max-request-line-bytes", "40")
        assert status_of(server, b"GET /" + b"a" * 26 + b" HTTP/1.1\r\n") == 414
        assert status_of(server, b"GET /" + b"a" * 60) == 414
        assert status_of(server, b"GET /" + b"a" * 20 + b" HTTP/1.1\r\nHost: x\r\n\r\n") == 404

    def test_header_bytes_and_lines(self, serve: Serve) -> None:
        server = serve(ECHO, "--max-header-bytes", "300", "--max-header-lines", "12")
        with opened(server):
            pass
        start = b"GET / HTTP/1.1\r\nHost: x\r\n"
        assert status_of(server, start + b"A: " + b"x" * 300) == 431
        assert status_of(server, start + b"A: x\r\n" * 12 + b"\r\n") == 431
        assert status_of(server, start + b"A: x\r\n" * 10 + b"\r\n") == 200

    def test_more_headers_than_usual_reach_the_handler(self, serve: Serve) -> None:
        server = serve(
            "request.ws_stream.send_message(request.headers_in['X-149'])",
            "--max-header-lines",
            "200",
        )
        with opened(server, headers=[(f"X-{n}", str(n)) for n in range(150)]) as client:
            assert client.read_frame() == Frame(TEXT, b"149")

    @pytest.mark.parametrize("sent", [b"", b"GET /h HTTP/1.1\r\nHost: x"])
    def test_time(self, serve: Serve, sent: bytes) -> None:
        server = serve(ECHO, "--head-timeout", "0.1")
        with server.connect() as client:
            client.send(sent)
            assert client.read_to_end() == b""
        with opened(server) as client:
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")


class TestConnections:
    REFUSED = re.compile(r"\[WARNING\] .*Connection of 127.0.0.1 refused: 2 are open")

    def test_more_are_answered_503_until_one_has_gone(self, serve: Serve) -> None:
        server = serve(ECHO, "--max-connections", "2")
        with ExitStack() as stack:
            first, _ = (stack.enter_context(opened(server)) for _ in range(2))
            with server.connect() as client:
                client.send_request("/h")
                response = client.read_response()
                assert response.status_line == "HTTP/1.1 503 Too many connections"
                assert response.header("Retry-After") == "1"
            server.log.wait_for(self.REFUSED)
            first.send_close()
            assert first.read_frame().opcode == CLOSE
            assert first.read_to_end() == b""
            self.until_accepted(server)

    def test_plain_http_and_unfinished_heads_count(self, serve: Serve) -> None:
        server = serve(ECHO, "--max-connections", "2")
        with server.connect() as visitor, server.connect() as silent:
            visitor.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert visitor.read_response().status == 200
            silent.send(b"GET")
            assert status_of(server, b"GET / HTTP/1.1\r\n\r\n") == 503
        self.until_accepted(server)

    def test_each_address_has_its_own(self, serve: Serve) -> None:
        server = serve(ECHO, "--max-connections-per-address", "2")
        with opened(server), opened(server):
            assert status_of(server, b"GET / HTTP/1.1\r\n\r\n") == 503
            server.log.wait_for(self.REFUSED)
            other = socket.create_connection(
                ("127.0.0.1", server.port), 20, source_address=("127.0.0.2", 0)
            )
            with Client.over(other, server.port) as client:
                client.handshake("/h")

    def until_accepted(self, server: Server) -> None:
        """The server notices the end of a connection a moment after the client."""
        for _ in range(2000):
            with server.connect() as client:
                client.send_request("/h")
                if client.read_response().status == 101:
                    return
        pytest.fail("nobody is let in")


@BOTH_WAYS
class TestMessages:
    CATCH = """\
try:
    request.ws_stream.receive_message()
except Exception as error:
    print(type(error).__name__, error, flush=True)
    raise
"""

    @pytest.mark.parametrize(
        ("option", "frames", "words"),
        [
            ("--max-message-bytes", [Frame(BINARY, bytes(10))], "message of more than 9 bytes"),
            (
                "--max-message-bytes",
                [Frame(TEXT, b"12345", fin=False), Frame(CONTINUATION, b"67890")],
                "message of more than 9 bytes",
            ),
            ("--max-frame-bytes", [Frame(BINARY, bytes(10))], "frame of 10 bytes; the limit is 9"),
            (
                "--max-fragments",
                [Frame(TEXT, b"", fin=False)] + [Frame(CONTINUATION, b"", fin=False)] * 9,
                "message of more than 9 fragments",
            ),
        ],
    )
    def test_beyond_the_limit_closes_with_1009(
        self, serve: Serve, option: str, frames: list[Frame], words: str
    ) -> None:
        server = serve(self.CATCH, option, "9")
        with opened(server) as client:
            for frame in frames:
                client.send_frame(frame.opcode, frame.payload, fin=frame.fin)
            close = client.read_frame()
            assert close.close_code == 1009
            assert words.startswith(close.payload[2:].decode())
        server.log.wait_for(rf"\[WARNING\] .*'/h': {words}.*\({option}\)")
        raised = server.out.wait_for(r"InvalidFrameException (.*)")[1]
        assert words in raised
        assert f"({option})" in raised

    @pytest.mark.parametrize(
        ("option", "frames"),
        [
            ("--max-message-bytes", [Frame(BINARY, bytes(9))]),
            ("--max-frame-bytes", [Frame(BINARY, bytes(9), fin=False), Frame(CONTINUATION, b"x")]),
            (
                "--max-fragments",
                [Frame(BINARY, b"", fin=False)]
                + [Frame(CONTINUATION, b"x", fin=False)] * 7
                + [Frame(CONTINUATION, b"x")],
            ),
        ],
    )
    def test_up_to_the_limit_is_received(
        self, serve: Serve, option: str, frames: list[Frame]
    ) -> None:
        server = serve(ECHO, option, "9")
        with opened(server) as client:
            for _ in range(2):
                for frame in frames:
                    client.send_frame(frame.opcode, frame.payload, fin=frame.fin)
                assert client.read_frame().payload == b"".join(frame.payload for frame in frames)

    def test_a_bomb_is_not_inflated(self, serve: Serve) -> None:
        server = serve(self.CATCH, "--max-inflated-bytes", "100000")
        before = Usage.of(server).memory_kib
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        pieces = [deflater.compress(bytes(1 << 20)) for _ in range(64)]
        bomb = b"".join([*pieces, deflater.flush(zlib.Z_SYNC_FLUSH)])[:-4]
        with opened(server, headers=DEFLATE) as client:
            client.send_frame(BINARY, bomb, rsv=4)
            assert close_code(client) == 1009
        assert "(--max-inflated-bytes)" in server.out.wait_for("InvalidFrameException .*")[0]
        # the bomb itself has 64 KiB, what it becomes 64 MiB
        assert Usage.of(server).memory_kib - before < 16 * 1024

    def test_a_handlers_own_filters_do_not_lift_the_limit_on_inflating(self, serve: Serve) -> None:
        body = extra_handshake(
            "pass",
            "class Filter:\n"
            "    def filter(self, message):\n"
            "        return message\n"
            "request.ws_stream._options.incoming_message_filters.append(Filter())\n" + self.CATCH,
        )
        server = serve(body, "--max-inflated-bytes", "100000")
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = (deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        with opened(server, headers=DEFLATE) as client:
            client.send_frame(BINARY, bomb, rsv=4)
            assert close_code(client) == 1009

    def test_a_handlers_own_filters_do_not_lift_the_limit_on_messages(self, serve: Serve) -> None:
        body = extra_handshake(
            "pass",
            "class Filter:\n"
            "    def filter(self, frame):\n"
            "        pass\n"
            "request.ws_stream._options.incoming_frame_filters.append(Filter())\n" + self.CATCH,
        )
        server = serve(body, "--max-message-bytes", "9")
        with opened(server) as client:
            client.send_frame(TEXT, b"12345", fin=False)
            client.send_frame(CONTINUATION, b"67890")
            assert close_code(client) == 1009

    def test_pings_that_nobody_answers_are_not_remembered_for_ever(self, serve: Serve) -> None:
        pings = 100_000
        server = serve(
            "request.ws_stream.receive_message()\n"
            f"for _ in range({pings}):\n"
            "    request.ws_stream.send_ping('x' * 125)\n"
            "request.ws_stream.send_message('done')\n"
            "request.ws_stream.receive_message()",
            "--max-pings",
            "10",
        )
        with opened(server) as client:
            before = Usage.of(server).memory_kib
            client.send_frame(TEXT, b"go")
            for _ in range(pings):
                assert client.read_frame().opcode == PING
            assert client.read_frame() == Frame(TEXT, b"done")
            # 12 MiB of bodies
            assert Usage.of(server).memory_kib - before < 6 * 1024
            client.send_frame(PONG, b"x" * 125)
            client.send_close()
            assert close_code(client) == 1000


@BOTH_WAYS
class TestCloseTime:
    def test_a_peer_that_does_not_answer_is_cut_off(self, serve: Serve) -> None:
        lines = (
            "try:\n"
            "    request.ws_stream.close_connection()\n"
            "except Exception as error:\n"
            "    print(type(error).__name__, error, flush=True)\n"
            "    raise"
        )
        server = serve(lines, "--close-timeout", "0.1")
        with opened(server) as client:
            assert client.read_frame().opcode == CLOSE
            # data before the answer does not stop the clock, and pings are answered
            client.send_frame(PING, b"x")
            assert client.read_frame() == Frame(PONG, b"x")
            assert client.read_to_end() == b""
        server.out.wait_for(r"ConnectionTerminatedException .* sent no close frame within 0\.1 s")
        server.log.wait_for(r"127\.0\.0\.1 sent no close frame within 0\.1 s: connection closed")

    def test_nor_does_one_hold_up_a_handler_that_has_returned(self, serve: Serve) -> None:
        server = serve("pass", "--close-timeout", "0.1")
        with opened(server) as client:
            assert client.read_frame().opcode == CLOSE
            assert client.read_to_end() == b""

    def test_a_handler_that_does_not_wait_has_its_own_time(self, serve: Serve) -> None:
        server = serve(
            "request.ws_stream.close_connection(wait_response=False)\n"
            "print(repr(request.ws_stream.receive_message()), flush=True)",
            "--close-timeout",
            "0.05",
        )
        with opened(server) as client, opened(server) as other:
            assert client.read_frame().opcode == CLOSE
            assert other.read_frame().opcode == CLOSE
            # more than the time for closing
            assert not client.socket_has_ended_within(0.3)
            client.send_frame(TEXT, b"late")
            server.out.wait_for("'late'")


class TestWrongProtocol:
    def test_tls_where_it_is_not_spoken(self, serve: Serve) -> None:
        server = serve(ECHO)
        # the beginning of a ClientHello
        assert status_of(server, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") == 400
        server.log.wait_for("This port does not speak TLS; use http: or ws:")


@ALL_WAYS
@pytest.mark.parametrize("length", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_no_announced_length_is_waited_for(serve: Serve, length: int, concurrency: str) -> None:
    """Whatever else is wrong with the frame: a handler that waits for its end waits for ever."""
    server = serve(ECHO)
    sent = (0x81, 0x01, 0xC1, 0xF2, 0x83, 0x03, 0x89, 0x8B, 0x88, 0x8F, 0x80)
    for first_byte in sent:
        with server.connect() as client:
            client.handshake(PATH)
            header = bytes([first_byte, 0xFF]) + length.to_bytes(8) + b"mask"
            client.send(header + b"x" * 200)
            assert client.read_frame().close_code in (1002, 1009), hex(first_byte)
