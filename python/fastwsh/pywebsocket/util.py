"""Loggers, masking and DEFLATE, as handlers and clients call them (RFC 6455 5.3, RFC 1951)."""

from __future__ import annotations

import logging  # noqa: TC003 (pywebsocket has it here)
import os
import re
import struct
import traceback
import zlib

from fastwsh import _core
from fastwsh.output import loggers
from fastwsh.pywebsocket._signatures import hide_annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as sockets
    from typing import Any

__all__ = [
    "DeflateConnection",
    "DeflateRequest",
    "DeflateSocket",
    "NoopMasker",
    "RepeatedXorMasker",
    "drain_received_data",
    "get_class_logger",
    "get_script_interp",
    "get_stack_trace",
    "hexify",
    "md5_hash",  # noqa: F822 (see _HASHES)
    "pack_byte",
    "prepend_message_to_exception",
    "sha1_hash",  # noqa: F822
    "wrap_popen3_for_win",
]

# pywebsocket 0.7 had this; clients that vendored it still call it.
get_stack_trace = traceback.format_exc
# and these, which are read from `hashlib` when asked for: that loads OpenSSL
_HASHES = {"md5_hash": "md5", "sha1_hash": "sha1"}

# The modules of pywebsocket with classes that are elsewhere in fastwsh.
_HISTORICAL_MODULES = {
    "fastwsh._core": "pywebsocket3.stream",
    "fastwsh.running.request": "pywebsocket3.request_handler",
    "fastwsh.server": "pywebsocket3.websocket_server",
}
_PACKAGE, _, _ = __name__.rpartition(".")


def __getattr__(name: str) -> Any:
    if name not in _HASHES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import hashlib  # noqa: PLC0415 (see _HASHES)

    return getattr(hashlib, _HASHES[name])


def prepend_message_to_exception(message: str, exc: BaseException) -> None:
    """Put `message` before the exception's own text, which becomes its only argument."""
    exc.args = (message + str(exc),)


def get_script_interp(script_path: str, cygwin_path: str | None = None) -> str | None:
    """Return the command in the script's `#!` line, or None if it has no such line.

    Args:
        script_path: The script.
        cygwin_path: Folder in which to look for the interpreter instead of the one that the script
            names, for a Python that does not know Cygwin's paths.
    """
    with open(script_path, encoding="utf-8", errors="surrogateescape") as script:  # noqa: PTH123
        first_line = script.readline()
    if not first_line.startswith("#!"):
        return None
    command = first_line[2:].rstrip("\r\n")
    parts = re.match(r"[^ ]*/([^ ]+)( .*)?", command)
    if not cygwin_path or parts is None:
        return command
    program, arguments = parts.groups("")
    return os.path.join(cygwin_path, program) + arguments  # noqa: PTH118 (strings)


def hexify(s: bytes) -> str:
    """Return the bytes in hexadecimal, separated by spaces."""
    # an integer is no bytes, although `bytes` takes one for a length
    return " ".join(f"{byte:02x}" for byte in bytes(iter(s)))


def get_class_logger(o: object) -> logging.Logger:
    """Return the logger named for the object's class, `pywebsocket3.<module>.<Class>`.

    The names are those of pywebsocket, so that existing logging configurations work.
    """
    cls = type(o)
    logger = _CLASS_LOGGERS.get(cls)
    if logger is None:
        logger = _CLASS_LOGGERS[cls] = loggers.get(_logger_name(cls))
    return logger


# Looking a logger up by its name takes longer than most calls that use it.
_CLASS_LOGGERS: dict[type, logging.Logger] = {}


def _logger_name(cls: type) -> str:
    module = cls.__module__
    if module.startswith(_PACKAGE + "."):
        module = "pywebsocket3" + module.removeprefix(_PACKAGE)
    return f"{_HISTORICAL_MODULES.get(module, module)}.{cls.__name__}"


def pack_byte(b: int) -> bytes:
    """Return a byte with that value."""
    return struct.pack("!B", b)


class NoopMasker:
    """A masker that changes nothing: for frames without a masking key."""

    def __init__(self) -> None:
        pass

    def mask(self, s: bytes) -> bytes:
        """Return `s`."""
        return s


class RepeatedXorMasker:
    """XORs data with a key that repeats; the position in the key carries over from call to call."""

    def __init__(self, masking_key: bytes) -> None:
        self._masking_key = masking_key
        self._key = bytes(iter(masking_key))
        self._masking_key_index = 0

    def mask(self, s: Any) -> bytes:
        """Mask or unmask the next piece of data."""
        # for an integer, `bytes` would make that many zeros
        if isinstance(s, (str, int)):
            raise TypeError(f"a mask applies to bytes, not to {type(s).__name__}")
        data = bytes(s)
        masked = _core.apply_mask(data, self._key, self._masking_key_index)
        self._masking_key_index = (self._masking_key_index + len(data)) % len(self._key)
        return masked


class _Deflater:
    """Compresses to raw DEFLATE."""

    def __init__(self, window_bits: int) -> None:
        self._logger = get_class_logger(self)
        self._compress = _core.RawDeflater(window_bits)

    def compress(self, bytes: bytes) -> bytes:
        """Take data; return what is ready, which may be nothing."""
        return self._log(bytes, self._compress.compress(bytes))

    def compress_and_flush(self, bytes: bytes) -> bytes:
        """Take data; return everything so far, up to a byte boundary (a sync flush)."""
        return self._log(bytes, self._compress.compress_and_flush(bytes))

    def compress_and_finish(self, bytes: bytes) -> bytes:
        """Take data; return everything so far, with a final block at its end."""
        return self._log(bytes, self._compress.compress_and_finish(bytes))

    def _log(self, data: bytes, compressed: bytes) -> bytes:
        self._logger.debug("Compressed %r to %r", data, compressed)
        return compressed


class _Inflater:
    """Decompresses raw DEFLATE; a final block may be followed by another stream."""

    def __init__(self, window_bits: int) -> None:
        self._logger = get_class_logger(self)
        self._decompress = _core.RawInflater(window_bits)

    def append(self, data: bytes) -> None:
        """Take compressed data."""
        self._logger.debug("Appended %r", data)
        self._decompress.append(data)

    def decompress(self, size: int) -> bytes:
        """Return at most `size` bytes of what was compressed, or all of it if `size` is -1.

        Raises:
            zlib.error: The data are not DEFLATE.
        """
        if size != -1 and size <= 0:
            raise ValueError(f"cannot decompress {size} bytes: neither -1 nor positive")
        try:
            data = self._decompress.decompress(size)
        except ValueError as error:
            raise zlib.error(str(error)) from None
        if data:
            self._logger.debug("Decompressed %r", data)
        return data

    def reset(self) -> None:
        """Forget what was decompressed; data appended before are kept."""
        self._logger.debug("Reset")
        self._decompress.reset()


# A sync flush ends in an empty stored block; its length fields are not transmitted (RFC 7692 7.2).
_SYNC_FLUSH_TAIL = b"\x00\x00\xff\xff"
# An empty stored block without the final bit, up to those length fields.
_EMPTY_STORED_BLOCK = b"\x00"


class _RFC1979Deflater:
    """Compresses the pieces of messages as permessage-deflate sends them (RFC 7692 7.2.1)."""

    def __init__(self, window_bits: int | None, no_context_takeover: bool) -> None:
        self._deflater: _Deflater | None = None
        self._window_bits = zlib.MAX_WBITS if window_bits is None else window_bits
        self._no_context_takeover = no_context_takeover

    def filter(self, bytes: bytes, end: bool = True, bfinal: bool = False) -> bytes:
        """Compress a piece of a message.

        Args:
            bytes: The piece.
            end: Whether it is the last one.
            bfinal: Whether to send it as a DEFLATE stream of its own (RFC 7692 7.2.3.4).
        """
        if self._deflater is None:
            self._deflater = _Deflater(self._window_bits)
        if bfinal:
            compressed = self._deflater.compress_and_finish(bytes) + _EMPTY_STORED_BLOCK
            self._deflater = None
            return compressed
        compressed = self._deflater.compress_and_flush(bytes)
        if end:
            compressed = compressed.removesuffix(_SYNC_FLUSH_TAIL)
            if self._no_context_takeover:
                self._deflater = None
        return compressed


class _RFC1979Inflater:
    """Decompresses messages as permessage-deflate sends them (RFC 7692 7.2.2)."""

    def __init__(self, window_bits: int = zlib.MAX_WBITS) -> None:
        self._inflater = _Inflater(window_bits)

    def filter(self, bytes: bytes) -> bytes:
        """Decompress a message."""
        self._inflater.append(bytes + _SYNC_FLUSH_TAIL)
        return self._inflater.decompress(-1)


class DeflateSocket:
    """Wraps a socket and compresses everything that passes through it."""

    # Compressed bytes to ask the socket for at a time.
    _RECV_SIZE = 4096

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._logger = get_class_logger(self)
        self._deflater = _Deflater(zlib.MAX_WBITS)
        self._inflater = _Inflater(zlib.MAX_WBITS)

    def recv(self, size: int) -> bytes:
        """Wait for data; return at most `size` bytes, or nothing at the end of the stream."""
        if size <= 0:
            raise ValueError(f"cannot receive {size} bytes")
        while not (data := self._inflater.decompress(size)):
            compressed = self._socket.recv(self._RECV_SIZE)
            if not compressed:
                return b""
            self._inflater.append(compressed)
        return data

    def sendall(self, bytes: bytes) -> None:
        """Send all of the bytes."""
        self.send(bytes)

    def send(self, bytes: bytes) -> int:
        """Send all of the bytes; return how many they are."""
        self._socket.sendall(self._deflater.compress_and_flush(bytes))
        return len(bytes)


def drain_received_data(raw_socket: sockets.socket) -> bytes:
    """Return what a socket has received until now, without waiting for more."""
    import ssl  # noqa: PLC0415 (few need it, and it takes long to load)

    pieces = []
    timeout = raw_socket.gettimeout()
    raw_socket.settimeout(0)
    try:
        while piece := raw_socket.recv(_DRAIN_SIZE):
            pieces.append(piece)
    except (BlockingIOError, ssl.SSLWantReadError):
        pass
    finally:
        raw_socket.settimeout(timeout)
    return b"".join(pieces)


# Bytes to ask a socket for at a time.
_DRAIN_SIZE = 65536


class DeflateConnection:
    """Compressed the bytes of all frames; no client offers deflate-stream any more."""

    def __init__(self, connection: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is gone with deflate-stream, which never became a standard: "
            "extensions.PerMessageDeflateExtensionProcessor does permessage-deflate (RFC 7692)"
        )


class DeflateRequest(DeflateConnection):
    """Was a request with a `DeflateConnection`."""


def wrap_popen3_for_win(cygwin_path: str | None) -> None:
    """Changed `os.popen3`, which Python 3 does not have."""
    raise NotImplementedError(
        "wrap_popen3_for_win is gone with os.popen3: call subprocess.Popen with what "
        "get_script_interp returns"
    )


hide_annotations(globals())
