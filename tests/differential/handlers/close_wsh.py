"""Closes as the query says."""

from pywebsocket3 import msgutil, stream

REASON = "h\xf6chste Zeit"


def frame(code, reason=b""):
    return stream.create_close_frame(code.to_bytes(2, "big") + reason, mask=False)


def reported(request, call, *args, **more):
    """Call, and send what it raised."""
    try:
        call(*args, **more)
    except Exception as error:  # noqa: BLE001 (told to the client)
        request.connection.write(stream.create_text_frame(type(error).__name__))


def send_after_close(request):
    request.ws_stream.close_connection()
    reported(request, request.ws_stream.send_message, "too late")


def receive_after_close(request):
    while request.ws_stream.receive_message() is not None:
        pass
    reported(request, request.ws_stream.receive_message)


def by_hand(request):
    request.connection.write(frame(4003, b"by hand"))
    request.server_terminated = True
    request.ws_stream.receive_message()


def by_hand_in_two_pieces(request):
    data = frame(1000)
    request.connection.write(data[:1])
    request.connection.write(data[1:])
    request.server_terminated = True


def without_reading(request):
    request.client_terminated = True


def catch(request):
    reported(request, request.ws_stream.close_connection, 1000, "")


ACTIONS = {
    "return": lambda request: None,
    "reason": lambda request: request.ws_stream.close_connection(1000, REASON),
    "1001": lambda request: request.ws_stream.close_connection(1001),
    "1002": lambda request: request.ws_stream.close_connection(1002),
    "4000": lambda request: request.ws_stream.close_connection(4000, "own"),
    "none": lambda request: request.ws_stream.close_connection(None),
    "none-with-reason": lambda request: request.ws_stream.close_connection(None, "x"),
    "999": lambda request: request.ws_stream.close_connection(999),
    "1005": lambda request: request.ws_stream.close_connection(1005),
    "5000": lambda request: request.ws_stream.close_connection(5000),
    "long-reason": lambda request: request.ws_stream.close_connection(1000, "r" * 124),
    "no-wait": lambda request: request.ws_stream.close_connection(wait_response=False),
    "msgutil": msgutil.close_connection,
    "twice": lambda request: [request.ws_stream.close_connection(code) for code in (1000, 4000)],
    "send-after": send_after_close,
    "receive-after": receive_after_close,
    "by-hand": by_hand,
    "two-pieces": by_hand_in_two_pieces,
    "without-reading": without_reading,
    "catch": catch,
}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    ACTIONS[request.ws_resource.partition("?")[2]](request)
