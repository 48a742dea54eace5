"""What handlers find behind `request._request_handler`, and the loggers of request and stream."""

import errno
import os
import time

import pytest

import fastwsh
from conftest import ALL_WAYS, StartServer, WriteHandler
from wire import DEADLINE_SECONDS, TEXT, Client, Frame, encode_frame

SEND = "send = request.ws_stream.send_message\n"


@pytest.fixture
def run(start_server: StartServer, write_handler: WriteHandler):
    """Serve a handler with this body, and return a client of it."""
    clients = []

    def serve(body: str) -> Client:
        write_handler("socket", SEND + body)
        client = start_server("-w", "handlers", "-H", "127.0.0.1").connect()
        clients.append(client)
        client.handshake("/socket?a=b")
        return client

    yield serve
    for client in clients:
        client.close()


def test_options_and_addresses_are_those_of_the_socket(run):
    client = run(
        "import socket\n"
        "handler = request.connection._request_handler\n"
        "for own in handler.connection, handler.request:\n"
        "    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)\n"
        "    send(repr(own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)))\n"
        "    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
        "    send(repr(own.getpeername()))\n"
        "    send(repr(own.getsockname()[1]))\n"
        "    send(repr(own.family == socket.AF_INET))\n"
        "    own.close()\n"
        "send(request.ws_stream.receive_message())\n"
    )
    ours, theirs = client.socket.getsockname(), client.socket.getpeername()
    for _ in range(2):
        for told in ("1", repr(ours), repr(theirs[1]), "True"):
            assert client.read_frame().payload.decode() == told
    client.send(encode_frame(TEXT, b"goes on"))
    assert client.read_frame().payload == b"goes on"


def test_bytes_go_the_way_of_the_connection(run):
    client = run(
        "own = request._request_handler.connection\n"
        "send('one')\n"
        "assert own.send(b'\\x81\\x03two') == 5\n"
        "own.sendall(b'\\x81\\x05three')\n"
        "send(repr(own.recv(100)))\n"
    )
    assert [client.read_frame().payload for _ in range(3)] == [b"one", b"two", b"three"]
    client.send(b"raw")
    assert client.read_frame().payload == b"b'raw'"


def test_select_tells_of_messages(run):
    client = run(
        "import select\n"
        "own = request.connection._request_handler.connection\n"
        "send(repr(select.select([own], [], [], 0)[0]))\n"
        f"assert select.select([own], [], [], {DEADLINE_SECONDS})[0] == [own]\n"
        "send(request.ws_stream.receive_message())\n"
    )
    assert client.read_frame().payload == b"[]"
    client.send(encode_frame(TEXT, b"hello"))
    assert client.read_frame().payload == b"hello"


def test_a_default_timeout_of_the_process_does_no_harm(run):
    client = run(
        "import socket\n"
        "socket.setdefaulttimeout(0.01)\n"
        "try:\n"
        "    request._request_handler.connection.getpeername()\n"
        "finally:\n"
        "    socket.setdefaulttimeout(None)\n"
        "send('ready')\n"
        "send(request.ws_stream.receive_message())\n"
    )
    assert client.read_frame().payload == b"ready"
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(DEADLINE_SECONDS)
    client.send(encode_frame(TEXT, b"hello"))
    assert client.read_frame().payload == b"hello"


def test_the_rest_of_the_handler(run):
    client = run(
        "handler = request._request_handler\n"
        "send(repr((handler.address_string(), handler.close_connection)))\n"
        "send(repr(handler.raw_requestline))\n"
        "request._logger.info('of the request')\n"
        "request.ws_stream._logger.info('of the stream')\n"
        "send(request._logger.name + ' ' + request.ws_stream._logger.name)\n"
    )
    assert client.read_frame().payload == b"('127.0.0.1', True)"
    assert client.read_frame().payload == repr(b"GET /socket?a=b HTTP/1.1\r\n").encode()
    names = b"pywebsocket3.request_handler._StandaloneRequest pywebsocket3.stream.Stream"
    assert client.read_frame().payload == names


def test_answers_are_written_as_by_http_server(run):
    client = run(
        "request._request_handler.send_response(418)\n"
        "request._request_handler.send_header('X-Kind', 'short')\n"
        "request._request_handler.end_headers()\n"
        "request._request_handler.send_error(404, 'not here')\n"
    )
    answer = client.read_response()
    assert answer.status == 418
    assert answer.header("X-Kind") == "short"
    answer = client.read_response()
    assert answer.status == 404
    page = client.read(int(answer.header("Content-Length") or 0))
    assert b"Message: not here." in page


def test_what_no_request_handler_has(run):
    client = run(
        "handler = request._request_handler\n"
        "assert handler is request._request_handler\n"
        "send(repr([hasattr(handler, name) for name in ('nothing', '_nothing', '__len__')]))\n"
        "send(handler.protocol_version + repr(handler.rfile.get_memorized_lines()[-1]))\n"
    )
    assert client.read_frame().payload == b"[False, False, False]"
    assert client.read_frame().payload == b"HTTP/1.0" + repr(b"\r\n").encode()


def test_a_stream_of_http_2_takes_options_and_has_addresses(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "socket",
        SEND + "import socket\n"
        "own = request._request_handler.connection\n"
        "own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
        "send(repr(own.getpeername() == request.connection.remote_addr))\n"
        "send(repr(own.getsockname() == request.connection.local_addr))\n"
        "try:\n"
        "    own.fileno()\n"
        "except OSError as error:\n"
        "    send(error.strerror)\n"
        "own.sendall(b'\\x81\\x01a')\n",
    )
    server = start_server("--http2", "-w", "handlers")
    with fastwsh.connect(server.url("/socket"), http_version=2) as client:
        assert list(client) == ["True", "True", os.strerror(errno.ENOTSOCK), "a"]


OWN_ATTRIBUTES = """\
import gc, weakref
class Note: pass
def web_socket_do_extra_handshake(request):
    request.connection.note = note = Note()
    # a circle, which the collector is to free
    note.request = request
    request.notes = weakref.ref(note)
    write = request.connection.write
    def counting_write(data):
        request.connection.count = getattr(request.connection, 'count', 0) + len(data)
        write(data)
    request.connection.write = counting_write
def web_socket_transfer_data(request):
    connection = request.connection
    request.ws_stream.own = 5
    connection.write(b'\\x81\\x02hi')
    told = connection.count, request.ws_stream.own, connection.note is request.notes()
    request.ws_stream.send_message(repr(told))
    gc.collect()
    request.ws_stream.send_message(repr([old() for old in OLD]))
    OLD.append(request.notes)
OLD = []
"""


@ALL_WAYS
def test_connection_and_stream_take_attributes_of_the_handlers_own(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("own", OWN_ATTRIBUTES)
    server = start_server("-w", "handlers")
    deadline = time.monotonic() + DEADLINE_SECONDS
    old = b""
    # a thread may still hold the first connection while the second one is served
    while not old.startswith(b"[None"):
        assert time.monotonic() < deadline, old
        with server.connect() as client:
            client.handshake("/own")
            assert client.read_frame() == Frame(TEXT, b"hi")
            assert client.read_frame() == Frame(TEXT, b"(133, 5, True)")
            old = client.read_frame().payload
            assert client.read_frame().close_code == 1000
            client.send_close()
            client.read_to_end()
