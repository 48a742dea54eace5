"""Tells what the request says of itself."""


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    for name in (
        "uri",
        "unparsed_uri",
        "method",
        "protocol",
        "ws_resource",
        "ws_origin",
        "ws_version",
        "ws_protocol",
        "ws_close_code",
        "client_terminated",
        "server_terminated",
    ):
        request.ws_stream.send_message(f"{name}={getattr(request, name)!r}")
    headers = request.headers_in
    for value in (
        headers["Missing"],
        headers.get("x-REPEATED"),
        headers.get_all("X-Repeated"),
        [name for name in headers if name != "Host"],
        request.is_https(),
        [item.name() for item in request.ws_requested_extensions or ()],
        request.connection.get_memorized_lines()[0],
        request.connection.local_addr[0],
        len(request.connection.remote_addr),
    ):
        request.ws_stream.send_message(repr(value))
    request.ws_stream.receive_message()
    request.ws_stream.send_message("too late")
