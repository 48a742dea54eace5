"""A Unix socket that connects the servers and workers of one machine.

The first process opens the socket and passes the messages of all on; when it ends, another one
takes its place. If several try at once, the one that locks the file `PATH.lock` opens the socket.

A frame is the number of its kind in one byte, the length of the topic in two, that of the envelope
in four, and both. Numbers have the most significant byte first.
"""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

__all__ = ["Relay", "RelayEngine"]

_HEAD: Final = struct.Struct("!BHI")
_SUBSCRIBE, _UNSUBSCRIBE, _MESSAGE = 1, 2, 3

# The most bytes that wait for one that does not read. It misses what comes beyond that, and finds
# out by the numbers of the envelopes.
_MAX_WAITING: Final = 16 << 20
# More than any message that can be published.
_MAX_ENVELOPE: Final = 1 << 30


def _frame(kind: int, topic: str, data: bytes = b"") -> bytes:
    name = topic.encode()
    return _HEAD.pack(kind, len(name), len(data)) + name + data


def _bind(path: str) -> socket.socket:
    """Make a Unix socket that only this user can use; without the umask, which threads share."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        # Linux gives the file this mode; elsewhere it is set a moment later
        with contextlib.suppress(OSError):
            os.fchmod(listener.fileno(), 0o600)
        listener.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101 (a string)
    except BaseException:
        listener.close()
        raise
    return listener


async def _read(reader: asyncio.StreamReader) -> tuple[int, str, bytes]:
    """Read a frame; raise EOFError at the end of the stream."""
    kind, name_size, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if size > _MAX_ENVELOPE:
        raise ConnectionError(f"a frame of {size} bytes")
    name = await reader.readexactly(name_size)
    return kind, name.decode(), await reader.readexactly(size)


class Relay:
    """Passes messages on between those that have connected.

    Args:
        path: The socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = -1
        self._server: asyncio.Server | None = None
        self._subscribers: dict[str, set[asyncio.StreamWriter]] = {}
        self._peers: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def open(self) -> bool:
        """Open the socket; return whether this process may, for another one may have it open.

        Raises:
            OSError: The socket cannot be opened.
        """
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._unlock()
            return False
        try:
            # of a process that has not removed it
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)  # noqa: PTH108 (quick, and nothing else runs yet)
            listener = _bind(self._path)
            self._server = await asyncio.start_unix_server(self._take_in, sock=listener)
        except BaseException:
            self._unlock()
            raise
        return True

    async def close(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108
            self._server = None
        tasks = list(self._peers.values())
        for peer in self._peers:
            peer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        # a transport that was closed ends in the loop's next turn
        await asyncio.sleep(0)
        if self._lock >= 0:
            self._unlock()

    def _unlock(self) -> None:
        os.close(self._lock)
        self._lock = -1

    def _take_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers[writer] = asyncio.get_running_loop().create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        topics: set[str] = set()
        try:
            while True:
                kind, topic, data = await _read(reader)
                if kind == _SUBSCRIBE:
                    topics.add(topic)
                    self._subscribers.setdefault(topic, set()).add(writer)
                elif kind == _UNSUBSCRIBE:
                    topics.discard(topic)
                    self._leave(topic, writer)
                else:
                    self._pass_on(writer, topic, data)
        except (OSError, EOFError, UnicodeDecodeError):
            pass
        finally:
            for topic in topics:
                self._leave(topic, writer)
            del self._peers[writer]
            writer.transport.abort()

    def _pass_on(self, source: asyncio.StreamWriter, topic: str, data: bytes) -> None:
        frame = b""
        for peer in self._subscribers.get(topic, ()):
            if peer is source or peer.transport.get_write_buffer_size() > _MAX_WAITING:
                continue
            frame = frame or _frame(_MESSAGE, topic, data)
            peer.write(frame)

    def _leave(self, topic: str, writer: asyncio.StreamWriter) -> None:
        subscribers = self._subscribers.get(topic, set())
        subscribers.discard(writer)
        if not subscribers:
            self._subscribers.pop(topic, None)


class RelayEngine:
    """See `Engine`.

    Args:
        path: The socket.
        opens: Whether to open the socket if nobody has it open.
    """

    def __init__(self, path: str, *, opens: bool = True) -> None:
        self._path = path
        self._opens = opens
        self._relay: Relay | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def max_bytes(self) -> int:
        """A bound against mistakes."""
        return _MAX_ENVELOPE

    async def connect(self) -> None:
        """Connect; open the socket first if nobody has it open."""
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            if not self._opens:
                raise
            relay = Relay(self._path)
            if await relay.open():
                self._relay = relay
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe."""
        await self._send(b"".join(_frame(_SUBSCRIBE, topic) for topic in topics))

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """End subscriptions."""
        await self._send(b"".join(_frame(_UNSUBSCRIBE, topic) for topic in topics))

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish."""
        await self._send(b"".join(_frame(_MESSAGE, topic, data) for topic, data in messages))

    async def receive(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield messages until the other end closes."""
        assert self._reader is not None  # noqa: S101 (it is connected)
        while True:
            _, topic, data = await _read(self._reader)
            yield topic, data

    async def close(self) -> None:
        """Disconnect, and close the socket if this is the one that opened it."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        if self._relay is not None:
            await self._relay.close()

    async def _send(self, data: bytes) -> None:
        assert self._writer is not None  # noqa: S101 (it is connected)
        self._writer.write(data)
        await self._writer.drain()
