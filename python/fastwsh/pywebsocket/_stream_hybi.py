"""The module in which pywebsocket 0.7 kept frames and the stream; older handlers name it."""

from fastwsh.pywebsocket.stream import (
    FragmentedFrameBuilder,
    Frame,
    Stream,
    StreamOptions,
    create_binary_frame,
    create_close_frame,
    create_closing_handshake_body,
    create_header,
    create_length_header,
    create_ping_frame,
    create_pong_frame,
    create_text_frame,
    parse_frame,
)

__all__ = [
    "FragmentedFrameBuilder",
    "Frame",
    "Stream",
    "StreamOptions",
    "create_binary_frame",
    "create_close_frame",
    "create_closing_handshake_body",
    "create_header",
    "create_length_header",
    "create_ping_frame",
    "create_pong_frame",
    "create_text_frame",
    "parse_frame",
]
