"""`WsServer`: a real server in this process, whose handlers, scripts and faults a test chooses."""

import contextlib
import functools
import ssl
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from fastwsh.testing.arguments import check_count, check_function, check_path
from fastwsh.testing.connection import Connection
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.errors import CheckError, HandlerFailure
from fastwsh.testing.faults import HandshakeFaults
from fastwsh.testing.log import ServerLog
from fastwsh.testing.record import ServerRecord
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.recordings import Recordings
from fastwsh.testing.server_scripts import ServerScripts
from fastwsh.testing.serving import RecordedServer
from fastwsh.testing.settings import make_options
from fastwsh.testing.subprotocols import check_subprotocols, choose_subprotocol
from fastwsh.testing.tls import TlsFiles

if TYPE_CHECKING:
    from fastwsh.testing.replaying import Replay
    from fastwsh.testing.script import Script

__all__ = ["Handlers", "WsServer", "running_server"]

Handlers = str | PathLike[str] | Sequence[str | PathLike[str]]
"""A folder with `*_wsh.py` files, such a file, or several of these."""

# A client that lives answers a close frame in a millisecond; one whose event loop has ended, or
# that nobody reads, never does.
_CLOSE_SECONDS: Final = 1.0

# For handlers that do something else than wait for their client.
_HANDLER_SECONDS: Final = 5.0

_HandlerT = TypeVar("_HandlerT", bound=Callable[[Any], Any])


class WsServer(ServerRecord, ServerScripts, Recordings):
    """A WebSocket server for tests of clients; `with` starts and stops it.

    It listens on a real port, so that clients in any language can connect. A path without a handler
    is answered 404. Its handlers come from files, from functions (`handler`) and from scripts
    (`expect`, `reply`, `script`), and each has a thread of its own. Everything may be called from
    any thread; what waits blocks the caller, so that a coroutine uses `asyncio.to_thread` for it.

    Args:
        handlers: Folders with `*_wsh.py` files, or such files. A file is served at its own name.
        host: The address to listen on.
        port: The port; 0, the default, is any free one, so that tests can run side by side.
        tls: The certificate, for wss:// URLs.
        options: Options of the server by name, such as `max_message_bytes=100` or
            `strict_compat=True`. Unlike on the command line, `concurrency` is "threads": faults
            that wait would keep the hub waiting; and no file is served without `document_root`.

    Raises:
        TypeError: There is no such option.
        ValueError: The value of an option cannot be used.
        ConfigError: A file or the address cannot be used, or a handler cannot be loaded.
    """

    def __init__(
        self,
        handlers: Handlers | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TlsFiles | None = None,
        **options: Any,
    ) -> None:
        settings = make_options(options, host=host, port=port, tls=tls)
        self._host, self._tls = host, tls
        ServerRecord.__init__(self, Recorder(), ServerLog())
        ServerScripts.__init__(self)
        Recordings.__init__(self)
        self._faults = HandshakeFaults()
        self._added: set[str] = set()
        with self._log.here():
            self._dispatcher = RecordingDispatcher(
                _sources(handlers), self._recorder, self._faults, settings.handler_encoding
            )
        self._log.attach()
        try:
            self._server = RecordedServer(settings, self._dispatcher, self._recorder, self._log)
        except BaseException:
            self._log.detach()
            self._dispatcher.close()
            raise
        self._port = self._server.port
        self._is_stopped = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{' (stopped)' if self._is_stopped else ''}>"

    # --- where it is ---

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """The URL of the path `/`."""
        return self.url_for("/")

    def url_for(self, path: str) -> str:
        """Return the URL of a path; a slash in front of it may be left out."""
        scheme = "ws" if self._tls is None else "wss"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._port}/{path.removeprefix('/')}"

    @property
    def ca_file(self) -> str:
        """The PEM file with what clients of the wss:// URL have to trust.

        Raises:
            ValueError: The server speaks no TLS.
        """
        return self._tls_files().ca_file

    def client_ssl_context(self) -> ssl.SSLContext:
        """Make a context for clients of the wss:// URL, which trusts this server only.

        Raises:
            ValueError: The server speaks no TLS.
        """
        return self._tls_files().client_context()

    def _tls_files(self) -> TlsFiles:
        if self._tls is None:
            raise ValueError(
                f"{self.url} is served without TLS; use the fixture wss_server, or tls="
            )
        return self._tls

    # --- handlers ---

    def handler(
        self, path: str, *, subprotocols: Sequence[str] | None = None
    ) -> Callable[[_HandlerT], _HandlerT]:
        """Serve a path by the decorated function, in place of what served it before.

        The function is called with each `Connection`, in a thread of its own; a coroutine function
        with an `AsyncConnection`, on the server's event loop. When it returns, the connection is
        closed with 1000.

        Args:
            path: The path in the URL.
            subprotocols: What it speaks: the first that the client offers of these is chosen, and
                a client that offers others only is refused with 400. None: whatever the client
                offers first.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        path = check_path(path)
        known = check_subprotocols(subprotocols)
        open_handshake = functools.partial(choose_subprotocol, known=known)

        def register(function: _HandlerT) -> _HandlerT:
            check_function(function, f"handler({path!r}) of")
            self._serve(path, function, open_handshake)
            return function

        return register

    def _serve(
        self, path: str, function: Callable[[Any], Any], open_handshake: Callable[[Any], Any] | None
    ) -> None:
        self._dispatcher.add_function(path, function, open_handshake)
        self._added.add(path)

    # --- faults of the opening handshake ---

    def reject(self, status: int, *, path: str | None = None, times: int | None = None) -> None:
        """Refuse opening handshakes with this status.

        This and the other faults of the handshake are for the handlers of files as well. Faults
        have their turn in the order of the calls.

        Args:
            status: 200 to 599.
            path: The path; one without a handler gets one that takes everything and says nothing.
                None: all paths that have a handler, and `/`.
            times: For how many handshakes; None: all, until `clear`.
        """
        self._add_fault(self._faults.rejection(status), path, times)

    def raw(self, data: bytes, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes with these bytes, which may be none, and close."""
        self._add_fault(self._faults.raw(data), path, times)

    def wrong_accept(self, *, path: str | None = None, times: int | None = None) -> None:
        """Answer with a Sec-WebSocket-Accept that does not belong to the client's key."""
        self._add_fault(self._faults.wrong_accept(), path, times)

    def delay(self, seconds: float, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes so many seconds late."""
        self._add_fault(self._faults.delay(seconds), path, times)

    def hang(self, *, path: str | None = None, times: int | None = None) -> None:
        """Do not answer opening handshakes; they end with `clear` or `stop`."""
        self._add_fault(self._faults.hang(), path, times)

    def accept(self, count: int, *, then: int = 503, path: str | None = None) -> None:
        """Accept so many opening handshakes, and refuse the others with the status `then`."""
        self._add_fault(self._faults.acceptance(count, then), path, None)

    def _add_fault(self, fault: Callable[[Any], None], path: str | None, times: int | None) -> None:
        place = None if path is None else check_path(path)
        self._listen_at(place or "/")
        self._faults.add(fault, place, times)

    def drop_at(self, count: int, *, path: str | None = None) -> None:
        """Reset every connection when the message after `count - 1` others is received.

        Messages are counted from this call on, over all connections. The last one is recorded, but
        no handler gets it. It happens once: clients that connect again are served.

        Args:
            count: The number of the message, 1 for the next one.
            path: Count messages, and reset connections, of this path only; None: of all.
        """
        check_count(count, "drop at message")
        place = None if path is None else check_path(path)
        self._listen_at(place or "/")
        self._recorder.drop_at(count, place)

    def _listen_at(self, path: str) -> None:
        if not self._dispatcher.serves(path):
            self._serve(path, _take_everything, None)

    def check(self, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Fail if a handler has raised an exception, or a script was not played to its end.

        That a client has closed, or is gone, is no error of a handler. While the server runs, a
        handler whose connection is open may still fail after this; `stop` first to be sure, as the
        fixtures do.

        Args:
            timeout: Seconds that scripts which have begun may take for the rest.

        Raises:
            CheckError: The text names the handlers and the steps.
        """
        __tracebackhide__ = True
        scripts: list[Script | Replay] = [*self._all_scripts(), *self._replays]
        if not self._is_stopped:
            self._recorder.wait_until(lambda: all(one.is_settled for one in scripts), timeout)
        errors = self.take_errors()
        for script in scripts:
            if failure := script.unfinished():
                errors.append(HandlerFailure(script.path, failure, str(failure)))
        if errors:
            raise CheckError(errors) from errors[0].exception

    # --- its life ---

    def start(self) -> None:
        """Serve. Raises ConfigError if an option cannot be used."""
        self._server.start()

    def clear(self) -> None:
        """Make the server as new: without functions, scripts and faults, its record empty.

        Connections that are open are reset, handshakes that hang are let go of; handlers of files
        stay.
        """
        self._recorder.is_closing = True
        self._faults.clear()
        self._end_recording()
        for connection in self._recorder.running():
            connection.drop()
        self._recorder.wait_idle(_HANDLER_SECONDS)
        for path in self._added:
            self._dispatcher.restore(path)
        self._added.clear()
        self._scripts.clear()
        self._replays.clear()
        self._recorder.forget()
        self._log.lines.clear()
        self._recorder.is_closing = False

    def stop(self) -> None:
        """Close the connections with 1001, wait for the handlers, and listen no more. For good.

        A client that does not answer is cut after a second. A handler that goes on for five more is
        an error for `check`.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        self._await_replays(_CLOSE_SECONDS)
        self._recorder.is_closing = True
        self._faults.clear()
        for connection in self._recorder.running():
            connection.release()
        self._end_recording()
        self._server.end(_CLOSE_SECONDS)
        for connection in self._recorder.wait_idle(_HANDLER_SECONDS):
            sentence = (
                f"the handler of {connection.path} has not ended {_HANDLER_SECONDS:g} s after its "
                "connection did; it must not wait for anything else for so long"
            )
            self._recorder.note_error(connection.path, TimeoutError(sentence), sentence)
        self._dispatcher.close()
        self._log.detach()


@contextlib.contextmanager
def running_server(
    handlers: Handlers | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: TlsFiles | None = None,
    **options: Any,
) -> Iterator[WsServer]:
    """Run a server while the context lasts, and `check` it at the end unless that is an exception.

    Args:
        handlers: As for `WsServer`, and so are the others.
        host: The address to listen on.
        port: The port; 0 is any free one.
        tls: The certificate, for wss:// URLs.
        options: Options of the server by name.
    """
    server = WsServer(handlers, host=host, port=port, tls=tls, **options)
    with server:
        yield server
    server.check()


def _take_everything(connection: Connection) -> None:
    for _ in connection:
        pass


def _sources(handlers: Handlers | None) -> list[Path]:
    if handlers is None:
        return []
    several = [handlers] if isinstance(handlers, str | PathLike) else handlers
    return [Path(source) for source in several]
