"""Handlers that put something of their own in the place of `request.connection`, or of its methods.

pywebsocket's stream reads and writes through it, from the answer of the opening handshake on.
"""

import ast

import pytest

from conftest import BOTH_WAYS, StartServer, WriteHandler
from wire import TEXT, Frame, encode_frame

REPLACE = {
    "methods": """\
def replace(request):
    connection = request.connection
    read, write = connection.read, connection.write
    def counting_read(length):
        data = read(length)
        READ.append(data)
        return data
    def counting_write(data):
        WRITTEN.append(bytes(data))
        return write(data)
    connection.read, connection.write = counting_read, counting_write
""",
    "object": """\
class Counting:
    def __init__(self, connection):
        self.inner = connection
    def read(self, length):
        data = self.inner.read(length)
        READ.append(data)
        return data
    def write(self, data):
        WRITTEN.append(bytes(data))
        return self.inner.write(data)
def replace(request):
    request.connection = Counting(request.connection)
""",
}

HANDLER = """\
READ, WRITTEN = [], []
def web_socket_do_extra_handshake(request):
    if request.ws_resource == '/replaced?early':
        replace(request)
def web_socket_transfer_data(request):
    if request.ws_resource == '/replaced?late':
        replace(request)
    message = request.ws_stream.receive_message()
    request.ws_stream.send_message('reply')
    told = message, b''.join(READ), [bytes[:12] for bytes in WRITTEN], request.method
    request.ws_stream.send_message(repr(told))
"""
REFUSES = """\
READ, WRITTEN = [], []
def web_socket_do_extra_handshake(request):
    replace(request)
    raise fastwsh.Refusal(404, body=b'not here')
def web_socket_transfer_data(request):
    pass
"""


@BOTH_WAYS
@pytest.mark.parametrize("when", ["early", "late"])
@pytest.mark.parametrize("what", REPLACE)
def test_the_stream_goes_through_it(
    start_server: StartServer, write_handler: WriteHandler, what: str, when: str
):
    write_handler("replaced", REPLACE[what] + HANDLER)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake(f"/replaced?{when}")
        client.send(encode_frame(TEXT, b"abc"))
        assert client.read_frame() == Frame(TEXT, b"reply")
        told = ast.literal_eval(client.read_frame().payload.decode())
        written = [b"HTTP/1.1 101"] if when == "early" else []
        assert told == ("abc", encode_frame(TEXT, b"abc"), [*written, b"\x81\x05reply"], "GET")
        assert client.read_frame().close_code == 1000
        client.send_close()
        client.read_to_end()


@BOTH_WAYS
@pytest.mark.parametrize("what", REPLACE)
def test_a_refusal_is_the_servers_own(
    start_server: StartServer, write_handler: WriteHandler, what: str
):
    write_handler("replaced", "import fastwsh\n" + REPLACE[what] + REFUSES)
    server = start_server("-w", "handlers", "--access-log", "access.log")
    with server.connect() as client:
        client.send_request("/replaced")
        answer = client.read_response()
        assert (answer.status, client.read_to_end()) == (404, b"not here")
