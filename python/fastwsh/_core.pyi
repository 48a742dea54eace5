"""The native part of fastwsh: protocol rules, sockets and the stream state machine."""

from collections.abc import Awaitable, Callable, Generator, Sequence
from types import CodeType
from typing import Any, Final, Literal, Self, TypeVar, final

from typing_extensions import disjoint_base

from fastwsh.settings.proxies import Settings

__all__ = [
    "AsyncConnection",
    "AsyncConnectionGuard",
    "AsyncStream",
    "BackplaneQueue",
    "Connection",
    "DeflateFramer",
    "DeflateOffer",
    "EventLoop",
    "HeaderDecoder",
    "IncomingFrameFilter",
    "IncomingMessageFilter",
    "Inspection",
    "Operation",
    "OperationFuture",
    "OutgoingFrameFilter",
    "OutgoingMessageFilter",
    "RawDeflater",
    "RawInflater",
    "Server",
    "Stream",
    "StreamOptions",
    "Topics",
    "__version__",
    "apply_mask",
    "available_parallelism",
    "call_within",
    "check_header_field",
    "check_topic",
    "compile_source",
    "compute_accept",
    "connect",
    "connect_async",
    "create_closing_handshake_body",
    "create_header",
    "create_length_header",
    "decode_key",
    "drain_sends",
    "duplicate_socket",
    "end_with_peer",
    "is_finishing",
    "parse_extensions",
    "parse_token_list",
    "parse_uri",
    "parse_window_bits",
    "quote_if_necessary",
    "real_monotonic",
    "real_time",
    "scan_lws",
    "scan_quoted_string",
    "scan_token",
    "settle_openings",
    "unescape_path",
]

__version__: Final[str]

_T = TypeVar("_T")

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

def unescape_path(path: str) -> bytes | None:
    """Decode the escapes in a path that names a handler; return bytes.

    This decodes only characters that a URI must not contain (RFC 3986 2.1), and returns None if
    there is no such escape.
    """

# --- opening handshake ---------------------------------------------------------------------------

def check_header_field(name: str, value: str, target: str) -> None:
    """Check a header that a handler adds to the answer of an opening handshake.

    It may contain a line end if another complete header line follows, as in pywebsocket. But not if
    the request's target contains one as well: a client must not be able to add headers.

    Raises:
        ValueError: It has a NUL (RFC 9110 5.5) or another line end.
    """

def compute_accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key value (RFC 6455 4.2.2)."""

def decode_key(key: str) -> bytes | None:
    """Return the 16 bytes a Sec-WebSocket-Key stands for, or None if it is not canonical."""

def parse_window_bits(value: str | None) -> int:
    """Return 8 to 15. Raises ValueError (RFC 7692 7.1.2)."""

@final
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

@final
class HeaderDecoder:
    """Reads one frame header piece by piece."""

    def __new__(cls, unmask_receive: bool = True) -> Self: ...
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

@final
class RawDeflater:
    """A raw DEFLATE compressor; `window_bits` 8 to 15 (8 compresses as 9)."""

    def __new__(cls, window_bits: int) -> Self: ...
    def compress(self, data: bytes) -> bytes:
        """Return what is ready; the rest waits for more data."""
    def compress_and_flush(self, data: bytes) -> bytes:
        """Return all of it, ended by an empty stored block (Z_SYNC_FLUSH)."""
    def compress_and_finish(self, data: bytes) -> bytes:
        """Return all of it, ended by a final block (Z_FINISH)."""

@final
class RawInflater:
    """A raw DEFLATE decompressor that goes on after a final block."""

    def __new__(cls, window_bits: int) -> Self: ...
    def append(self, data: bytes) -> None:
        """Append to the unused input."""
    def decompress(self, size: int) -> bytes:
        """Return at most `size` bytes (-1: all). Raises ValueError for bad data."""
    def reset(self) -> None:
        """Forget the window and an unfinished message; input stays."""

@final
class DeflateFramer:
    """permessage-deflate on one stream: four filters that share a compressor and a decompressor."""

    def __new__(
        cls, deflate_max_window_bits: int | None, deflate_no_context_takeover: bool
    ) -> Self: ...
    def set_compression(self, level: int, min_bytes: int) -> None:
        """Set zlib's level, 0 to 9, and the smallest size of messages to compress.

        To be called before the first message, since the window is empty afterwards.

        Raises:
            ValueError: The level is out of range.
        """
    def set_max_inflated_bytes(self, max_bytes: int | None) -> None:
        """Refuse messages that are longer when decompressed; None, the default, means no limit."""
    def set_bfinal(self, value: bool) -> None:
        """End messages with a final block (RFC 7692 7.2.3.4)."""
    def set_compress_outgoing_enabled(self, value: bool) -> None:
        """Compress messages from now on, or send them uncompressed."""
    def setup_stream_options(self, stream_options: Any) -> None:
        """Append the filters to the four lists and switch UTF-8 encoding off."""

@final
class OutgoingMessageFilter:
    """Compresses messages."""

    def filter(self, message: Any, end: bool = True, binary: bool = False) -> Any:
        """Return the message as bytes, compressed unless that is switched off."""

@final
class IncomingMessageFilter:
    """Decompresses messages that were marked."""

    def decompress_next_message(self) -> None:
        """Mark the current message as compressed."""
    def filter(self, message: Any) -> Any:
        """Return the message, decompressed if it was marked."""

@final
class OutgoingFrameFilter:
    """Sets RSV1 on the first frame of a compressed message."""

    def filter(self, frame: Any) -> None:
        """Change the frame."""

@final
class IncomingFrameFilter:
    """Marks a message as compressed if its frame has RSV1, and clears the bit."""

    def filter(self, frame: Any) -> None:
        """Change the frame."""

# --- the stream ----------------------------------------------------------------------------------

@disjoint_base
class StreamOptions:
    """The attributes of `fastwsh.pywebsocket.stream.StreamOptions`."""

    outgoing_frame_filters: list[Any]
    incoming_frame_filters: list[Any]
    outgoing_message_filters: list[Any]
    incoming_message_filters: list[Any]
    encode_text_message_to_utf8: bool
    mask_send: bool
    unmask_receive: bool
    def __new__(cls) -> Self: ...

@disjoint_base
class Stream:
    """A WebSocket stream (pywebsocket's `stream.Stream`) over a native or a Python connection.

    Any thread may use it; messages are sent in the order of the calls. Every method raises
    ConnectionTerminatedException when the connection has ended; if a send notices that, the
    exception is a BrokenPipeError and a ConnectionResetError as well. It may be subclassed; only
    `__init__` reads the arguments.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def __init__(self, request: Any, options: Any) -> None: ...
    def send_message(self, message: Any, end: bool = True, binary: bool = False) -> None:
        """Send a message, or a piece of one; block until the kernel has taken it.

        Args:
            message: str, or bytes-like with `binary`.
            end: Whether the message ends with this piece.
            binary: Whether to send it as a binary message.

        Raises:
            BadOperationException: After our close frame, for str with `binary`, or for a piece
                of another type than the message.
        """
    def receive_message(self) -> str | bytes | None:
        """Return the next message; None once, for the peer's close frame.

        Answers pings and takes pongs meanwhile (or gives them to the request's hooks).

        Raises:
            BadOperationException: After the peer's close frame.
            InvalidFrameException, UnsupportedFrameException, InvalidUTF8Exception: The peer broke
                the protocol; the next call goes on behind the offending frame or message.
        """
    def close_connection(
        self, code: int | None = 1000, reason: Any = "", wait_response: bool = True
    ) -> None:
        """Send a close frame and wait for the peer's; not after 1001 and 1002. Once only.

        Args:
            code: 1000 to 4999 without 1005, 1006 and 1015; None sends no code.
            reason: At most 123 bytes in UTF-8.
            wait_response: Whether to wait at all.

        Raises:
            BadOperationException: For a code or reason that may not be sent.
            ConnectionTerminatedException: If something else than a close frame is answered.
        """
    def send_ping(self, body: Any, binary: bool = False) -> None:
        """Send a ping of at most 125 bytes. Raises BadOperationException for more."""
    def receive_bytes(self, length: int) -> bytes:
        """Return exactly `length` raw bytes of the connection, still masked."""
    def receive_filtered_frame(self) -> Any:
        """Return the next frame after all filters; it must be a whole data message. For tests."""
    def get_last_received_opcode(self) -> int | None:
        """Return the opcode of the last message or control frame that was received."""
    @property
    def _request(self) -> Any: ...
    @property
    def _options(self) -> Any: ...
    @property
    def _original_opcode(self) -> int | None: ...
    def _receive_frame(self) -> tuple[int, bytes, int, int, int, int]: ...
    def _receive_frame_as_frame_object(self) -> Any: ...
    def _get_message_from_frame(self, frame: Any) -> bytes | None: ...
    def _process_close_message(self, message: Any) -> None: ...
    def _process_ping_message(self, message: Any) -> None: ...
    def _process_pong_message(self, message: Any) -> None: ...
    def _forget_received(self) -> None:
        """Free what was received of a message, for a connection that has ended."""
    def _send_closing_handshake(self, code: int | None, reason: Any) -> None: ...
    def _send_pong(self, body: Any) -> None: ...
    def _read(self, length: int) -> bytes: ...
    def _write(self, bytes_to_write: Any) -> None: ...

# --- clocks ---------------------------------------------------------------------------------------

def real_monotonic() -> float:
    """Return seconds since some moment, even if `time.monotonic` was replaced."""

def real_time() -> float:
    """Return seconds since 1970, even if `time.time` was replaced."""

# --- handlers -------------------------------------------------------------------------------------

def compile_source(source: str, file_name: str) -> CodeType:
    """Compile a module as the built-in `compile` does, in a process that never calls that.

    The built-in makes the types of all syntax trees when it is first called. It takes any text;
    this would decode one that declares an encoding or begins with a BOM (PEP 263).

    Raises:
        SyntaxError: It is not Python.
        ValueError: It has a NUL, or a character that UTF-8 cannot encode.
    """

# --- workers --------------------------------------------------------------------------------------

def duplicate_socket(connection: Connection) -> int:
    """Return a duplicate of a connection's descriptor, which the caller closes.

    Raises:
        OSError: The connection is closed, or a stream of HTTP/2; or there are no descriptors.
    """

def available_parallelism() -> int:
    """Return how many threads of this process can run at the same time."""

def end_with_peer(descriptor: int, seconds: float, folder: str) -> None:
    """Send SIGTERM to this process when the other end of a socket is closed, and SIGKILL later.

    Args:
        descriptor: The socket, which stays the caller's.
        seconds: The time from SIGTERM to SIGKILL.
        folder: A folder to remove before, if it is still there.
    """

# --- asyncio -------------------------------------------------------------------------------------

@final
class EventLoop:
    """The native part of an asyncio event loop: it knows which connections can go on.

    Args:
        event_loop: The event loop, which calls `run` when `fileno` is readable, or whose selector
            calls `wait`.
        start: Called with each connection from a server, and a callable for its end.
    """

    def __new__(
        cls,
        event_loop: Any,
        start: Callable[[Connection, AsyncConnectionGuard], object] | None = None,
    ) -> Self: ...
    def fileno(self) -> int:
        """Return the descriptor to watch."""
    def enter_thread(self) -> None:
        """Mark the calling thread as that of this event loop, for good: nothing may block it."""
    def run(self) -> None:
        """Resume the coroutines that can go on; with nest_asyncio, the event loop does it soon."""
    def run_now(self) -> None:
        """Resume the coroutines that can go on."""
    def watch(self, on_stall: Callable[[int, float], object], loop_says: bool) -> None:
        """Watch the calling thread until `end`.

        Args:
            on_stall: Called in the watchdog's thread when a slice of the thread's work has taken
                100 ms, with the number of the slice and its seconds so far.
            loop_says: Whether the event loop calls `go_idle` and `resume`. Otherwise only the work
                in `run` is watched.
        """
    @property
    def slice(self) -> int:
        """The number of the current slice of work."""
    def watch_extra(self, descriptor: int) -> None:
        """Let `wait` also end when this descriptor becomes readable."""
    def wait(self, timeout: float | None) -> bool:
        """Resume coroutines until the loop, which is one of asyncio's, has something else to do.

        Args:
            timeout: The most seconds to wait; None: no limit.

        Returns:
            Whether the descriptor of `watch_extra` has become readable. This is told once, until
            there is nothing to read any more.

        Raises:
            RuntimeError: `end` was called.
            BaseException: What a task must not keep, such as KeyboardInterrupt.
        """
    def go_idle(self) -> None:
        """Note that the event loop is about to wait."""
    def resume(self) -> None:
        """Note that the event loop goes on, with a new slice of its work."""
    def end(self) -> None:
        """Accept no more connections."""

@final
class AsyncConnectionGuard:
    """Closes a connection after its handler has ended; call it with any arguments."""

    def __call__(self, *_arguments: Any) -> None: ...

@disjoint_base
class OperationFuture:
    """The part of an `Operation` that asyncio's tasks take for a future."""

    _asyncio_future_blocking: bool | None
    def result(self) -> None: ...
    def cancel(self, msg: Any = None) -> bool: ...
    def add_done_callback(
        self, callback: Callable[[Operation], object], /, *, context: Any = None
    ) -> None: ...

@final
class Operation(OperationFuture):
    """An awaitable call of an `AsyncStream`; does nothing before it is awaited.

    It has the methods of a coroutine, so that a task can be made of it, and those of a future that
    asyncio's tasks need. Only the thread of the event loop may use it.
    """

    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...
    def get_loop(self) -> Any: ...

def drain_sends(connection: AsyncConnection) -> Awaitable[None]:
    """Wait until the kernel has taken everything. Raises OSError if the peer has gone."""

@final
class AsyncConnection:
    """A connection for the coroutines of one event loop.

    Args:
        event_loop: The event loop. Only its thread may call the methods.
        connection: The connection.
    """

    def __new__(cls, event_loop: EventLoop, connection: Connection) -> Self: ...
    def watch_end(self, on_end: Callable[[], object]) -> None:
        """Set a function to call when the peer goes away while no call waits for it.

        It is not called as long as the peer has left a message to be received.
        """
    def watch_end_of_rest(self, on_end: Callable[[], object]) -> None:
        """Set such a function; whatever the peer has left is of no interest any more."""
    def is_end_reported(self) -> bool:
        """Whether a call has told the handler of the end, or the handler closes the connection."""
    def watch_server_close(self) -> None:
        """Call the same function when the peer has answered a stopping server's close frame."""
    def close(self) -> None:
        """Forget the connection."""

@final
class AsyncStream:
    """A WebSocket stream with awaitable methods, which have the blocking stream's names.

    `request.ws_stream` of a handler that is a coroutine function. Only its event loop may use it.
    Several tasks may send at the same time: messages are sent whole, in the order of the calls. If
    several tasks receive, each gets some of the messages. A cancelled call has no effect, except
    that a message is sent to its end if sending has begun.

    Iterating receives messages until the peer closes the connection.

    Args:
        stream: The blocking stream.
        connection: Its connection in the event loop.
    """

    def __new__(cls, stream: Stream, connection: AsyncConnection) -> Self: ...
    @property
    def blocking(self) -> Stream:
        """The same stream with blocking methods, for other threads.

        In the event loop they raise RuntimeError instead of blocking it.
        """
    def receive_message(self) -> Awaitable[str | bytes | None]:
        """Return the next message; None once, for the peer's close frame.

        Answers pings and takes pongs meanwhile (or gives them to the request's hooks).

        Raises:
            ConnectionTerminatedException: The connection has ended without a close frame.
            BadOperationException: The peer's close frame has been received before.
            InvalidFrameException, UnsupportedFrameException, InvalidUTF8Exception: The peer broke
                the protocol; the next call goes on behind the offending frame or message.
        """
    def send_message(
        self, message: Any, end: bool = True, binary: bool | None = None
    ) -> Awaitable[None]:
        """Send a message, or a piece of one; return when the kernel has taken all of it.

        So a peer that reads slowly slows the sender down.

        Args:
            message: str, or bytes-like for a binary message.
            end: Whether the message ends with this piece.
            binary: Whether to send it as a binary message; by default if it is not a str.

        Raises:
            BadOperationException: After our close frame, for str with `binary`, or for a piece
                of another type than the message.
            OSError: The peer has gone.
        """
    def send_ping(self, body: Any, binary: bool = False) -> Awaitable[None]:
        """Send a ping of at most 125 bytes. Raises BadOperationException for more."""
    def close_connection(
        self, code: int | None = 1000, reason: Any = "", wait_response: bool = True
    ) -> Awaitable[None]:
        """Send a close frame and wait for the peer's; not after 1001 and 1002. Once only.

        Args:
            code: 1000 to 4999 without 1005, 1006 and 1015; None sends no code.
            reason: At most 123 bytes in UTF-8.
            wait_response: Whether to wait at all.

        Raises:
            BadOperationException: For a code or reason that may not be sent.
            ConnectionTerminatedException: If something else than a close frame is answered, or
                nothing within the time for closing.
        """
    def get_last_received_opcode(self) -> int | None:
        """Return the opcode of the last message or control frame that was received."""
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> Awaitable[str | bytes]: ...

# --- the server ----------------------------------------------------------------------------------

@final
class Connection:
    """One connection of the server; handlers know it as `request.connection`.

    Reading and writing block and may be done from any thread.
    """

    def write(self, data: Any) -> int:
        """Send raw bytes in a system call of their own. Raises OSError if the peer is gone."""
    def read(self, length: int = -1) -> bytes:
        """Wait for raw bytes; return at most `length` of them, and at most 64 KiB at a time.

        This is unbuffered, as in pywebsocket. An empty result means the end of the stream; -1 reads
        to the end.
        """
    def half_close(self) -> None:
        """End our direction (a FIN) without a close frame; the peer may go on sending.

        Raises OSError if the peer is gone.
        """
    def reset(self) -> None:
        """End the connection by a reset (an RST) instead of a close frame and an orderly end.

        Calls that wait for the connection end.
        """
    @property
    def remote_addr(self) -> tuple[Any, ...]:
        """(host, port), or (host, port, flow, scope) of IPv6; "" on a Unix socket.

        Behind a trusted proxy, the client's address; the port is 0 if the proxy does not report it.
        """
    @property
    def local_addr(self) -> tuple[str, int]:
        """The configured name of the server, and its port."""
    def get_remote_addr(self) -> tuple[Any, ...]:
        """Return `remote_addr`."""
    def get_local_addr(self) -> tuple[str, int]:
        """Return `local_addr`."""
    def get_memorized_lines(self) -> list[bytes]:
        """Return the lines of the request head as received."""
    @property
    def method(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def request_line(self) -> str: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    @property
    def is_tls(self) -> bool: ...
    @property
    def asks_for_websocket(self) -> bool:
        """Whether the request is meant to open a WebSocket, even if it is not valid."""
    @property
    def strict_compat(self) -> bool: ...
    @property
    def max_inflated_bytes(self) -> int | None: ...
    @property
    def server(self) -> Any: ...
    @property
    def _request_handler(self) -> Any: ...
    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
    def open(
        self,
    ) -> tuple[list[str] | None, list[tuple[str, list[tuple[str, str | None]]]] | None, str | None]:
        """Check the opening handshake; return the offered subprotocols and extensions, and Origin.

        Raises:
            HandshakeException: The request breaks a rule.
            VersionException: The client uses another version.
        """
    def send_answer(
        self,
        protocol: str | None,
        extensions: str | None,
        extra: list[tuple[str, str]],
        through: Any,
    ) -> bool:
        """Send the answer 101. Returns whether the connection is open, or the server stopping.

        `through` is `request.connection`. An object that a handler has put there gets the bytes.
        """
    def send_refusal(
        self,
        status: int,
        why: str,
        headers: list[tuple[str, str]] = ...,
        body: bytes | None = None,
    ) -> None:
        """Send an answer that refuses the handshake, and log why.

        Repeated refusals of one handler are logged only now and then. Without a body, the answer
        has a page for people. The headers must be checked, and say nothing of the length.
        """
    def flush(self) -> None:
        """Send what is held back, and keep an error for the next call that sends."""
    def set_ping_hook(self, present: bool) -> None:
        """Set whether the handler wants to see pings, which the server then does not answer."""
    def has_ended(self) -> bool:
        """Whether the handler has ended, so that the connection cannot be used any more."""
    def disconnect(self) -> None:
        """End the TCP connection at once, for a client; calls that wait for it wake up."""
    def account(self) -> tuple[int, int, int, int, int | None]:
        """Return counts: messages received and sent, bytes received and sent, our close code.

        Bytes count after the request's head, from our answer on, without the overhead of TLS. The
        code is 1005 for a close frame without a code, and None if none was sent.
        """
    def note_failure(self) -> None:
        """Count a failure of the handler, for the metrics."""
    def is_peer_gone(self) -> bool:
        """Tell whether the peer has ended the connection and everything that it sent was read."""
    def set_clean(self) -> None:
        """Note that close frames were exchanged in both directions, so nothing more will come."""

@final
class Topics:
    """The topics of one server.

    Everything raises RuntimeError in a process that was forked from that of the server.
    """

    @staticmethod
    def of(connection: Connection) -> Topics:
        """Return the topics of a connection's server; TypeError for a client's connection."""
    @staticmethod
    def here() -> Topics | None:
        """Return the topics of the server whose handler calls this in the hub; None elsewhere."""
    @staticmethod
    def begin(connection: Connection, stream: Any) -> bool:
        """Make the subscriptions of the extra handshake, just before it is answered.

        A client that has the answer must not miss what is published from then on. Returns whether
        there are any: then what is published waits for `release`, which must follow the answer.
        """
    @staticmethod
    def release(connection: Connection) -> None:
        """Let messages of topics be sent, as the opening handshake has been answered."""
    def subscribe(self, connection: Connection, topic: str, stream: Any) -> None:
        """Subscribe a connection; before the end of its opening handshake, from then on.

        Args:
            connection: A connection of this server.
            topic: The name.
            stream: Its stream, which knows whether messages may be compressed; None: they are not.

        Raises:
            ValueError: The name is empty or too long, or the connection is one of another server.
            OSError: The system has no thread for sending.
        """
    def unsubscribe(self, connection: Connection, topic: str) -> None:
        """End a subscription, if there is one."""
    def publish(
        self,
        topic: str,
        message: str | bytes | bytearray | memoryview,
        binary: bool | None,
        exclude: list[Connection],
    ) -> int:
        """Hand a message to all subscribers but some; return their number."""
    def subscribers(self, topic: str) -> int:
        """Return the number of subscribers that are open."""

def check_topic(topic: str) -> None:
    """Raise ValueError unless there can be a topic of this name."""

@final
class BackplaneQueue:
    """What the topics of a server have for other servers: the native end of a backplane.

    Args:
        topics: Those of the server.
        node: The server's name among the others.

    Raises:
        RuntimeError: The server has a backplane already.
        OSError: The system has no descriptor.
    """

    def __new__(cls, topics: Topics, node: str) -> Self: ...
    @property
    def node(self) -> str: ...
    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something to take."""
    def take(self) -> list[tuple[int, str, bytes, bool, int, int]]:
        """Return what there is, in its order.

        Each is a kind (0: first subscriber of a topic, 1: the last one has left, 2: a message), the
        topic, and of a message its bytes, whether it is text, its epoch and its number in that.
        """
    def receive(self, topic: str, payload: bytes, is_text: bool) -> int:
        """Hand a message from elsewhere to the subscribers; return how many got it."""
    def note(self, is_connected: bool, missed: int, lost: int) -> None:
        """Note for the metrics whether others can be reached, and what did not arrive."""
    def close(self) -> None:
        """Keep nothing any more for the others."""

@final
class Server:
    """The native server under `fastwsh.server.WebSocketServer`.

    Args:
        run: Called with each connection, in a thread of its own.
        owner: The Python server; only a weak reference to it is kept.
        document_root: The folder with the files for requests without a handler.
        private_files: Files that are not served, under any name.
        serve_dot_files: Whether to serve files and folders with names that begin with a dot.
        local_addr: The server's address for handlers.
        limits: As `fastwsh.settings.limits.of` returns them.
        proxies: As `fastwsh.settings.proxies.settings` returns it.
        validation_host: The host that an absolute request target must name; None: any.
        validation_port: The port likewise.
        strict_compat: Whether to behave as pywebsocket where we differ on purpose.
        http2: Whether HTTP/2 is spoken beside HTTP/1.1.
        http3_port: The UDP port of HTTP/3 that answers of the other versions name; 0 stands for the
            number of the connection's own port, None for no HTTP/3.
        tls: Files of the private key, the certificate chain, the CA for client certificates (None:
            clients are not asked), and whether client certificates are optional.
        content_types: Returns the content types of files by their extensions, which begin with a
            dot; called when the first file is sent.
        cgi_directories: Paths under the document root with CGI programs.
        cgi_timeout: Seconds that a program may take; None: no limit.
        cgi_user: User and group to run programs as; None: the server's.
        cgi_is_executable: Decides whether a path is a program; None: by its mode bits.
        stack_size: Address space for the stack of each handler's thread, in bytes.
        hubs: How many hubs there are; 0 if no handler runs in one.
        shared_counts: Where several workers count connections together: a descriptor, which stays
            the caller's, the number of this worker from 0, and how many there are.
        slow_subscriber: What happens to a connection for which too many messages of topics wait:
            close, drop-newest or drop-oldest.
        inspect: The most bytes of what `inspection` keeps of frames, the number of the first
            connection, and what to add for each other; None: nothing is watched.

    Raises:
        OSError: The shared counts cannot be mapped.
        ValueError: A TLS file cannot be used; the text is a sentence for the operator.
    """

    def __new__(
        cls,
        run: Callable[[Connection], None],
        owner: Any,
        *,
        document_root: str,
        private_files: Sequence[str],
        serve_dot_files: bool,
        local_addr: tuple[str, int],
        limits: dict[str, float],
        proxies: Settings,
        validation_host: str | None = None,
        validation_port: int | None = None,
        strict_compat: bool = False,
        http2: bool = False,
        http3_port: int | None = None,
        tls: tuple[str, str, str | None, bool] | None = None,
        content_types: Callable[[], dict[str, str]] | None = ...,
        cgi_directories: list[bytes] = ...,
        cgi_timeout: float | None = None,
        cgi_user: tuple[int, int] | None = None,
        cgi_is_executable: Callable[[str], object] | None = None,
        stack_size: int,
        hubs: int = 0,
        shared_counts: tuple[int, int, int] | None = None,
        slow_subscriber: str = "close",
        inspect: tuple[int, int, int] | None = None,
    ) -> Self: ...
    @property
    def topics(self) -> Topics:
        """The topics of this server."""
    @property
    def inspection(self) -> Inspection | None:
        """What is known of the connections with a handler; None without `inspect`."""
    def set_event_loop(self, event_loop: EventLoop) -> None:
        """Set the event loop for handlers that are coroutine functions. May be called once."""
    def set_routes(self, routes: dict[bytes, str | None]) -> None:
        """Set the resources with handlers, and where each handler runs: threads, hub or loop.

        For None, the owner's `_find_concurrency` is asked. "*" stands for all other resources.
        """
    def ask_for_admission(self, asks: bool) -> None:
        """Call the owner's `_admits` with a descriptor of each connection, which it must close."""

    def ask_for_every_request(self, asks: bool) -> None:
        """Call the owner's `_find_concurrency` for plain requests without a route, too."""

    def set_body_paths(self, paths: set[str]) -> None:
        """Say which handlers get requests with a body; others are refused."""

    def set_credential(self, credential: str | None) -> None:
        """Require this value of the Authorization header."""
    @staticmethod
    def check_tls(tls: tuple[str, str, str | None, bool]) -> None:
        """Read the files, and raise ValueError with a sentence if they cannot be used."""
    @staticmethod
    def certificate_fault(tls: tuple[str, str, str | None, bool]) -> str | None:
        """Say that the server's certificate has expired or is not valid yet, and the date."""
    def reload_tls(self) -> None:
        """Read the files again, for new connections. Raises ValueError with a sentence."""
    def set_log_level(self, level: int) -> None:
        """Drop events below this level of `logging`."""
    def listen(self, descriptor: int) -> None:
        """Accept from a TCP or Unix socket; takes the descriptor over (pass a duplicate)."""
    def serve_http3(self, descriptor: int, peer: tuple[str, int], local: tuple[str, int]) -> bool:
        """Serve a connection of HTTP/3, which comes as one of HTTP/2 on a Unix socket.

        The streams of the one are the streams of the other; requests are answered as such of
        HTTP/3.

        Args:
            descriptor: The socket, which is taken over (pass a duplicate).
            peer: Address and port of the client.
            local: The server's.

        Returns:
            Whether the connection is served; False if there are too many.

        Raises:
            OSError: The descriptor is no socket.
        """
    def serve_accepted(self, descriptor: int) -> None:
        """Serve a connected socket; takes the descriptor over (pass a duplicate)."""
    def stop_listening(self) -> None:
        """Stop accepting, until `listen` is called again; open connections stay.

        The descriptors that were taken over are closed on return.
        """
    def next_event(
        self, timeout: float
    ) -> (
        tuple[Literal["line"], int, str, str]
        | tuple[Literal["no_handler"], str, bool]
        | tuple[Literal["refused"], Any, str, int, str]
        | tuple[Literal["end"]]
        | tuple[Literal["stall"], str, float]
        | None
    ):
        """Wait for an event for the operator; None if there was none in time.

        ("line", level, logger, text); ("no_handler", resource, whether an upgrade was asked for);
        ("refused", peer's address, resource, status, HTTP version), after `report_refusals`: a
        request for a WebSocket connection that came to no handler has been answered; ("stall",
        resource, seconds for which its handler has kept the hub's thread); ("end",): the server
        has ended, and this is the last.
        """
    def report_refusals(self) -> None:
        """Make events of requests that have reached no handler."""
    def listen_for_metrics(self, descriptor: int) -> None:
        """Answer /metrics and /healthz on a listening socket, which is taken over.

        /healthz is 200 until the server closes, and 503 from then until it ends. Raises OSError.
        """
    def metrics(self) -> str:
        """Return the current metrics, in Prometheus' text format 0.0.4.

        Counters of messages, bytes, handshakes and closes are those of all connections with a
        handler since the server was made. Counters of the hub are those of the process.
        """
    def take_lost_events(self) -> int:
        """Return how many events were dropped since the last call."""
    def close(self) -> None:
        """Stop accepting and send 1001 to every connection."""
    def wait_closed(self, timeout: float) -> bool:
        """Wait until no connection is left; after the time, cut the rest and return False."""
    def wait_handlers(self, timeout: float) -> bool:
        """The same for the connections of handlers alone."""
    def end(self) -> None:
        """End all native threads."""

# --- the client ----------------------------------------------------------------------------------

def connect(
    url: str, options: dict[str, Any]
) -> tuple[Connection, str | None, list[tuple[str, str]], tuple[int | None, bool] | None]:
    """Open a client's connection; blocks, with signals handled meanwhile.

    Args:
        url: `ws://`, `wss://` or `ws+unix://`.
        options: The result of `fastwsh.client.options.Options.to_core`. If "head" is bytes, these
            are sent instead of the opening request, and the caller reads the answer.

    Returns:
        The connection, the subprotocol that the server has chosen, the headers of its answer, and,
        if permessage-deflate was negotiated, our largest window in bits and whether we compress
        every message by itself.

    Raises:
        ConnectArgumentError: The URL, a header, a subprotocol or a file cannot be used.
        ConnectError: There is no connection; see `fastwsh.errors` for its subclasses.
    """

def connect_async(
    url: str, options: dict[str, Any]
) -> Awaitable[
    tuple[Connection, str | None, list[tuple[str, str]], tuple[int | None, bool] | None]
]:
    """As `connect`, for the event loop that runs in this thread; cancelling gives everything up."""

def is_finishing() -> bool:
    """Whether the program ends, and has its connections over HTTP/2 end as well."""

def settle_openings() -> None:
    """Wait until the threads behind `connect_async` have left the interpreter, if the program ends.

    A function of atexit may connect when the program's end no longer waits for them.
    """

def call_within(timeout: float | None, work: Callable[[], _T], *, cuts_sends: bool = False) -> _T:
    """Call `work`, in which native streams and connections wait in the way of a client.

    Signals are handled while they wait. In the hub, other handlers run while one waits without a
    timeout, and wait while one waits with it.

    Args:
        timeout: Seconds after which a wait for the peer ends; None: no limit. A frame that is being
            sent has ten more seconds, so that it is not cut off.
        work: Called without arguments.
        cuts_sends: Whether the timeout also ends sends at once. The connection cannot be used after
            that, as part of a frame may have been sent.

    Raises:
        TimeoutError: Without an `errno`. What was received of a message stays for the next call.
        ValueError: The timeout is not a number.
    """

# --- the inspector -------------------------------------------------------------------------------

@final
class Inspection:
    """What is known of the connections of a server, and what can be done to them.

    A connection is named by its number. What is done to one that is not known, or has
    ended, does nothing and returns False.
    """

    def ids(self) -> list[int]:
        """Return the numbers of all known connections."""
    def page(
        self,
        *,
        key: str = "id",
        descending: bool = False,
        filter: str = "",  # noqa: A002 (its name where it is shown)
        open: bool = True,  # noqa: A002
        ended: bool = True,
        offset: int = 0,
        count: int = 50,
    ) -> dict[str, Any]:
        """Return some connections, and how many there are.

        Args:
            key: What they are sorted by: id, path, peer, messages, bytes or waiting.
            descending: Whether the largest come first.
            filter: What path, address, subprotocol or `#` with the number must contain.
            open: Whether open connections are wanted.
            ended: Whether those are wanted that have ended.
            offset: How many to skip.
            count: How many to return at most.

        Raises:
            ValueError: There is no such key.
        """
    def keys(
        self,
        *,
        key: str = "id",
        descending: bool = False,
        filter: str = "",  # noqa: A002
        open: bool = True,  # noqa: A002
        ended: bool = True,
        most: int = 50,
    ) -> dict[str, Any]:
        """Return how many connections there are, and of some the values that they are sorted by.

        `keys` of the result has a value and the number of each. Values of several servers can be
        compared. The arguments are those of `page`.
        """
    def rows(self, ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return what a page shows of these connections, without those that are not known."""
    def connection(self, id: int) -> dict[str, Any] | None:  # noqa: A002
        """Return all that is known of a connection but its frames."""
    def records(
        self,
        id: int,  # noqa: A002
        *,
        after: int = 0,
        most: int = 1000,
        data_bytes: int = 65536,
    ) -> dict[str, Any] | None:
        """Return frames and notes of a connection behind the one with the number `after`."""
    def note(self, id: int, text: str) -> bool:  # noqa: A002
        """Add a note to a connection."""
    def insert(self, id: int, data: bytes, is_message: bool) -> str:  # noqa: A002
        """Send bytes between frames of the handler, without waiting.

        Returns:
            "done"; "busy" (the handler is sending, or the client does not read), "inside a message"
            (the handler has begun a fragmented one) or "ended".
        """
    def close(self, id: int, code: int, reason: str = "") -> bool:  # noqa: A002
        """Send a close frame, as a server that stops.

        Raises:
            ValueError: Code or reason may not be sent.
        """
    def reset(self, id: int) -> bool:  # noqa: A002
        """Reset a connection."""
    def half_close(self, id: int) -> bool:  # noqa: A002
        """End our direction without a close frame."""
    def set_pace(self, id: int, bytes_per_second: int | None) -> bool:  # noqa: A002
        """Let what is sent trickle, or stall with 0, which reads nothing either; None: go on."""
    def drop_at(self, id: int, count: int) -> bool:  # noqa: A002
        """Reset a connection at the `count`th message from now on; 0: does not."""
    def memory(self) -> tuple[int, int, int]:
        """Return the bytes of all frames, the most of them, and how many records were dropped."""
    def latency(self) -> list[int]:
        """Return how many messages were answered within 2**n microseconds, for n from 0 on.

        Each number counts those that are not in the one before.
        """
