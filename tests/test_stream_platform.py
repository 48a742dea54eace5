"""Handlers like those of web-platform-tests do over HTTP/2 and HTTP/3 what they do over HTTP/1.1.

One server speaks all versions. Each case is a script of what a client sends; what it gets back, up
to the end of the connection or stream, is compared. `docs/http2.md` has what differs.
"""

import contextlib
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Server, starting_servers
from http2_support import Http2Client
from http3_support import Http3Client, write_certificate
from stream_tunnel import Tunnel
from wire import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame, encode_frame

Seen = tuple[int, dict[str, list[str]], list[Frame]]

HEAD = """\
import time
from pywebsocket3 import common, handshake, msgutil
def web_socket_do_extra_handshake(request):
    pass
"""

RECEIVES = "def web_socket_transfer_data(request):\n    request.ws_stream.receive_message()\n"

SENDS = HEAD + "def web_socket_transfer_data(request):\n    request.ws_stream.send_message({})\n"

HANDLERS = {
    "basic-auth": """\
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    if request.headers_in.get("Authorization") != "Basic Zm9vOmJhcg==":
        raise handshake.HandshakeException("who are you", status=401)
def web_socket_transfer_data(request):
    request.ws_stream.send_message("ok")
""",
    "cookie": SENDS.format("request.headers_in.get('Cookie') or '(none)'"),
    "delayed-passive-close": HEAD
    + RECEIVES
    + """\
def web_socket_passive_closing_handshake(request):
    time.sleep(0.05)
    return common.STATUS_NORMAL_CLOSURE, ""
""",
    "echo": HEAD
    + """\
def web_socket_transfer_data(request):
    while True:
        line = request.ws_stream.receive_message()
        if line is None or line == "exit":
            return
        request.ws_stream.send_message(line, binary=isinstance(line, bytes))
""",
    "echo-close-data": HEAD
    + """\
def web_socket_transfer_data(request):
    while (line := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(line)
        if line == "Goodbye":
            return
def web_socket_passive_closing_handshake(request):
    code, reason = request.ws_close_code, request.ws_close_reason
    return (common.STATUS_NORMAL_CLOSURE, "") if code == 1005 else (code, reason)
""",
    "echo-query": SENDS.format("request.unparsed_uri.split('?')[1] or ''"),
    "empty-message": HEAD
    + """\
def web_socket_transfer_data(request):
    line = request.ws_stream.receive_message()
    request.ws_stream.send_message("pass" if line == "" else "fail")
""",
    "fragments": HEAD
    + """\
def web_socket_transfer_data(request):
    for part in "abc":
        request.ws_stream.send_message(part, end=part == "c")
    request.ws_stream.send_ping(b"p")
    request.ws_stream.receive_message()
""",
    "origin": SENDS.format("request.ws_origin"),
    "passive-close-abort": HEAD
    + RECEIVES
    + """\
def web_socket_passive_closing_handshake(request):
    raise handshake.AbortedByUserException("no answer")
""",
    "protocol": """\
def web_socket_do_extra_handshake(request):
    request.ws_protocol = request.headers_in.get("Sec-WebSocket-Protocol")
def web_socket_transfer_data(request):
    request.ws_stream.send_message(request.ws_protocol)
""",
    "protocol-array": """\
def web_socket_do_extra_handshake(request):
    request.ws_protocol = request.headers_in.get("Sec-WebSocket-Protocol").split(",", 1)[0]
def web_socket_transfer_data(request):
    request.ws_stream.send_message(request.ws_protocol)
""",
    "no-extensions": """\
def web_socket_do_extra_handshake(request):
    request.ws_extension_processors = []
def web_socket_transfer_data(request):
    request.ws_stream.send_message(str(request.ws_extensions))
""",
    "raw-frames": HEAD
    + """\
def web_socket_transfer_data(request):
    request.connection.write(b"\\x81\\x05hello\\x89\\x00\\x88\\x02\\x03\\xe8")
    raise handshake.AbortedByUserException("done")
""",
    "raw-fault": HEAD
    + """\
def web_socket_transfer_data(request):
    request.connection.write(b"\\x83\\x00")
    request.ws_stream.receive_message()
""",
    "referrer": SENDS.format("request.headers_in.get('referer') or 'MISSING'"),
    "remote-close": HEAD
    + """\
from urllib.parse import parse_qs, urlsplit
def web_socket_transfer_data(request):
    query = parse_qs(urlsplit(request.unparsed_uri).query)
    code = int(query["code"][0]) if "code" in query else None
    if "abrupt" in query:
        raise handshake.AbortedByUserException("abrupt")
    request.ws_stream.close_connection(code, query.get("reason", [""])[0])
""",
    "receive-backpressure": HEAD
    + """\
def web_socket_transfer_data(request):
    time.sleep(0.05)
    size = len(request.ws_stream.receive_message())
    request.ws_stream.send_message(str(size))
""",
    "refuses": """\
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    request.extra_headers.append(("X-Never", "sent"))
    raise handshake.HandshakeException("no", status=int(request.uri.split("?")[1]))
def web_socket_transfer_data(request):
    pass
""",
    "send-backpressure": HEAD
    + """\
def web_socket_transfer_data(request):
    for _ in range(8):
        request.ws_stream.send_message(b" " * 100_000, binary=True)
""",
    "set-cookie": """\
from urllib.parse import urlsplit
def web_socket_do_extra_handshake(request):
    name = urlsplit(request.unparsed_uri).query
    request.extra_headers.append(("Set-Cookie", name + "=1; Path=/; SameSite=Lax"))
    request.extra_headers.append(("Set-Cookie", name + "2=2; Secure; HttpOnly"))
def web_socket_transfer_data(request):
    pass
""",
    "sleeps": """\
import time
def web_socket_do_extra_handshake(request):
    time.sleep(0.05)
def web_socket_transfer_data(request):
    request.ws_stream.send_message("slept")
""",
    "stash": HEAD
    + """\
import json, threading
kept, lock = {}, threading.Lock()
def web_socket_transfer_data(request):
    asked = json.loads(request.ws_stream.receive_message())
    with lock:
        if asked["action"] == "set":
            kept[asked["key"]] = asked["value"]
            answer = {}
        else:
            answer = {"value": kept.get(asked["key"])}
    request.ws_stream.send_message(json.dumps(answer))
""",
}

OVER_HTTP_1 = {
    "invalid": "b'FOO BAR BAZ\\r\\n\\r\\n'",
    "simple-handshake": "b'HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\n\\r\\n'",
    "wrong-accept-key": "b'HTTP/1.1 101 Switching Protocols:\\r\\nUpgrade: websocket\\r\\n\\r\\n'",
    "unauthorized": "b'HTTP/1.1 401 Unauthorized\\r\\nContent-Length: 0\\r\\n\\r\\n'",
}


def message(payload: bytes, opcode: int = TEXT) -> bytes:
    return encode_frame(opcode, payload)


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return encode_frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason)


BYE = close()

# The path, headers, and what the client sends.
CASES: dict[str, tuple[str, list[tuple[str, str]], bytes]] = {
    "basic-auth without": ("/basic-auth", [], b""),
    "basic-auth": ("/basic-auth", [("authorization", "Basic Zm9vOmJhcg==")], BYE),
    "cookie": ("/cookie", [("cookie", "a=1; b=2")], BYE),
    "no cookie": ("/cookie", [], BYE),
    "delayed passive close": ("/delayed-passive-close", [], close(3333, b"why")),
    "echo": ("/echo", [], message(b"a") + message(b"b" * 70_000, BINARY) + message(b"exit") + BYE),
    "ping": ("/echo", [], message(b"p", PING) + message(b"", PONG) + message(b"") + BYE),
    # whoever gets a close frame answers it: else the server waits for that
    "bad UTF-8": ("/echo", [], message(b"\xff") + close(1007)),
    "unmasked": ("/echo", [], encode_frame(TEXT, b"x", mask=None)),
    "reserved": ("/echo", [], message(b"", 3)),
    "close of one byte": ("/echo", [], encode_frame(CLOSE, b"\x03")),
    "close code 1005": ("/echo", [], close(1005)),
    "close data": ("/echo-close-data", [], message(b"x") + close(4321, b"bye")),
    "close without a code": ("/echo-close-data", [], close(None)),
    "goodbye": ("/echo-close-data", [], message(b"Goodbye") + BYE),
    "query": ("/echo-query?a=b%20c&d=?e", [], BYE),
    "empty message": ("/empty-message", [], message(b"") + BYE),
    "fragments": ("/fragments", [], message(b"p", PONG) + BYE),
    "origin": ("/origin", [("origin", "https://example.com:8443")], BYE),
    "passive close abort": ("/passive-close-abort", [], BYE),
    "protocol": ("/protocol", [("sec-websocket-protocol", "foobar")], BYE),
    "no protocol": ("/protocol", [], BYE),
    "protocols": ("/protocol-array", [("sec-websocket-protocol", "foobar, foobar2")], BYE),
    "protocol refused": ("/echo", [("sec-websocket-protocol", "foobar")], b""),
    "two of a protocol": ("/protocol", [("sec-websocket-protocol", "a, b")], b""),
    "no extensions": ("/no-extensions", [("sec-websocket-extensions", "permessage-deflate")], BYE),
    "deflate": ("/origin", [("sec-websocket-extensions", "permessage-deflate")], BYE),
    "unknown extension": ("/echo", [("sec-websocket-extensions", "x-unknown; a=b")], BYE),
    "broken extension": ("/echo", [("sec-websocket-extensions", "a; ;")], b""),
    "raw frames": ("/raw-frames", [], b""),
    "raw fault": ("/raw-fault", [], BYE),
    "referrer": ("/referrer", [("referer", "https://example.com/x")], BYE),
    "no referrer": ("/referrer", [], BYE),
    "remote close": ("/remote-close?code=3000&reason=why", [], close(3000)),
    "remote close without a code": ("/remote-close", [], close(None)),
    "remote close 1005": ("/remote-close?code=1005", [], close(1011)),
    "remote abrupt": ("/remote-close?abrupt", [], BYE),
    "receive backpressure": (
        "/receive-backpressure",
        [],
        message(bytes(500_000), BINARY) + BYE,
    ),
    **{f"refused with {code}": (f"/refuses?{code}", [], b"") for code in (400, 403, 404, 503)},
    "refused with no status": ("/refuses?101", [], b""),
    "send backpressure": ("/send-backpressure", [], BYE),
    "set-cookie": ("/set-cookie?ws", [], BYE),
    "sleeps": ("/sleeps", [], BYE),
    "stash set": ("/stash", [], message(b'{"action": "set", "key": "a", "value": [1]}') + BYE),
    "stash get": ("/stash", [], message(b'{"action": "get", "key": "a"}') + BYE),
    "no handler": ("/none", [], b""),
    "version": ("/echo", [("sec-websocket-version", "8")], b""),
    "versions": ("/echo", [("sec-websocket-version", "13, 8")], b""),
}

# Fields that only one of the versions has in its answer.
OF_A_VERSION = {"upgrade", "connection", "sec-websocket-accept", "date", ":status", "alt-svc"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("platform")
    handlers = folder / "handlers"
    handlers.mkdir()
    for name, text in HANDLERS.items():
        (handlers / f"{name}_wsh.py").write_text(text)
    for name, answer in OVER_HTTP_1.items():
        (handlers / f"{name}_wsh.py").write_text(
            "from pywebsocket3 import handshake\n"
            "def web_socket_do_extra_handshake(request):\n"
            f"    request.connection.write({answer})\n"
            "    raise handshake.AbortedByUserException('own answer')\n"
            "def web_socket_transfer_data(request):\n    pass\n"
        )
    write_certificate(folder / "tls.pem")
    with starting_servers(folder, "auto") as start:
        yield start("-w", "handlers", "--http2", "--http3", "--ssl-certfile=tls.pem")


@pytest.fixture(scope="module")
def over_2(server: Server) -> Iterator[Http2Client]:
    """One connection for all cases, which none of them may end."""
    with Http2Client(server, trusting()) as client:
        yield client


@pytest.fixture(scope="module")
def over_3(server: Server) -> Iterator[Http3Client]:
    """The same over HTTP/3."""
    with Http3Client(server) as client:
        yield client


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def by_name(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        if name.lower() not in OF_A_VERSION:
            found.setdefault(name.lower(), []).append(value)
    return found


def frames_of(read: Callable[[], Frame]) -> list[Frame]:
    """Read frames until the end."""
    frames = []
    with contextlib.suppress(EOFError, AssertionError, ConnectionError):
        while True:
            frames.append(read())
    return frames


def over_http_1(server: Server, path: str, headers: list[tuple[str, str]], sent: bytes) -> Seen:
    with server.connect() as plain:
        wrapped = trusting().wrap_socket(
            plain.socket, server_hostname="localhost", suppress_ragged_eofs=True
        )
        with Client.over(wrapped, server.port) as client:
            client.send_request(path, headers_for_1(headers))
            response = client.read_response()
            if response.status != 101:
                return response.status, by_name(list(response.headers)), []
            client.send(sent)
            frames = frames_of(client.read_frame)
            return 200, by_name(list(response.headers)), frames


def headers_for_1(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    names = {"sec-websocket-version": "Sec-WebSocket-Version"}
    return [(names.get(name, name), value) for name, value in headers]


def over_streams(client: Any, path: str, headers: list[tuple[str, str]], sent: bytes) -> Seen:
    own = dict(headers).get("sec-websocket-version", "13")
    rest = [field for field in headers if field[0] != "sec-websocket-version"]
    stream = client.connect(path, rest, version=own)
    answer = client.wait_headers(stream)
    status = answer.status
    fields = by_name(answer.all_headers)
    if status != 200:
        return status, fields, []
    websocket = Tunnel(client, stream)
    websocket.send(sent)
    frames = frames_of(websocket.read_frame)
    client.wait_end(stream)
    return status, fields, frames


@pytest.mark.parametrize("case", CASES)
def test_does_the_same_over_all_versions(
    server: Server, over_2: Http2Client, over_3: Http3Client, case: str
):
    path, headers, sent = CASES[case]
    first = over_http_1(server, path, headers, sent)
    second = over_streams(over_2, path, headers, sent)
    third = over_streams(over_3, path, headers, sent)
    assert second == third
    assert second == first


@pytest.mark.parametrize("name", OVER_HTTP_1)
def test_an_answer_of_the_handlers_own_is_for_http_1(
    server: Server, over_2: Http2Client, over_3: Http3Client, name: str
):
    for client in (over_2, over_3):
        end = client.wait_end(client.connect(f"/{name}"))
        assert (end.headers, end.reset_code is not None) == (None, True)
    for version in "23":
        server.log.wait_for(
            rf"Handler of /{name}: bytes before .*over HTTP/{version}: stream reset"
        )
