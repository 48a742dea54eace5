"""Sends as the query says; what a call raises is sent as well."""

from pywebsocket3 import msgutil, stream

TEXT = "h\xe9llo"


def web_socket_do_extra_handshake(request):
    pass


def fragments(request, *pieces, binary=False):
    for piece in pieces[:-1]:
        request.ws_stream.send_message(piece, end=False, binary=binary)
    request.ws_stream.send_message(pieces[-1], end=True, binary=binary)


def mixed_types(request):
    request.ws_stream.send_message("text", end=False)
    try:
        request.ws_stream.send_message(b"binary", end=True, binary=True)
    except Exception as error:  # noqa: BLE001 (told to the client)
        request.connection.write(b"<%s>" % type(error).__name__.encode())
    request.ws_stream.send_message(" end")


def ping_inside(request):
    request.ws_stream.send_message("begin", end=False)
    request.ws_stream.send_ping(b"inside")
    request.ws_stream.send_message("end")


def raw_frames(request):
    write = request.connection.write
    write(stream.create_text_frame("masked", mask=True)[:2])
    write(stream.create_header(3, 0, 1, 1, 1, 1, False))
    write(stream.create_text_frame("x" * 126, opcode=9, fin=0))
    write(stream.create_binary_frame(b"\xff", opcode=1))
    request.ws_stream._write(stream.create_pong_frame(b"unasked"))
    request.ws_stream._send_pong(b"private")


def raw_read(request):
    data = request.ws_stream.receive_bytes(6)
    request.ws_stream.send_message(data.hex())
    request.ws_stream.send_message(request.connection.read(2).hex())


def raw_frame(request):
    frame = request.ws_stream._receive_frame()
    request.ws_stream.send_message(repr(frame))
    frame = request.ws_stream._receive_frame_as_frame_object()
    request.ws_stream.send_message(repr((frame.opcode, frame.fin, frame.rsv1, frame.payload)))


def opcodes(request):
    for _ in range(2):
        request.ws_stream.receive_message()
        request.ws_stream.send_message(str(request.ws_stream.get_last_received_opcode()))


ACTIONS = {
    "text": lambda request: request.ws_stream.send_message(TEXT),
    "binary": lambda request: request.ws_stream.send_message(b"\x00\xff", binary=True),
    "bytearray": lambda request: request.ws_stream.send_message(bytearray(b"ab"), binary=True),
    "empty": lambda request: fragments(request, ""),
    "bytes-as-text": lambda request: request.ws_stream.send_message(b"bytes"),
    "text-as-binary": lambda request: request.ws_stream.send_message("text", binary=True),
    "number": lambda request: request.ws_stream.send_message(7),
    "surrogate": lambda request: request.ws_stream.send_message("\ud800"),
    "fragments": lambda request: fragments(request, "one", "two", "", "three"),
    "fragments-binary": lambda request: fragments(request, b"1", b"2", binary=True),
    "mixed-types": mixed_types,
    "ping": lambda request: request.ws_stream.send_ping(b"p"),
    "ping-text": lambda request: request.ws_stream.send_ping("p"),
    "ping-long": lambda request: request.ws_stream.send_ping(b"p" * 126),
    "ping-inside": ping_inside,
    "msgutil": lambda request: msgutil.send_message(request, TEXT, True, False),
    "lengths": lambda request: [
        request.ws_stream.send_message("x" * size) for size in (125, 126, 65535, 65536)
    ],
    "raw": lambda request: request.connection.write(b"raw bytes"),
    "raw-text": lambda request: request.connection.write("text"),
    "raw-frames": raw_frames,
    "raw-read": raw_read,
    "raw-frame": raw_frame,
    "opcodes": opcodes,
}


def web_socket_transfer_data(request):
    ACTIONS[request.ws_resource.partition("?")[2]](request)
    request.ws_stream.receive_message()
