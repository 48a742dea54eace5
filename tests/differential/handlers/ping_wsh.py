"""Has hooks for pings and pongs as the query says."""

from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    pass


def tell(kind):
    return lambda request, body: request.ws_stream.send_message(f"{kind} {body!r}")


def fail(request, body):
    raise ValueError(body)


def web_socket_transfer_data(request):
    how = request.ws_resource.partition("?")[2]
    if how == "hooks":
        request.on_ping_handler = tell("ping")
        request.on_pong_handler = tell("pong")
    elif how == "none":
        request.on_ping_handler = request.on_pong_handler = None
    elif how == "fail":
        request.on_ping_handler = fail
    elif how == "ask":
        request.on_pong_handler = tell("pong")
        for body in (b"one", b"two", b""):
            msgutil.send_ping(request, body)
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message)
