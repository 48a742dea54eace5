"""The native half of fastwsh: protocol rules, sockets and the stream state machine."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, SupportsIndex

__version__: Final[str]

# --- header grammar (RFC 9110 5.6, RFC 6455 4 and 9.1) ------------------------------------------

def scan_token(data: str, start: int = 0) -> int:
    """Return the end of the token that begins at `start`; equal to `start` if there is none."""

def scan_lws(data: str, start: int = 0) -> int:
    """Return the end of one linear white space (`[CRLF] 1*(SP|HT)`); equal to `start` if none."""

def scan_quoted_string(data: str, start: int = 0) -> tuple[str, int] | None:
    """Return the unquoted text and the end of the quoted-string at `start`, or None."""

def quote_if_necessary(value: str) -> str:
    """Return `value` as a token if it is one, else as a quoted-string."""

def parse_token_list(data: str) -> list[str]:
    """Parse `1#token`. Raises ValueError, with the sentence pywebsocket logs, if it is not one."""

def parse_extensions(data: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Parse a Sec-WebSocket-Extensions value. Raises ValueError."""

def parse_uri(uri: str) -> tuple[str | None, int | None, str | None]:
    """Split a request target into host, port and resource (RFC 6455 3).

    A target that is no ws: or wss: URI is itself the resource: (None, None, uri). A ws: URI without
    a host, or with a bad port, is (None, None, None). Raises ValueError for a bad IPv6 host.
    """

# --- opening handshake ---------------------------------------------------------------------------

def compute_accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key value (RFC 6455 4.2.2)."""

def decode_key(key: str) -> bytes | None:
    """Return the 16 bytes a Sec-WebSocket-Key stands for, or None if it is not canonical."""

def parse_window_bits(value: str | None) -> int:
    """Return 8 to 15. Raises ValueError (RFC 7692 7.1.2)."""

class DeflateOffer:
    """A permessage-deflate offer that can be accepted (RFC 7692 7.1)."""

    @staticmethod
    def parse(parameters: Sequence[tuple[str, str | None]]) -> DeflateOffer:
        """Raises ValueError, naming the parameter, if the offer must be declined."""
    @property
    def server_max_window_bits(self) -> int | None: ...
    @property
    def server_no_context_takeover(self) -> bool: ...
    @property
    def client_max_window_bits(self) -> int | None:
        """None if the client did not name the parameter; 15 if it named it without a value."""
    @property
    def client_no_context_takeover(self) -> bool: ...

# --- frames --------------------------------------------------------------------------------------

def create_header(
    opcode: int, payload_length: int, fin: int, rsv1: int, rsv2: int, rsv3: int, mask: bool
) -> bytes:
    """Format a frame header without its masking key. Raises ValueError for a value out of range."""

def create_length_header(length: int, mask: bool) -> bytes:
    """Format the length part of a frame header. Raises ValueError."""

def create_closing_handshake_body(code: int | None, reason: str) -> bytes:
    """Format a close body. Raises BadOperationException for a code that may not be sent."""

def apply_mask(data: bytes, key: bytes, offset: int = 0) -> bytes:
    """XOR `data` with the masking key, beginning at byte `offset` of the key (RFC 6455 5.3)."""

class HeaderDecoder:
    """Reads one frame header piece by piece."""

    def __init__(self, unmask_receive: bool = True) -> None: ...
    def feed(self, data: bytes) -> int:
        """Take header bytes; return how many more the header needs at least (0: complete).

        Raises InvalidFrameException for a wrong mask bit or a length of 2**63 and above.
        """
    @property
    def opcode(self) -> int: ...
    @property
    def fin(self) -> int: ...
    @property
    def rsv1(self) -> int: ...
    @property
    def rsv2(self) -> int: ...
    @property
    def rsv3(self) -> int: ...
    @property
    def payload_length(self) -> int: ...
    @property
    def masking_key(self) -> bytes | None: ...
    @property
    def length_octets(self) -> int:
        """Octets that held the length: 1, 2 or 8."""
    @property
    def minimal(self) -> bool:
        """Whether the length took the fewest octets (RFC 6455 5.2)."""

# --- DEFLATE (RFC 1951, RFC 7692) ----------------------------------------------------------------

class RawDeflater:
    """A raw DEFLATE compressor; `window_bits` 8 to 15 (8 compresses as 9)."""

    def __init__(self, window_bits: int) -> None: ...
    def compress(self, data: bytes) -> bytes: ...
    def compress_and_flush(self, data: bytes) -> bytes: ...
    def compress_and_finish(self, data: bytes) -> bytes: ...

class RawInflater:
    """A raw DEFLATE decompressor that goes on behind a final block."""

    def __init__(self, window_bits: int) -> None: ...
    def append(self, data: bytes) -> None: ...
    def decompress(self, size: int) -> bytes:
        """Return at most `size` bytes (-1: all). Raises ValueError for bad data (zlib.error is not used)."""
    def reset(self) -> None: ...

class DeflateFramer:
    """permessage-deflate on one stream: four filters that share a compressor and a decompressor."""

    def __init__(self, deflate_max_window_bits: int | None, deflate_no_context_takeover: bool) -> None: ...
    def set_bfinal(self, value: bool) -> None: ...
    def set_compress_outgoing_enabled(self, value: bool) -> None: ...
    def setup_stream_options(self, stream_options: Any) -> None:
        """Append the filters to the four lists and switch UTF-8 encoding off."""

# --- the stream ----------------------------------------------------------------------------------

class Stream:
    """A WebSocket stream (pywebsocket's `stream.Stream`) over a native or a Python connection."""

    def __init__(self, request: Any, options: Any) -> None: ...
    def send_message(self, message: Any, end: bool = True, binary: bool = False) -> None: ...
    def receive_message(self) -> str | bytes | None: ...
    def close_connection(
        self, code: int | None = 1000, reason: Any = "", wait_response: bool = True
    ) -> None: ...
    def send_ping(self, body: Any, binary: bool = False) -> None: ...
    def receive_bytes(self, length: int) -> bytes: ...
    def receive_filtered_frame(self) -> Any: ...
    def get_last_received_opcode(self) -> int | None: ...
