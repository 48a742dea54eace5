"""Sets permessage-deflate up as the query says, and echoes; some messages do more."""

from pywebsocket3.extensions import PerMessageDeflateExtensionProcessor


def web_socket_do_extra_handshake(request):
    how = request.ws_resource.partition("?")[2]
    processors = request.ws_extension_processors
    if how == "emptied":
        request.ws_extension_processors = []
    elif how == "nones":
        request.ws_extension_processors = [None, *processors, None]
    for processor in processors:
        assert isinstance(processor, PerMessageDeflateExtensionProcessor)
        if how == "inactive":
            processor.set_active(False)
        elif how == "bits":
            processor.set_client_max_window_bits(10)
        elif how == "no-takeover":
            processor.set_client_no_context_takeover(True)


def web_socket_transfer_data(request):
    processors = request.ws_extension_processors
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        if message == "off":
            processors[0].disable_outgoing_compression()
        elif message == "on":
            processors[0].enable_outgoing_compression()
        elif message == "final":
            processors[0].set_bfinal(True)
        elif message == "fragments":
            request.ws_stream.send_message("frag", end=False)
            request.ws_stream.send_message("", end=False)
            request.ws_stream.send_message("ments")
            continue
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
