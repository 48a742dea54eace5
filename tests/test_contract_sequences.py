"""What a call does after others: handlers change a stream, mix its layers, go on after errors."""

import socket

import pytest

from conftest import BOTH_WAYS, StartServer, WriteHandler
from wire import BINARY, CLOSE, CONTINUATION, PING, TEXT, Client, Frame, encode_frame

pytestmark = BOTH_WAYS

SAY = "request.ws_stream.send_message(repr(said))"


@pytest.fixture
def opened(start_server: StartServer, write_handler: WriteHandler):
    """Start a server with a handler of these lines; return a client that has opened it."""
    clients = []

    def open_it(*lines: str) -> Client:
        before = [
            "from mod_pywebsocket import msgutil, stream",
            "said = []",
            "s = request.ws_stream",
        ]
        write_handler("h", "\n".join([*before, *lines]))
        client = start_server("-w", "handlers").connect()
        clients.append(client)
        client.handshake("/h")
        return client

    yield open_it
    for client in clients:
        client.close()


def failing(call: str, *expected: str) -> list[str]:
    """Lines that make a call, and say of which of the classes its exception is one."""
    return [
        *("try:", f"    {call}", "    said.append('nothing')"),
        "except Exception as error:",
        f"    said.append([isinstance(error, kind) for kind in ({', '.join(expected)},)])",
    ]


def test_the_opcode_is_known_from_the_first_fragment_on(opened):
    client = opened(
        "for _ in range(2):",
        "    message = s._get_message_from_frame(s._receive_frame_as_frame_object())",
        "    said.append((message, s.get_last_received_opcode()))",
        SAY,
    )
    client.send_frame(BINARY, b"a", fin=False)
    client.send_frame(CONTINUATION, b"b")
    assert client.read_frame() == Frame(TEXT, repr([(None, 2), (b"ab", 2)]).encode())


def test_the_opcode_is_that_of_a_message_whose_end_does_not_come(opened):
    client = opened(
        *failing("s.receive_message()", "msgutil.ConnectionTerminatedException"),
        "said.append(s.get_last_received_opcode())",
        SAY,
    )
    client.send_frame(BINARY, b"a", fin=False)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.read_frame() == Frame(TEXT, repr([[True], 2]).encode())


@pytest.mark.parametrize(("opcode", "text"), [(BINARY, "b'\\xc3\\xa9'"), (TEXT, "'é'")])
def test_a_message_goes_on_whoever_has_read_its_first_frame(opened, opcode, text):
    client = opened(
        "s._get_message_from_frame(s._receive_frame_as_frame_object())",
        "said.append(s.receive_message())",
        SAY,
    )
    client.send_frame(opcode, b"\xc3", fin=False)
    client.send_frame(CONTINUATION, b"\xa9")
    assert client.read_frame() == Frame(TEXT, f"[{text}]".encode())


def test_control_frames_are_masked_once_the_options_say_so(opened):
    client = opened(
        "s._options.mask_send = True",
        "s.send_ping(b'x')",
        "s._options.mask_send = False",
        "s.send_ping(b'y')",
    )
    assert client.read(2) == b"\x89\x81"
    key, byte = client.read(4), client.read(1)
    assert byte[0] ^ key[0] == ord("x")
    assert client.read_frame() == Frame(PING, b"y")


def test_unmasked_frames_are_received_once_the_options_say_so(opened):
    client = opened(
        "said.append(s.receive_message())",
        "s._options.unmask_receive = False",
        "said.append(s.receive_message())",
        "s._options.unmask_receive = True",
        "said.append(s.receive_message())",
        SAY,
    )
    masked = encode_frame(TEXT, b"masked")
    client.send(masked + b"\x81\x02no" + masked)
    assert client.read_frame() == Frame(TEXT, repr(["masked", "no", "masked"]).encode())


def test_a_close_that_failed_can_be_repeated_behind_filters(opened):
    client = opened(
        "class Filter:\n    def filter(self, frame):\n        frame.rsv3 = 1",
        "s._options.outgoing_frame_filters.append(Filter())",
        *failing("s.close_connection(1000, 'x' * 130)", "msgutil.BadOperationException"),
        "said.append(request.server_terminated)",
        "s._options.outgoing_frame_filters.clear()",
        SAY,
        "s._options.outgoing_frame_filters.append(Filter())",
    )
    assert client.read_frame() == Frame(TEXT, repr([[True], False]).encode())
    # FIN, RSV3 and the opcode of a close frame; its status code is 1000
    assert client.read(4) == b"\x98\x02\x03\xe8"


def test_a_message_of_another_type_is_told_before_one_without_bytes(opened):
    client = opened(
        "s.send_message(b'x', end=False, binary=True)",
        *failing("s.send_message(b'y')", "msgutil.BadOperationException"),
        "s.send_message(b'', binary=True)",
        SAY,
    )
    assert client.read_frame() == Frame(BINARY, b"x", fin=False)
    assert client.read_frame() == Frame(CONTINUATION, b"")
    assert client.read_frame() == Frame(TEXT, b"[[True]]")


def test_texts_come_encoded_if_the_options_say_so(opened):
    client = opened(
        "options = stream.StreamOptions()",
        "options.encode_text_message_to_utf8 = False",
        "request.ws_stream = stream.Stream(request, options)",
        "request.ws_stream.send_message('é'.encode())",
    )
    assert client.read_frame() == Frame(TEXT, "é".encode())
    assert client.read_frame().opcode == CLOSE
