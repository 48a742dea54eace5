"""What a handler may do in the extra handshake, and what becomes of it (pywebsocket's contract)."""

import json
from contextlib import ExitStack

import pytest

from conftest import CONTRACT_WAYS, Server
from contract_support import PATH, extra_handshake, opened, serve, texts
from wire import ACCEPT, CLOSE, KEY, TEXT, Frame, Response, encode_frame

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS

PROTOCOL = "Sec-WebSocket-Protocol"


def answer(server: Server, *headers: tuple[str, str]) -> Response:
    with server.connect() as client:
        client.send_request(PATH, headers)
        return client.read_response()


class TestRawWrites:
    @pytest.mark.http1("no bytes before the answer")
    def test_precede_the_answer(self, serve) -> None:
        server = serve(
            extra_handshake("request.connection.write(b'HTTP/1.1 101 Mine\\r\\n\\r\\n')")
        )
        with server.connect() as client:
            client.send_request(PATH)
            assert client.read_response() == Response("HTTP/1.1 101 Mine", ())
            assert client.read_response().header("Sec-WebSocket-Accept") == ACCEPT

    @pytest.mark.http1("no bytes before the answer")
    def test_replace_the_answer_when_the_handler_aborts(self, serve) -> None:
        server = serve(
            extra_handshake(
                "key = request.headers_in['Sec-WebSocket-Key'].encode()\n"
                "accept = handshake.hybi.compute_accept(key)\n"
                "request.connection.write(b'HTTP/1.1 101 x\\r\\nSec-WebSocket-Accept: ' + accept"
                " + b'\\r\\n\\r\\n' + stream.create_close_frame(b'\\x03\\xe9bye'))\n"
                "assert len(request.connection.read(8)) == 8\n"
                "raise handshake.AbortedByUserException('done by hand')"
            )
        )
        with server.connect() as client:
            client.send_request(PATH)
            assert client.read_response().header("Sec-WebSocket-Accept") == ACCEPT
            assert client.read_frame() == Frame(CLOSE, b"\x03\xe9bye")
            client.send_close(1001)
            assert client.read_to_end() == b""
        server.log.wait_for("INFO.*Aborted: done by hand")

    def test_need_bytes(self, serve) -> None:
        server = serve(extra_handshake("request.connection.write('text')"))
        assert answer(server).status == 403
        server.log.wait_for("a bytes-like object is required, not 'str'")

    @pytest.mark.http1("no bytes before the answer")
    def test_fail_in_the_call_when_the_client_has_left(self, serve) -> None:
        server = serve(
            extra_handshake(
                "try:\n"
                "    while True:\n"
                "        request.connection.write(b'.' * 1024)\n"
                "except OSError as error:\n"
                "    print('write failed', type(error).__name__, flush=True)\n"
                "    raise"
            )
        )
        with server.connect() as client:
            client.send_request(PATH)
            assert client.read(1024) == b"." * 1024
        server.out.wait_for("write failed ConnectionLostException")

    def test_reading_stalls_until_the_client_leaves(self, serve) -> None:
        server = serve(
            extra_handshake(
                "print('read', request.connection.read(4096), flush=True)\n"
                "raise handshake.AbortedByUserException('stalled')"
            )
        )
        with server.connect() as client:
            client.send_request(PATH)
            client.send(b"rest")
        server.out.wait_for(r"read b'rest'")


class TestExceptions:
    @pytest.mark.parametrize(
        ("statement", "status"),
        [
            ("raise ValueError('no')", 403),
            ("undefined_name", 403),
            ("assert False", 403),
            ("raise handshake.HandshakeException('no')", 403),
            ("raise handshake.HandshakeException('no', status=404)", 404),
            ("raise handshake.HandshakeException('no', 401)", 401),
            # The stream does not exist yet.
            ("msgutil.send_message(request, 'too early')", 403),
            ("request.client_terminated", 403),
        ],
    )
    def test_are_refusals(self, serve, statement: str, status: int) -> None:
        server = serve(extra_handshake(statement))
        assert answer(server).status == status
        server.log.wait_for("Handshake failed for error: web_socket_do_extra_handshake raised")

    @pytest.mark.parametrize("statement", ["sys.exit()", "sys.exit(1)", "raise SystemExit('bye')"])
    def test_exit_is_a_bare_close(self, serve, statement: str) -> None:
        server = serve(extra_handshake(statement))
        with server.connect() as client:
            client.send_request(PATH)
            assert client.read_to_end() == b""

    def test_do_not_reach_the_client(self, serve) -> None:
        server = serve(extra_handshake("raise ValueError('the secret')"))
        with server.connect() as client:
            client.send_request(PATH)
            assert b"secret" not in client.read_to_end()


class TestSubprotocols:
    @pytest.mark.parametrize(
        ("lines", "requested", "chosen"),
        [
            ("request.ws_protocol = request.ws_requested_protocols[-1]", "chat, news", "news"),
            ("request.ws_protocol = 'unasked'", "chat", "unasked"),
            ("assert request.ws_requested_protocols is None", None, None),
            # No check of the choice without requested protocols.
            ("request.ws_requested_protocols = None", "chat", None),
        ],
    )
    def test_chosen(self, serve, lines: str, requested: str | None, chosen: str | None) -> None:
        server = serve(extra_handshake(lines))
        response = answer(server, *([(PROTOCOL, requested)] if requested else []))
        assert (response.status, response.header(PROTOCOL)) == (101, chosen)

    @pytest.mark.parametrize(
        ("lines", "requested"),
        [
            ("pass", "chat"),
            ("request.ws_protocol = 'unasked'", None),
            ("request.ws_protocol = 'not a token'", "chat"),
            ("pass", ","),
            ("pass", "a/b"),
        ],
    )
    def test_faults_are_400(self, serve, lines: str, requested: str | None) -> None:
        server = serve(extra_handshake(lines))
        assert answer(server, *([(PROTOCOL, requested)] if requested else [])).status == 400


class TestExtraHeaders:
    def test_keep_order_repetitions_and_empty_values(self, serve) -> None:
        added = [("X-A", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", "")]
        server = serve(extra_handshake(f"request.extra_headers.extend({added!r})"))
        assert list(answer(server).headers[-4:]) == added

    def test_may_be_a_quarter_of_a_megabyte(self, serve) -> None:
        server = serve(
            extra_handshake(
                "for number in range(250):\n"
                "    request.extra_headers.append(('Set-Cookie', f'c{number}=' + 'x' * 1020))"
            )
        )
        cookies = [value for name, value in answer(server).headers if name == "Set-Cookie"]
        assert len(cookies) == 250
        assert cookies[-1] == "c249=" + "x" * 1020

    def test_line_end_may_begin_another_header(self, serve) -> None:
        # as web-platform-tests' handlers for cookies do
        server = serve(
            extra_handshake(
                "origin = '\\r\\nX-Origin: ' + request.ws_origin\n"
                "request.extra_headers.append(('Set-Cookie', 'a=b' + origin))"
            )
        )
        got = answer(server, ("Origin", "http://example.test"))
        assert got.status == 101
        assert list(got.headers[-2:]) == [
            ("Set-Cookie", "a=b"),
            ("X-Origin", "http://example.test"),
        ]

    @pytest.mark.parametrize(
        "value", ["a\r\n", "a\r\n\r\nbody", "a\nb", "a\rX: b", "a\r\n X: b", "a\0b"]
    )
    def test_cannot_end_their_line_otherwise(self, serve, value: str) -> None:
        server = serve(extra_handshake(f"request.extra_headers.append(('X-A', {value!r}))"))
        assert answer(server).status == 403
        server.log.wait_for("ERROR.*X-A.*--strict-compat")

    @pytest.mark.parametrize("line_end", ["%0d%0a", "%0A", "%250a", "%%30a", "%25%30%61"])
    def test_line_end_of_the_clients_does_not_pass(self, serve, line_end: str) -> None:
        server = serve(
            extra_handshake(
                "import urllib.parse\n"
                "query = request.ws_resource.partition('?')[2]\n"
                "for _ in range(3): query = urllib.parse.unquote(query)\n"
                "request.extra_headers.append(('X-A', query))"
            )
        )
        with server.connect() as client:
            client.send_request(f"{PATH}?a{line_end}Set-Cookie:%20b=c")
            assert client.read_response().status == 403
        server.log.wait_for("ERROR.*X-A.*URI")


class TestParallel:
    def test_extra_handshakes_wait_for_each_other(self, serve) -> None:
        server = serve(
            extra_handshake("BARRIER.wait(60)").replace(
                "import sys", "import threading\nBARRIER = threading.Barrier(20)\nimport sys"
            )
        )
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(20)]
            for client in clients:
                client.send_request(PATH)
            for client in clients:
                assert client.read_response().status == 101

    def test_a_stalled_one_holds_nobody_up(self, serve) -> None:
        server = serve(
            extra_handshake(
                "if request.ws_resource.endswith('?stall'):\n    request.connection.read()"
            )
        )
        with server.connect() as stalled:
            stalled.send_request(f"{PATH}?stall")
            for _ in range(10):
                assert answer(server).status == 101

    def test_frames_may_come_with_the_request(self, serve) -> None:
        server = serve("request.ws_stream.send_message(request.ws_stream.receive_message())")
        with server.connect() as client:
            head = f"GET {PATH} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket"
            head += f"\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            client.send(head.encode() + encode_frame(TEXT, b"early"))
            assert client.read_response().status == 101
            assert client.read_frame() == Frame(TEXT, b"early")


class TestRequest:
    def report(self, serve, expression: str, path: str = PATH, *headers: tuple[str, str]):
        """Return what an expression gives in `transfer_data`."""
        server = serve(f"import json\nrequest.ws_stream.send_message(json.dumps({expression}))")
        with opened(server, path, headers) as client:
            [text] = texts(client)
            return json.loads(text)

    def test_uri_is_raw_with_its_query(self, serve) -> None:
        uris = "[request.uri, request.unparsed_uri, request.ws_resource, request.get_uri()]"
        path = f"{PATH}?a=%20b&c=d"
        assert self.report(serve, uris, path) == [path] * 4

    @pytest.mark.http1("CONNECT and HTTP/2, see test_stream_websockets")
    def test_method_and_protocol(self, serve) -> None:
        expression = "[request.method, request.protocol, request.is_https()]"
        assert self.report(serve, expression) == ["GET", "HTTP/1.1", False]

    def test_websocket_attributes(self, serve) -> None:
        names = ["origin", "version", "protocol", "extensions", "close_code", "close_reason"]
        expression = f"[getattr(request, 'ws_' + name) for name in {names}]"
        origin = ("Origin", "http://ex.org")
        values = ["http://ex.org", 13, None, None, None, None]
        assert self.report(serve, expression, PATH, origin) == values

    def test_addresses(self, serve) -> None:
        expression = "[request.connection.remote_addr[0], request.connection.local_addr[0]]"
        assert self.report(serve, expression) == ["127.0.0.1", "127.0.0.1"]

    @pytest.mark.http1("names are in lower case")
    def test_headers_in(self, serve) -> None:
        expression = (
            "[request.headers_in['Missing'], request.headers_in.get('missing', 'default'),"
            " request.headers_in['x-ONE'], request.headers_in.get('X-one'), 'X-OnE' in"
            " request.headers_in, 'no' in request.headers_in, [list(item) for item in"
            " request.headers_in.items() if item[0].lower() == 'x-one']]"
        )
        headers = [("X-One", "1"), ("x-oNE", "2")]
        pairs = [["X-One", "1"], ["x-oNE", "2"]]
        assert self.report(serve, expression, PATH, *headers) == [
            *[None, "default", "1", "1", True, False],
            pairs,
        ]

    def test_takes_attributes_and_is_hashable_by_identity(self, serve) -> None:
        server = serve(
            extra_handshake(
                "request.mine = 'kept'\nSEEN[request] = 1",
                "SEEN[request] += 1\n"
                "request.ws_stream.send_message('%s %s' % (request.mine, SEEN[request]))",
            ).replace("import sys", "SEEN = {}\nimport sys")
        )
        for _ in range(2):
            with opened(server) as client:
                assert texts(client) == ["kept 2"]

    def test_module_state_lives_across_connections(self, serve) -> None:
        server = serve(
            extra_handshake(
                "pass", "global VISITS\nVISITS += 1\nrequest.ws_stream.send_message(str(VISITS))"
            ).replace("import sys", "VISITS = 0\nimport sys")
        )
        for visit in range(1, 4):
            with opened(server) as client:
                assert texts(client) == [str(visit)]
