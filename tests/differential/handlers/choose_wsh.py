"""Chooses a subprotocol as the query says, and tells it."""


def web_socket_do_extra_handshake(request):
    how = request.ws_resource.partition("?")[2]
    requested = request.ws_requested_protocols
    if how == "first":
        request.ws_protocol = requested[0]
    elif how == "last":
        request.ws_protocol = requested[-1]
    elif how == "stranger":
        request.ws_protocol = "stranger"
    elif how == "empty":
        request.ws_protocol = ""
    elif how == "invalid":
        request.ws_protocol = "not a token"
    elif how == "unchecked":
        request.ws_requested_protocols = None


def web_socket_transfer_data(request):
    request.ws_stream.send_message(repr((request.ws_requested_protocols, request.ws_protocol)))
    request.ws_stream.receive_message()
