"""Adds to the answer of the opening handshake, or makes its own, as the query says."""

from pywebsocket3.handshake import AbortedByUserException, hybi

ADDED = {
    "one": [("X-One", "1")],
    "more": [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("X-Empty", "")],
    "latin-1": [("X-Latin", "\xe9")],
    "beyond": [("X-Beyond", "\u20ac")],
    "number": [("X-Number", 1)],
    "injected": [("X-One", "1\r\nX-Two: 2")],
    "triple": [("a", "b", "c")],
}


def web_socket_do_extra_handshake(request):
    how = request.ws_resource.partition("?")[2]
    if how in ADDED:
        request.extra_headers.extend(ADDED[how])
    elif how == "before":
        request.connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    elif how == "text":
        request.connection.write("not bytes")
    elif how == "stream":
        request.ws_stream.send_message("too early")
    elif how == "own":
        accept = hybi.compute_accept(request.headers_in["Sec-WebSocket-Key"].encode())
        request.connection.write(
            b"HTTP/1.1 101 Own\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x88\x00"
        )
        request.connection.read(6)
        raise AbortedByUserException("own answer")
    elif how == "cut":
        request.connection.write(b"HTTP/1.1 101 Swi")
        raise AbortedByUserException("cut")
    elif how == "garbage":
        request.connection.write(b"\x00\xff no HTTP at all\r\n\r\n")
        raise AbortedByUserException("garbage")


def web_socket_transfer_data(request):
    request.ws_stream.send_message("open")
    request.ws_stream.receive_message()
