"""Closes the connection with the code and the reason that the client asks for.

Send `4001 see you tomorrow` to be closed with code 4001 and that reason, `4001` for no reason, or
an empty message for a close without any code (which a browser reports as 1005).
"""

from pywebsocket3 import common

# A control frame carries at most 125 bytes (RFC 6455 5.5), and the code takes two of them.
MAX_REASON_BYTES = 123

HELP = "Send a code (1000-1003, 1007-1014 or 3000-4999) and a reason, such as: 4001 see you"


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        try:
            code, reason = parse_order(message)
        except (TypeError, ValueError) as error:
            request.ws_stream.send_message(f"{error}. {HELP}")
            continue
        # This sends our close frame and waits for the client's. Nothing can be sent after it.
        request.ws_stream.close_connection(code, reason)
        return


def web_socket_passive_closing_handshake(request):
    """Choose the answer when it is the client that closes. Without this hook it is 1000.

    Here the client gets back what it sent. A close frame may lack a code; the server then shows
    1005, which stands for "none" and must never be sent itself, so the answer has no code either.
    """
    if request.ws_close_code == common.STATUS_NO_STATUS_RECEIVED:
        return None, ""
    return request.ws_close_code, request.ws_close_reason


def parse_order(message):
    """Return the code and the reason that the client wrote; the code is None if it wants none."""
    if isinstance(message, bytes):
        raise TypeError("That was a binary message")
    number, _, reason = message.strip().partition(" ")
    if not number:
        return None, ""
    if not (number.isascii() and number.isdigit() and len(number) == 4):
        raise ValueError(f"{number[:20]!r} is not a number of four digits")
    code = int(number)
    if not is_sendable(code):
        raise ValueError(f"Close code {code} may not be sent")
    if len(reason.encode("utf-8")) > MAX_REASON_BYTES:
        raise ValueError(f"The reason is longer than {MAX_REASON_BYTES} bytes")
    return code, reason


def is_sendable(code):
    """Whether an endpoint may put this code into a close frame (RFC 6455 7.4)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
