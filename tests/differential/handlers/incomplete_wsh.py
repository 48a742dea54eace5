"""Lacks the function that every handler has to have."""


def web_socket_do_extra_handshake(request):
    pass
