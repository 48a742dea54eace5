"""WebSockets over HTTP/2 and HTTP/3 come to the same handlers, and these see what they know.

RFC 8441 and RFC 9220 open them in the same way.
"""

import json
import re
import zlib

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from streams_support import OVER_BOTH, Over, StreamClient, client, over, server
from wire import BINARY, CLOSE, PING, PONG, TEXT, Frame

pytestmark = [ALL_WAYS, OVER_BOTH]
__all__ = ["client", "over", "server"]


def test_echoes_and_closes(client: StreamClient):
    websocket = client.websocket("/echo")
    websocket.send_frame(TEXT, b"hello")
    assert websocket.read_frame() == Frame(TEXT, b"hello")
    websocket.send_frame(BINARY, bytes(100_000))
    assert websocket.read_frame() == Frame(BINARY, bytes(100_000))
    websocket.send_frame(PING, b"x")
    assert websocket.read_frame() == Frame(PONG, b"x")
    websocket.send_close(1000)
    assert websocket.read_frame().close_code == 1000
    websocket.send(b"", end=True)
    assert websocket.wait_end().reset_code is None


def test_many_websockets_share_a_connection(client: StreamClient):
    websockets = [client.websocket("/echo") for _ in range(20)]
    for number, websocket in enumerate(websockets):
        websocket.send_frame(TEXT, b"%d" % number)
    for number, websocket in reversed(list(enumerate(websockets))):
        assert websocket.read_frame() == Frame(TEXT, b"%d" % number)


def test_request_is_told(start_server: StartServer, write_handler: WriteHandler, over: Over):
    write_handler(
        "told",
        """\
import json
def web_socket_do_extra_handshake(request):
    request.ws_protocol = request.ws_requested_protocols[1]
    request.extra_headers.append(("X-Own", "1"))
    request.extra_headers.append(("Set-Cookie", "a=b\\r\\nX-More: 2"))
def web_socket_transfer_data(request):
    headers = request.headers_in
    request.ws_stream.send_message(json.dumps({
        "method": request.method, "protocol": request.protocol, "uri": request.uri,
        "resource": request.ws_resource, "origin": request.ws_origin,
        "host": headers["Host"], "cookie": headers.get("Cookie"), "x": headers["X-tEst"],
        "pseudo": [headers[":" + name] for name in
                   ("method", "protocol", "scheme", "authority", "path")],
        "bare": [headers[name] for name in ("Method", "scheme", "authority", "path")],
        "version": request.ws_version, "https": request.is_https(),
        "line": request._request_handler.connection.request_line,
    }))
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        websocket = client.websocket(
            "/told?a=b%20c",
            [
                ("origin", "http://o"),
                ("scheme", "mine"),
                ("cookie", "a=1"),
                ("x-test", "y"),
                ("cookie", "b=2"),
                ("sec-websocket-protocol", "chat, superchat"),
            ],
        )
        told = json.loads(websocket.read_frame().payload)
        authority = client.authority
    assert told == {
        "method": "CONNECT",
        "protocol": over.version,
        "uri": "/told?a=b%20c",
        "resource": "/told?a=b%20c",
        "origin": "http://o",
        "host": authority,
        "cookie": "a=1; b=2",
        "x": "y",
        "pseudo": ["CONNECT", "websocket", over.scheme, authority, "/told?a=b%20c"],
        # a header of the client's own is what it is
        "bare": ["CONNECT", "mine", authority, "/told?a=b%20c"],
        "version": 13,
        "https": over.scheme == "https",
        "line": f"CONNECT /told?a=b%20c {over.version}",
    }
    headers = websocket.state.headers
    assert headers is not None
    assert headers["sec-websocket-protocol"] == "superchat"
    assert (headers["x-own"], headers["set-cookie"], headers["x-more"]) == ("1", "a=b", "2")
    assert not {"upgrade", "connection", "sec-websocket-accept"} & set(headers)


def test_permessage_deflate(client: StreamClient):
    offer = [("sec-websocket-extensions", "permessage-deflate")]
    websocket = client.websocket("/echo", offer)
    assert websocket.state.headers is not None
    assert "permessage-deflate" in websocket.state.headers["sec-websocket-extensions"]
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(b"ab" * 1000) + compressor.flush(zlib.Z_SYNC_FLUSH)
    websocket.send_frame(TEXT, data[:-4], rsv=4)
    frame = websocket.read_frame()
    assert frame.rsv == 4
    assert zlib.decompressobj(-15).decompress(frame.payload + b"\0\0\xff\xff") == b"ab" * 1000


@pytest.mark.parametrize(
    ("path", "more", "status", "line"),
    [
        ("/none", {}, 404, "no handler for /none"),
        ("/echo", {"version": "8"}, 400, "Unsupported version '8'"),
        ("/echo", {"version": None}, 400, "Sec-WebSocket-Version is not defined"),
        ("/echo", {"protocol": "connect-udp"}, 501, "by the protocol connect-udp"),
        ("/echo", {"headers": [("sec-websocket-protocol", "a b")]}, 400, "Sec-WebSocket-Protocol"),
    ],
)
def test_refusals(
    server: Server, client: StreamClient, path: str, more: dict, status: int, line: str
):
    answer = client.wait_end(client.connect(path, **more))
    assert answer.status == status
    assert answer.headers is not None
    assert answer.headers.get("sec-websocket-version") == (
        "13" if more.get("version") == "8" else None
    )
    server.log.wait_for(rf"code {status}.*{re.escape(line)}|{re.escape(line)}")
    # the connection is as good as before
    client.websocket("/echo").send_frame(TEXT, b"x")


def test_the_name_of_the_protocol_has_no_case(client: StreamClient):
    # HAProxy passes on what the client has in Upgrade
    answer = client.wait_headers(client.connect("/echo", protocol="WebSocket"))
    assert answer.status == 200


def test_a_second_host_is_refused(server: Server, over: Over):
    with over.connect_unchecked(server) as client:
        stream = client.connect("/echo", [("host", "other")])
        assert client.wait_end(stream).status == 400


def test_handler_refuses(start_server: StartServer, write_handler: WriteHandler, over: Over):
    write_handler(
        "refuse",
        """\
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    raise handshake.HandshakeException("no", status=418)
def web_socket_transfer_data(request):
    pass
""",
    )
    write_handler(
        "abort",
        """\
from pywebsocket3 import handshake
def web_socket_do_extra_handshake(request):
    raise handshake.AbortedByUserException("enough")
def web_socket_transfer_data(request):
    pass
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        assert client.wait_end(client.connect("/refuse")).status == 418
        assert client.wait_end(client.connect("/abort")).reset_code == over.cancelled


def test_get_of_a_handler_is_refused(client: StreamClient):
    assert client.fetch("/echo").status == 400


@pytest.mark.blocks
def test_raw_frames(start_server: StartServer, write_handler: WriteHandler, over: Over):
    write_handler(
        "raw",
        """\
request.connection.write(b"\\x81\\x02" + b"hi" + b"\\x88\\x02\\x0b\\xb8")
data = b""
while len(data) < 3:
    data += request.connection.read(3 - len(data))
request.connection.write(data)
from pywebsocket3 import handshake
raise handshake.AbortedByUserException("done")
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        websocket = client.websocket("/raw")
        assert websocket.read_frame() == Frame(TEXT, b"hi")
        assert websocket.read_frame() == Frame(CLOSE, (3000).to_bytes(2))
        websocket.send(b"abc")
        assert websocket.read(3) == b"abc"
        assert websocket.wait_end().reset_code == over.cancelled
