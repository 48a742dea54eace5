"""Sends every message back as it came: the smallest useful handler.

A file called `echo_wsh.py` answers at `/echo`. It needs the two functions below.
"""


def web_socket_do_extra_handshake(request):
    """Decide about the opening handshake; to return is to accept it.

    A client may offer subprotocols ("chat.v2, chat.v1"). A server that is offered some must choose
    one of them, or the connection is refused. An echo speaks them all, so it takes the first. A
    handler that understands only some looks for its own name in the list instead.
    """
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]


def web_socket_transfer_data(request):
    """Talk with one client. To return is to close the connection, with code 1000."""
    while True:
        message = request.ws_stream.receive_message()
        if message is None:  # The client has closed; the server has answered for us.
            return
        # A text message arrives as str, a binary one as bytes. Send it back as the same kind.
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
