"""Goes on receiving after whatever a receive raised, and tells what that was."""

from pywebsocket3.stream import ConnectionTerminatedException


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    for _ in range(20):
        try:
            message = request.ws_stream.receive_message()
        except ConnectionTerminatedException:
            raise
        except Exception as error:  # noqa: BLE001 (told to the client)
            request.ws_stream.send_message("raised " + type(error).__name__)
            continue
        request.ws_stream.send_message(f"received {message!r}")
        if message is None:
            return
