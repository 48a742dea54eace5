"""The QUIC endpoint of a server: its thread, its sockets, and its connections."""

import asyncio
import contextlib
import contextvars
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration

from fastwsh import _core
from fastwsh.http3 import certificate as certificate_files
from fastwsh.http3.connection import Connection
from fastwsh.http3.owner import Limits, Owner
from fastwsh.http3.pacing import WINDOW
from fastwsh.process import forks
from fastwsh.settings import limits

__all__ = ["Endpoint"]

_LOGGER: Final = logging.getLogger("fastwsh.server")

# Seconds without a packet after which a client is taken for gone. NATs forget UDP at that age.
_IDLE_SECONDS: Final = 30.0

# Handshakes that may be under way. Each costs some 100 KB until its time is over, and without
# --http3-retry a client can begin one with the address of another.
_MAX_HANDSHAKES: Final = 1000

# Seconds for the last packets, and for the thread.
_STOP_SECONDS: Final = 2.0

# Seconds between two looks at what clients have taken, from `go_away` on.
_LOOK_SECONDS: Final = 0.02

_NO_LIMIT: Final = 1 << 32

_Admit = Callable[[socket.socket, tuple[Any, ...]], bool]


class _TooManyHandshakesError(Exception):
    """A connection is not wanted now."""


class _Server(QuicServer):
    """Finds the connection of each packet."""

    _transport: Any

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Take a packet; one that would begin one connection too many is dropped."""
        with contextlib.suppress(_TooManyHandshakesError):
            super().datagram_received(data, addr)


class Endpoint(Owner[Connection]):
    """Serves HTTP/3 from `start` to `stop`.

    Attributes:
        sockets: The UDP sockets.
        port: The port of the first of them.
        limits: What a client may do.
        accepts: Whether new connections are served. Packets that begin others are dropped.

    Args:
        sockets: Bound UDP sockets, which become its own.
        certificate: A file with the certificate chain, PEM.
        private_key: A file with its key, PEM.
        options: Those of the server.

    Raises:
        ConfigError: The files cannot be used.
    """

    def __init__(
        self, sockets: list[socket.socket], *, certificate: str, private_key: str, options: Any
    ) -> None:
        self.sockets = sockets
        self.port: int = sockets[0].getsockname()[1]
        given = limits.of(options)
        self.limits = Limits(
            streams=int(given["max_http3_streams"]) or _NO_LIMIT,
            header_bytes=int(given["max_header_bytes"]) or None,
            head_seconds=given["head_timeout"] or None,
        )
        self._files = certificate, private_key
        self._retry = bool(getattr(options, "http3_retry", False))
        self._configuration = QuicConfiguration(
            is_client=False,
            alpn_protocols=["h3"],
            idle_timeout=_IDLE_SECONDS,
            max_stream_data=WINDOW,
        )
        certificate_files.load(self._configuration, certificate, private_key)
        self._core: _core.Server | None = None
        self._admits: _Admit | None = None
        self._servers: list[_Server] = []
        self._handshaking: set[Connection] = set()
        self._open: set[Connection] = set()
        self.accepts = True
        self._is_stopping = False
        self._is_flooded = False
        self._changed: asyncio.Event | None = None
        self._stalled: set[Connection] = set()
        self._watch: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self, core: _core.Server, admits: _Admit | None) -> None:
        """Serve from here on, in a thread of its own.

        Args:
            core: Gets the connections.
            admits: Decides about a connection by its inner socket and its client's address; None
                admits all.
        """
        # at level debug they have several lines for each packet or header field
        for name in ("quic", "http3", "hpack", "h2"):
            if not (logger := logging.getLogger(name)).level:
                logger.setLevel(logging.WARNING)
        for bound in self.sockets:
            forks.close_in_children(bound)
        self._core, self._admits = core, admits
        self._loop = loop = asyncio.SelectorEventLoop()
        # a test may stop Python's clocks
        loop.time = _core.real_monotonic  # type: ignore[method-assign]
        loop.set_exception_handler(self._report)
        # log lines belong to the server that starts this
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._run,), name="fastwsh-http3", daemon=True
        )
        self._thread.start()

    def reload(self) -> None:
        """Read the certificate again, for new connections.

        Raises:
            ConfigError: It cannot be used; nothing changes.
        """
        certificate_files.load(self._configuration, *self._files)

    def go_away(self) -> None:
        """Accept no more connections and requests, and tell the clients."""
        self._call(self._go_away)

    def stop(self) -> None:
        """End the connections that are left, and the thread; the sockets are closed."""
        thread, loop = self._thread, self._loop
        if thread is not None and loop is not None:
            self._call(lambda: loop.create_task(self._stop()))
            if thread is not threading.current_thread():
                thread.join(2 * _STOP_SECONDS)
        self._close_sockets()

    def close(self) -> None:
        """Close the sockets, unless connections still use them: then `stop` does."""
        if self._thread is None:
            self._close_sockets()

    def _close_sockets(self) -> None:
        for bound in self.sockets:
            bound.close()

    def admit(self, inner: socket.socket, peer: tuple[Any, ...], local: tuple[Any, ...]) -> bool:
        """Pass a connection on to the native server; `inner` is closed or passed on."""
        with inner:
            if self._admits is not None and not self._admits(inner, peer):
                return False
            assert self._core is not None  # noqa: S101 (it has started)
            try:
                return self._core.serve_http3(os.dup(inner.fileno()), _place(peer), _place(local))
            except OSError as error:
                _LOGGER.error("Cannot serve a connection of HTTP/3: %s", error)  # noqa: TRY400
                return False

    def note_open(self, connection: Connection) -> None:
        """Note that a handshake is done."""
        self._handshaking.discard(connection)
        self._open.add(connection)
        if self._is_stopping:
            connection.go_away()

    def note_closed(self, connection: Connection) -> None:
        """Note that a connection has nothing more to say."""
        self._handshaking.discard(connection)
        self._open.discard(connection)
        if self._changed is not None:
            self._changed.set()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None  # noqa: S101 (start has made it)
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._open_sockets())
            loop.run_forever()
        finally:
            for server in self._servers:
                server._transport.close()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            # transports close in the next turn
            loop.run_until_complete(
                asyncio.gather(asyncio.sleep(0), *tasks, return_exceptions=True)
            )
            loop.close()

    async def _open_sockets(self) -> None:
        self._changed = asyncio.Event()
        for bound in self.sockets:
            _, server = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Server(
                    configuration=self._configuration,
                    create_protocol=self._make_connection,
                    retry=self._retry,
                ),
                sock=bound,
            )
            self._servers.append(server)

    def _make_connection(self, quic: Any, **_: object) -> Connection:
        is_flooded = len(self._handshaking) >= _MAX_HANDSHAKES
        if is_flooded and not self._is_flooded:
            _LOGGER.warning(
                "New connections of HTTP/3 are dropped: %d handshakes are under way (--http3-retry "
                "lets clients prove their address first)",
                _MAX_HANDSHAKES,
            )
        self._is_flooded = is_flooded
        if is_flooded or self._is_stopping or not self.accepts:
            raise _TooManyHandshakesError
        connection = Connection(quic, self)
        self._handshaking.add(connection)
        return connection

    def _go_away(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        for connection in list(self._open):
            connection.go_away()
        self._watch = asyncio.get_running_loop().create_task(self._watch_clients())

    async def _watch_clients(self) -> None:
        assert self._changed is not None  # noqa: S101 (the thread has begun)
        while True:
            self._stalled = {connection for connection in self._open if connection.is_stalled()}
            self._changed.set()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _stop(self) -> None:
        self._go_away()
        assert self._changed is not None  # noqa: S101 (the thread has begun)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                # those that take nothing get no more of it by waiting
                while self._open - self._stalled:
                    self._changed.clear()
                    await self._changed.wait()
        for connection in [*self._open, *self._handshaking]:
            connection.finish(0x100)
        asyncio.get_running_loop().stop()

    def _call(self, function: Callable[[], object]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            # the thread may end meanwhile
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(function)

    def _report(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        _LOGGER.error("HTTP/3: %s", context.get("message"), exc_info=error)


def _place(address: tuple[Any, ...]) -> tuple[str, int]:
    """Return host and port, without the zone of an IPv6 address."""
    return address[0].partition("%")[0], address[1]
