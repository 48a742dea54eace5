"""Who closes, with which code, and who waits for whom (pywebsocket's contract)."""

import signal
from contextlib import ExitStack

import pytest

from conftest import CONTRACT_WAYS
from contract_support import close_code, extra_handshake, opened, serve, texts
from wire import CLOSE, TEXT, Frame

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS

NORMAL = Frame(CLOSE, b"\x03\xe8")
WAIT = "request.ws_stream.receive_message()"


def passive(lines: str) -> str:
    """A handler that waits for the client's close and has a passive closing handshake."""
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return f"def web_socket_passive_closing_handshake(request):\n{indented}\n" + extra_handshake(
        "pass", f"assert {WAIT} is None"
    )


@pytest.mark.http3
class TestReturn:
    def test_sends_1000_and_waits_for_the_answer(self, serve) -> None:
        server = serve("pass")
        with opened(server) as client:
            assert client.read_frame() == NORMAL
            # Still open: half an answer is not one.
            client.send(b"\x88\x80")
            client.send(b"\0\0\0\0")
            assert client.read_to_end() == b""

    def test_a_data_frame_instead_of_the_answer_ends_tcp(self, serve) -> None:
        server = serve("pass")
        with opened(server) as client:
            assert client.read_frame() == NORMAL
            client.send_frame(TEXT, b"too late")
            assert client.read_to_end() == b""

    def test_after_the_clients_close_sends_no_second_close(self, serve) -> None:
        server = serve(WAIT)
        with opened(server) as client:
            client.send_close(3000)
            assert client.read_frame() == NORMAL
            assert client.read_to_end() == b""


class TestClientCloses:
    @pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
    def test_the_answer_is_1000_by_default(self, serve, code: int | None) -> None:
        server = serve(f"assert {WAIT} is None\nprint(request.ws_close_code, flush=True)")
        with opened(server) as client:
            client.send_close(code)
            assert client.read_frame() == NORMAL
            assert client.read_to_end() == b""
        server.out.wait_for(f"^{code or 1005}$")

    @pytest.mark.parametrize(
        ("result", "body"),
        [
            ("(3001, 'mine')", b"\x0b\xb9mine"),
            ("(None, None)", b""),
            ("(None, '')", b""),
            ("(1000, None)", b"\x03\xe8"),
            # What came, echoed: an empty close frame has the pseudo code 1005.
            ("(request.ws_close_code, request.ws_close_reason)", b"\x03\xf3"),
        ],
    )
    def test_the_passive_hook_decides(self, serve, result: str, body: bytes) -> None:
        server = serve(passive(f"return {result}"))
        with opened(server) as client:
            client.send_close(None)
            assert client.read_frame() == Frame(CLOSE, body)

    @pytest.mark.parametrize(
        "statement", ["raise ValueError('no')", "raise handshake.AbortedByUserException('no')"]
    )
    def test_an_exception_in_the_passive_hook_ends_tcp(self, serve, statement: str) -> None:
        server = serve(passive(statement))
        with opened(server) as client:
            client.send_close()
            assert client.read_to_end() == b""

    def test_a_hook_may_write_its_own_frame_and_abort(self, serve) -> None:
        server = serve(
            passive(
                "request.connection.write(stream.create_close_frame(b'\\x0f\\xa0own'))\n"
                "raise handshake.AbortedByUserException('done')"
            )
        )
        with opened(server) as client:
            client.send_close()
            assert client.read_frame() == Frame(CLOSE, b"\x0f\xa0own")
            assert client.read_to_end() == b""

    def test_receiving_again_is_a_bad_operation(self, serve) -> None:
        server = serve(
            f"{WAIT}\n"
            f"try:\n    {WAIT}\n"
            "except Exception as error:\n    print(type(error).__name__, flush=True)"
        )
        with opened(server) as client:
            client.send_close()
            assert client.read_frame() == NORMAL
        server.out.wait_for("^BadOperationException$")


class TestServerCloses:
    @pytest.mark.parametrize(
        ("arguments", "body"),
        [
            ("", b"\x03\xe8"),
            ("3000, 'why'", b"\x0b\xb8why"),
            ("code=4000, reason='é'", b"\x0f\xa0\xc3\xa9"),
            ("None", b""),
            ("1000, 'now', False", b"\x03\xe8now"),
        ],
    )
    def test_with_a_code_and_a_reason(self, serve, arguments: str, body: bytes) -> None:
        server = serve(f"request.ws_stream.close_connection({arguments})")
        with opened(server) as client:
            assert client.read_frame() == Frame(CLOSE, body)
            client.send_close()
            assert client.read_to_end() == b""

    @pytest.mark.parametrize("code", [1001, 1002])
    def test_does_not_wait_for_the_answer_to(self, serve, code: int) -> None:
        server = serve(f"request.ws_stream.close_connection({code})")
        with opened(server) as client:
            assert client.read_frame() == Frame(CLOSE, code.to_bytes(2))
            assert client.read_to_end() == b""

    @pytest.mark.parametrize("arguments", ["999", "5000", "1005", "1006", "1000, 'x' * 124"])
    def test_what_may_not_be_sent_is_1011(self, serve, arguments: str) -> None:
        server = serve(f"request.ws_stream.close_connection({arguments})")
        with opened(server) as client:
            assert client.read_frame().close_code == 1011

    def test_closing_twice_closes_once(self, serve) -> None:
        server = serve("for _ in range(2): request.ws_stream.close_connection(3000)")
        with opened(server) as client:
            assert client.read_frame().close_code == 3000
            client.send_close()
            assert client.read_to_end() == b""

    def test_sending_afterwards_is_a_bad_operation(self, serve) -> None:
        server = serve(
            "from pywebsocket3 import msgutil\n"
            "request.ws_stream.close_connection(3000)\n"
            "try:\n    request.ws_stream.send_message('late')\n"
            "except msgutil.BadOperationException as error:\n    print(error, flush=True)"
        )
        with opened(server) as client:
            assert client.read_frame().close_code == 3000
            client.send_close()
            assert client.read_to_end() == b""
        server.out.wait_for("Requested send_message after sending out a closing handshake")


@pytest.mark.http3
class TestTerminatedByHand:
    def test_after_a_close_by_hand_the_answer_can_be_received(self, serve) -> None:
        server = serve(
            "request.connection.write(b'\\x88\\x02\\x03\\xe9')\n"
            "request.server_terminated = True\n"
            f"{WAIT}\n"
            "print(request.ws_close_code, request.ws_close_reason, flush=True)"
        )
        with opened(server) as client:
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe9")
            client.send_close(3333, "ack")
            assert client.read_to_end() == b""
        server.out.wait_for("^3333 ack$")

    def test_client_terminated_sends_a_close_and_does_not_read(self, serve) -> None:
        server = serve("request.client_terminated = True")
        with opened(server) as client:
            assert client.read_frame() == NORMAL
            assert client.read_to_end() == b""


@pytest.mark.http3
class TestExceptions:
    @pytest.mark.parametrize(
        ("statement", "code"),
        [
            ("raise msgutil.BadOperationException('x')", 1011),
            ("raise msgutil.InvalidFrameException('x')", 1002),
            ("raise msgutil.UnsupportedFrameException('x')", 1003),
            ("raise stream.InvalidUTF8Exception('x')", 1007),
        ],
    )
    def test_of_the_stream_have_close_codes(self, serve, statement: str, code: int) -> None:
        server = serve(extra_handshake("pass", statement))
        with opened(server) as client:
            assert close_code(client) == code

    @pytest.mark.parametrize(
        "statement",
        ["assert False", "undefined_name", "raise handshake.AbortedByUserException('x')"],
    )
    def test_others_end_tcp_without_a_close_frame(self, serve, statement: str) -> None:
        server = serve(extra_handshake("pass", statement))
        with opened(server) as client:
            assert client.read_to_end() == b""

    def test_are_logged_once_with_file_and_line(self, serve) -> None:
        body = extra_handshake("pass", "helper()") + "def helper():\n    raise KeyError('gone')\n"
        server = serve(body)
        with opened(server) as client:
            assert client.read_to_end() == b""
        line = body.splitlines().index("    raise KeyError('gone')") + 1
        server.log.wait_for(rf"h_wsh\.py\", line {line}, in helper")
        server.log.wait_for("KeyError: .*web_socket_transfer_data raised exception for /h: 'gone'")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.log.text().count("[ERROR]") == 1

    def test_an_abort_is_no_error(self, serve) -> None:
        server = serve(extra_handshake("pass", "raise handshake.AbortedByUserException('mine')"))
        with opened(server) as client:
            assert client.read_to_end() == b""
        server.log.wait_for(r"\[INFO\].*Aborted: mine")


class TestStop:
    """SIGTERM: every connection gets 1001 and the server ends with status 0."""

    @pytest.mark.parametrize(
        ("handler", "code"),
        [
            (f"while {WAIT} is not None: pass", 1001),
            ("import threading\nthreading.Event().wait()", 1001),
            ("request.connection.read()", 1001),
            # Said already what it had to say.
            ("request.ws_stream.close_connection(3000)", 3000),
        ],
    )
    @pytest.mark.blocks
    def test_every_connection_is_told(self, serve, handler: str, code: int) -> None:
        # one of the handlers does not end by itself
        limits = "--shutdown-timeout", "2", "--cleanup-timeout", "0.1"
        server = serve(f"request.ws_stream.send_message('hello')\n{handler}", *limits)
        with ExitStack() as stack:
            clients = [stack.enter_context(opened(server)) for _ in range(20)]
            for client in clients:
                assert client.read_frame() == Frame(TEXT, b"hello")
            if code == 1001:
                server.send_signal(signal.SIGTERM)
            for client in clients:
                assert close_code(client) == code
            if code != 1001:
                server.send_signal(signal.SIGTERM)
            for client in clients:
                client.send_close()
        assert server.wait() == 0

    @pytest.mark.parametrize("attempt", range(5))
    def test_a_handler_that_has_just_sent_something(self, serve, attempt: int) -> None:
        server = serve(
            "while (message := request.ws_stream.receive_message()) is not None:\n"
            "    request.ws_stream.send_message(message)"
        )
        with opened(server) as client:
            for number in range(100 + attempt):
                client.send_frame(TEXT, str(number).encode())
                assert client.read_frame() == Frame(TEXT, str(number).encode())
            server.send_signal(signal.SIGTERM)
            assert close_code(client) == 1001
            client.send_close()
            assert server.wait() == 0

    def test_a_handler_that_never_stops_sending(self, serve) -> None:
        server = serve("while True: request.ws_stream.send_message('x' * 100)")
        with opened(server) as client:
            client.read_frame()
            server.send_signal(signal.SIGTERM)
            assert close_code(client) == 1001
            client.send_close()
            assert server.wait() == 0

    def test_a_handler_that_has_returned(self, serve) -> None:
        server = serve("request.ws_stream.send_message('only')")
        with opened(server) as client:
            assert texts(client) == ["only"]
            assert client.read_to_end() == b""
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
