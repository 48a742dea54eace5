"""Names, signatures and bases are those that pywebsocket3 4.0.2 publishes."""

import importlib
import inspect

import pytest

FRAME_DEFAULTS = "fin=1, mask=False, frame_filters=[]"
SIGNATURES = {
    "common": {
        "ExtensionParameter": "(name)",
        "ExtensionParameter.add_parameter": "(self, name, value)",
        "ExtensionParameter.get_parameter_names": "(self)",
        "ExtensionParameter.get_parameter_value": "(self, name)",
        "ExtensionParameter.get_parameters": "(self)",
        "ExtensionParameter.has_parameter": "(self, name)",
        "ExtensionParameter.name": "(self)",
        "ExtensionParsingException": "(name)",
        "format_extension": "(extension)",
        "format_extensions": "(extension_list)",
        "is_control_opcode": "(opcode)",
        "parse_extensions": "(data)",
    },
    "dispatch": {
        "DispatchException": "(name, status=404)",
        "Dispatcher": (
            "(root_dir, scan_dir=None, allow_handlers_outside_root_dir=True, handler_encoding=None)"
        ),
        "Dispatcher.add_resource_path_alias": (
            "(self, alias_resource_path, existing_resource_path)"
        ),
        "Dispatcher.do_extra_handshake": "(self, request)",
        "Dispatcher.get_handler_suite": "(self, resource)",
        "Dispatcher.passive_closing_handshake": "(self, request)",
        "Dispatcher.source_warnings": "(self)",
        "Dispatcher.transfer_data": "(self, request)",
        "_create_path_to_resource_converter": "(base_dir)",
        "_enumerate_handler_file_paths": "(directory)",
        "_normalize_path": "(path)",
        "_source_handler_file": "(handler_definition)",
    },
    "extensions": {
        "ExtensionProcessorInterface": "(request)",
        "ExtensionProcessorInterface.check_consistency_with_other_processors": "(self, processors)",
        "ExtensionProcessorInterface.get_extension_response": "(self)",
        "ExtensionProcessorInterface.is_active": "(self)",
        "ExtensionProcessorInterface.name": "(self)",
        "ExtensionProcessorInterface.request": "(self)",
        "ExtensionProcessorInterface.set_active": "(self, active)",
        "ExtensionProcessorInterface.setup_stream_options": "(self, stream_options)",
        "PerMessageDeflateExtensionProcessor": "(request)",
        "PerMessageDeflateExtensionProcessor.disable_outgoing_compression": "(self)",
        "PerMessageDeflateExtensionProcessor.enable_outgoing_compression": "(self)",
        "PerMessageDeflateExtensionProcessor.set_bfinal": "(self, value)",
        "PerMessageDeflateExtensionProcessor.set_client_max_window_bits": "(self, value)",
        "PerMessageDeflateExtensionProcessor.set_client_no_context_takeover": "(self, value)",
        "_PerMessageDeflateFramer": "(deflate_max_window_bits, deflate_no_context_takeover)",
        "_PerMessageDeflateFramer.set_bfinal": "(self, value)",
        "_PerMessageDeflateFramer.set_compress_outgoing_enabled": "(self, value)",
        "_PerMessageDeflateFramer.setup_stream_options": "(self, stream_options)",
        "_parse_window_bits": "(bits)",
        "get_extension_processor": "(extension_request)",
        "quote_if_necessary": "(s)",
    },
    "handshake": {
        "HandshakeException": "(name, status=None)",
        "VersionException": "(name, supported_versions='')",
        "do_handshake": "(request, dispatcher)",
    },
    "handshake.base": {
        "HandshakerBase": "(request, dispatcher)",
        "HandshakerBase.do_handshake": "(self)",
        "get_default_port": "(is_secure)",
        "get_mandatory_header": "(request, key)",
        "parse_host_header": "(request)",
        "parse_token_list": "(data)",
        "validate_mandatory_header": "(request, key, expected_value, fail_status=None)",
        "validate_subprotocol": "(subprotocol)",
    },
    "handshake.hybi": {
        "Handshaker": "(request, dispatcher)",
        "check_request_line": "(request)",
        "compute_accept": "(key)",
        "compute_accept_from_unicode": "(unicode_key)",
        "format_header": "(name, value)",
    },
    "http_header_util": {
        "ParsingState": "(data)",
        "consume": "(state, amount=1)",
        "consume_lws": "(state)",
        "consume_lwses": "(state)",
        "consume_string": "(state, expected)",
        "consume_token": "(state)",
        "consume_token_or_quoted_string": "(state)",
        "parse_uri": "(uri)",
        "peek": "(state, pos=0)",
        "quote_if_necessary": "(s)",
    },
    "memorizingfile": {
        "MemorizingFile": "(file_, max_memorized_lines=9223372036854775807)",
        "MemorizingFile.get_memorized_lines": "(self)",
        "MemorizingFile.readline": "(self, size=-1)",
    },
    "msgutil": {
        "MessageReceiver": "(request, onmessage=None)",
        "MessageReceiver.receive": "(self)",
        "MessageReceiver.receive_nowait": "(self)",
        "MessageReceiver.run": "(self)",
        "MessageReceiver.stop": "(self)",
        "MessageSender": "(request)",
        "MessageSender.run": "(self)",
        "MessageSender.send": "(self, message)",
        "MessageSender.send_nowait": "(self, message)",
        "close_connection": "(request)",
        "receive_message": "(request)",
        "send_message": "(request, payload_data, end=True, binary=False)",
        "send_ping": "(request, body)",
    },
    "request_handler": {
        "WebSocketRequestHandler": "(request, client_address, server)",
        "WebSocketRequestHandler.is_cgi": "(self)",
        "WebSocketRequestHandler.log_error": "(self, *args)",
        "WebSocketRequestHandler.log_request": "(self, code='-', size='-')",
        "WebSocketRequestHandler.parse_request": "(self)",
        "WebSocketRequestHandler.setup": "(self)",
        "_StandaloneConnection": "(request_handler)",
        "_StandaloneConnection.get_memorized_lines": "(self)",
        "_StandaloneConnection.read": "(self, length)",
        "_StandaloneConnection.write": "(self, data)",
        "_StandaloneRequest": "(request_handler, use_tls)",
        "_StandaloneRequest.is_https": "(self)",
    },
    "server_util": {
        "ThreadMonitor": "(interval_in_sec)",
        "ThreadMonitor.run": "(self)",
        "configure_logging": "(options)",
    },
    "standalone": {
        "WebSocketServer": "(options)",
        "_build_option_parser": "()",
        "_main": "(args=None)",
        "_parse_args_and_config": "(args)",
    },
    "stream": {
        "FragmentedFrameBuilder": "(mask, frame_filters=[], encode_utf8=True)",
        "FragmentedFrameBuilder.build": "(self, payload_data, end, binary)",
        "Frame": "(fin=1, rsv1=0, rsv2=0, rsv3=0, opcode=None, payload=b'')",
        "Stream": "(request, options)",
        "Stream.close_connection": "(self, code=1000, reason='', wait_response=True)",
        "Stream.get_last_received_opcode": "(self)",
        "Stream.receive_bytes": "(self, length)",
        "Stream.receive_filtered_frame": "(self)",
        "Stream.receive_message": "(self)",
        "Stream.send_message": "(self, message, end=True, binary=False)",
        "Stream.send_ping": "(self, body, binary=False)",
        "StreamOptions": "()",
        "create_binary_frame": f"(message, opcode=2, {FRAME_DEFAULTS})",
        "create_close_frame": "(body, mask=False, frame_filters=[])",
        "create_closing_handshake_body": "(code, reason)",
        "create_header": "(opcode, payload_length, fin, rsv1, rsv2, rsv3, mask)",
        "create_length_header": "(length, mask)",
        "create_ping_frame": "(body, mask=False, frame_filters=[])",
        "create_pong_frame": "(body, mask=False, frame_filters=[])",
        "create_text_frame": f"(message, opcode=1, {FRAME_DEFAULTS})",
        "parse_frame": "(receive_bytes, logger=None, ws_version=13, unmask_receive=True)",
    },
    "util": {
        "DeflateSocket": "(socket)",
        "DeflateSocket.recv": "(self, size)",
        "DeflateSocket.send": "(self, bytes)",
        "DeflateSocket.sendall": "(self, bytes)",
        "NoopMasker": "()",
        "NoopMasker.mask": "(self, s)",
        "RepeatedXorMasker": "(masking_key)",
        "RepeatedXorMasker.mask": "(self, s)",
        "_Deflater": "(window_bits)",
        "_Deflater.compress": "(self, bytes)",
        "_Deflater.compress_and_finish": "(self, bytes)",
        "_Deflater.compress_and_flush": "(self, bytes)",
        "_Inflater": "(window_bits)",
        "_Inflater.append": "(self, data)",
        "_Inflater.decompress": "(self, size)",
        "_Inflater.reset": "(self)",
        "_RFC1979Deflater": "(window_bits, no_context_takeover)",
        "_RFC1979Deflater.filter": "(self, bytes, end=True, bfinal=False)",
        "_RFC1979Inflater": "(window_bits=15)",
        "_RFC1979Inflater.filter": "(self, bytes)",
        "get_class_logger": "(o)",
        "get_script_interp": "(script_path, cygwin_path=None)",
        "hexify": "(s)",
        "pack_byte": "(b)",
        "prepend_message_to_exception": "(message, exc)",
    },
    "websocket_server": {
        "WebSocketServer": "(options)",
        "_alias_handlers": "(dispatcher, websock_handlers_map_file)",
    },
}


def look_up(module, path):
    found = importlib.import_module(f"fastwsh.pywebsocket.{module}")
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(
    ("module", "path", "signature"),
    [(module, *item) for module, items in SIGNATURES.items() for item in items.items()],
)
def test_signature_is_pywebsockets(module, path, signature):
    found = str(inspect.signature(look_up(module, path)))
    # A class written in Rust has no `self` to show before it is bound.
    assert found.replace("(self, /", "(self") == signature


@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("stream", "InvalidFrameException", "stream.ConnectionTerminatedException"),
        (
            "extensions",
            "PerMessageDeflateExtensionProcessor",
            "extensions.ExtensionProcessorInterface",
        ),
        ("handshake.hybi", "Handshaker", "handshake.base.HandshakerBase"),
    ],
)
def test_class_derives_as_in_pywebsocket(module, name, base):
    base_module, _, base_name = base.rpartition(".")
    assert issubclass(look_up(module, name), look_up(base_module, base_name))


@pytest.mark.parametrize("module", ["_stream_base", "_stream_exceptions", "msgutil", "stream"])
def test_exceptions_are_the_same_in_every_module_that_has_them(module):
    assert look_up(module, "BadOperationException") is look_up(
        "_stream_exceptions", "BadOperationException"
    )


@pytest.mark.parametrize("module", SIGNATURES)
def test_all_names_exist(module):
    found = importlib.import_module(f"fastwsh.pywebsocket.{module}")
    assert len(set(found.__all__)) == len(found.__all__)
    for name in found.__all__:
        assert hasattr(found, name)
