"""Handlers that send back what they receive: text as text, bytes as bytes."""

ECHO = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
"""The lines of `transfer_data` for `write_handler`, which can make a coroutine function of them."""

ECHO_MODULE = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""

ASYNC_ECHO_MODULE = """
async def web_socket_do_extra_handshake(request):
    pass

async def web_socket_transfer_data(request):
    async for message in request.ws_stream:
        await request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
