"""Answers a close frame as the query says."""

ANSWERS = {
    "1005": (1005, None),
    "4001": (4001, "answer"),
    "none": (None, None),
    "none-empty": (None, ""),
    "999": (999, ""),
    "long": (1000, "r" * 124),
    "one": (1000,),
    "text": "10",
    "nothing": None,
}


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        pass


def web_socket_passive_closing_handshake(request):
    how = request.ws_resource.partition("?")[2]
    if how == "echo":
        return request.ws_close_code, request.ws_close_reason
    return ANSWERS[how]
