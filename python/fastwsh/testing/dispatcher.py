"""The handlers of a test server: of files, and of the test itself; all of them are recorded."""

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastwsh import _core, coroutines, exception_groups
from fastwsh.loading import loader
from fastwsh.loading.handler_sources import SourcesDispatcher
from fastwsh.loading.handler_suite import HandlerSuite, default_passive_closing_handshake
from fastwsh.pywebsocket.handshake import AbortedByUserException, HandshakeException
from fastwsh.testing.connection import Connection
from fastwsh.testing.faults import HandshakeFaults
from fastwsh.testing.functions import call
from fastwsh.testing.handshakes import Handshake
from fastwsh.testing.http_paths import HttpPath, HttpPaths
from fastwsh.testing.recorded import RecordedConnection
from fastwsh.testing.recorded_stream import RecordingStream
from fastwsh.testing.recording import Recorder
from fastwsh.testing.subprotocols import choose_subprotocol

if TYPE_CHECKING:
    from fastwsh.testing.replaying import Replay

__all__ = ["ANY_PATH", "RecordingDispatcher"]

ANY_PATH: Final = "*"
"""Where a handler serves every path that has none of its own; the native half knows it too."""


class RecordingDispatcher(SourcesDispatcher):
    """Calls handlers, and records what they do and which errors they meet.

    Args:
        sources: Folders with handler files, and such files; later ones come before earlier ones.
        recorder: What is done and met goes there.
        faults: What is to happen to opening handshakes.
        encoding: How the files are encoded.

    Raises:
        ConfigError: There is no such file or folder, or a handler cannot be loaded.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        recorder: Recorder,
        faults: HandshakeFaults,
        encoding: str | None = None,
    ) -> None:
        self._recorder = recorder
        self._faults = faults
        self.http = HttpPaths()
        # Paths that have no handler, and are there for plain HTTP.
        self._http_only: set[str] = set()
        # The handlers of paths before functions of the test replaced them.
        self._replaced: dict[str, HandlerSuite | None] = {}
        super().__init__(sources, encoding, "the test server")

    def _register(self, file: loader.HandlerFile) -> None:
        if file.suite is not None:
            transfer = file.suite.transfer_data
            self._watch(file.suite, lambda connection: transfer(connection.request))
        super()._register(file)

    def add_function(
        self,
        path: str,
        function: Callable[[Any], Any],
        open_handshake: Callable[[Any], Any] | None = None,
    ) -> None:
        """Serve a path by a function that gets the connection.

        A coroutine function gets an `AsyncConnection`. A plain one must not return a coroutine.

        Args:
            path: The path.
            function: The function.
            open_handshake: Called with the request of an opening handshake; None: the subprotocol
                is whatever the client offers first.
        """
        choose = open_handshake or functools.partial(choose_subprotocol, known=None)
        passive_close = default_passive_closing_handshake
        is_awaited = coroutines.is_coroutine_function(function)
        serve = function if is_awaited else functools.partial(call, function)
        self._add(path, HandlerSuite(choose, function, passive_close), serve)

    def add_replay(self, path: str, replay: "Replay") -> None:
        """Serve a path by what was recorded."""
        suite = HandlerSuite(replay.open, replay.play, replay.passive_close)
        self._add(path, suite, replay.play)

    def add_http(self, path: str, method: str | None) -> tuple[HttpPath, bool]:
        """Answer plain HTTP at a path; return the answers, and whether nothing served it before.

        Raises:
            ValueError: A coroutine function serves it.
        """
        suite = self._handler_suite_map.get(path)
        if suite is not None and (suite.is_async or suite.opens_async):
            raise _no_http_beside(path)
        answers = self.http.get(path, method)
        if suite is None:
            suite = HandlerSuite(_refuse, _refuse, default_passive_closing_handshake)
            self._add(path, suite, _refuse)
            self._http_only.add(path)
            return answers, True
        for listen in self._alias_listeners:
            listen()
        return answers, False

    def answers_http(self, connection: _core.Connection) -> bool:
        """Tell whether a request is for plain HTTP."""
        path = connection.resource.partition("?")[0]
        if path not in self.http.paths():
            return False
        return not connection.asks_for_websocket or path in self._http_only

    def _add(self, path: str, suite: HandlerSuite, function: Callable[[Any], Any]) -> None:
        if (suite.is_async or suite.opens_async) and path in self.http.paths():
            raise _no_http_beside(path)
        self._http_only.discard(path)
        self._watch(suite, function)
        if path not in self._replaced:
            self._replaced[path] = self._handler_suite_map.get(path)
        self.add_handler(path, suite)

    def get_handler_suite(self, resource: str) -> Any:
        """Return the handler of a resource; see `Dispatcher.get_handler_suite`."""
        suite = super().get_handler_suite(resource)
        return self._handler_suite_map.get(ANY_PATH) if suite is None else suite

    def restore(self, path: str) -> None:
        """Serve a path as before the first function was added to it."""
        self._http_only.discard(path)
        former = self._replaced.pop(path, None)
        if former is None:
            self.remove_handler(path)
        else:
            self.add_handler(path, former)

    def serves(self, path: str) -> bool:
        """Tell whether there is a handler."""
        return path in self._handler_suite_map

    def _watch(self, suite: Any, call: Callable[[Any], Any]) -> None:
        """Let the functions of a handler be recorded."""
        open_with = self._open_async if suite.opens_async else self._open
        suite.do_extra_handshake = functools.partial(open_with, suite.do_extra_handshake)
        if suite.is_async:
            from fastwsh.testing import awaitable  # noqa: PLC0415 (imports asyncio, which few tests need)

            suite.transfer_data = awaitable.make_transfer(call, self._recorder, _noting_failures)
        else:
            suite.transfer_data = functools.partial(self._transfer, call)

    def _open(self, do_extra_handshake: Callable[[Any], Any], request: Any) -> Any:
        self._apply_faults(request, self._note_attempt(request))
        return do_extra_handshake(request)

    async def _open_async(
        self, do_extra_handshake: Callable[[Any], Awaitable[Any]], request: Any
    ) -> Any:
        handshake = self._note_attempt(request)
        await coroutines.call_in_thread(self._apply_faults, request, handshake)
        return await do_extra_handshake(request)

    def _note_attempt(self, request: Any) -> Handshake:
        handshake = Handshake(request)
        self._recorder.note_attempt(handshake)
        return handshake

    def _apply_faults(self, request: Any, handshake: Handshake) -> None:
        try:
            self._faults.apply(request, handshake)
        except (HandshakeException, AbortedByUserException, OSError):
            raise
        except Exception as error:
            self._recorder.note_error(handshake.path, error)
            raise

    def _transfer(self, call: Callable[[Connection], Any], request: Any) -> None:
        connection = Connection(request, self._recorder)
        # nothing has been read or written yet: the one that it takes the place of was not used
        request.ws_stream = RecordingStream(request, request.ws_stream._options, connection)
        with self._recorder.handling(connection), _noting_failures(connection, self._recorder):
            call(connection)


@contextlib.contextmanager
def _noting_failures(connection: RecordedConnection, recorder: Recorder) -> Iterator[None]:
    """Keep what a handler raises if it is an error; end quietly if the connection was reset."""
    try:
        yield
    except BaseException as error:
        mistake = exception_groups.without(error, lambda leaf: not connection.blames_handler(leaf))
        if mistake is not None:
            recorder.note_error(connection.path, mistake)
        if connection.is_dropped:
            raise AbortedByUserException("the test server has reset it") from error
        raise
    if connection.is_dropped:
        raise AbortedByUserException("the test server has reset it")


def _refuse(_: Any) -> None:
    """Stand for a handler where there is only HTTP."""


def _no_http_beside(path: str) -> ValueError:
    return ValueError(
        f"{path} cannot have answers to plain HTTP and a coroutine function; serve it by a "
        "function that is none, or use another path"
    )
