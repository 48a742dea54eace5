"""The handlers of a server, by resource, and the calls of their functions.

`_handler_exceptions` decides what an exception in a handler does to its connection.
"""

from __future__ import annotations

import logging

from fastwsh import coroutines
from fastwsh.config_error import ConfigError
from fastwsh.loading import handler_suite, loader, slow_loads
from fastwsh.loading.handler_suite import HandlerSuite as _HandlerSuite  # noqa: TC001 (pywebsocket has it here)
from fastwsh.loading.handler_table import HandlerTable, find_above
from fastwsh.paths import is_inside, named_resource
from fastwsh.process import forks
from fastwsh.pywebsocket import _handler_exceptions as handler_exceptions
from fastwsh.pywebsocket import common, util
from fastwsh.pywebsocket._signatures import hide_annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Any, Final

    from fastwsh.running.lifespan import Lifespan

__all__ = ["DispatchException", "Dispatcher"]

_LOGGER: Final = logging.getLogger("pywebsocket3.websocket_server")
_SERVICE_UNAVAILABLE: Final = 503


class DispatchException(Exception):
    """There is no handler to call.

    Args:
        name: What is wrong.
        status: The HTTP status to answer with.
    """

    def __init__(self, name: object, status: int = common.HTTP_STATUS_NOT_FOUND) -> None:
        super().__init__(name)
        self.status = status


class Dispatcher:
    """Loads the handler files in a folder, and calls them.

    Thread-safe once it is constructed, except for `add_resource_path_alias`, `add_handler`,
    `remove_handler`, `reload` and `unload`. A connection keeps the handler that it began with, even
    if the handlers change meanwhile.

    Args:
        root_dir: The folder that the resources are relative to.
        scan_dir: The folder in it to scan; by default all of it.
        allow_handlers_outside_root_dir: Whether to load a file that is a link to one elsewhere.
        handler_encoding: The encoding of the files; by default the locale's.

    Raises:
        DispatchException: `scan_dir` is not in `root_dir`.
        LookupError: There is no such encoding.
    """

    def __init__(
        self,
        root_dir: str,
        scan_dir: str | None = None,
        allow_handlers_outside_root_dir: bool = True,
        handler_encoding: str | None = None,
    ) -> None:
        self._logger = util.get_class_logger(self)
        if scan_dir is None:
            scan_dir = root_dir
        if not is_inside(scan_dir, root_dir):
            raise DispatchException(f"scan_dir {scan_dir} is not in root_dir {root_dir}")
        self._folder = loader.HandlerFolder(
            root_dir,
            scan_dir,
            allow_outside_root=allow_handlers_outside_root_dir,
            encoding=handler_encoding,
        )
        self._table = HandlerTable()
        self._handler_suite_map = self._table.suites
        self._alias_listeners: list[Callable[[], object]] = []
        # a server with an event loop runs coroutine functions there
        self._has_event_loop = False
        # a server that serves runs the startup functions of what is loaded then
        self._lifespan: Lifespan | None = None
        self._run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any] = coroutines.run
        # ... or, if a subclass has overridden their calls, from the thread that makes these
        self._is_overridden = False
        self._run_transfer: Callable[[Any, Any], None] | None = None
        for file in self._load_handlers():
            self._register(file)

    def _load_handlers(self) -> list[loader.HandlerFile]:
        return self._folder.load_all()

    def _register(self, file: loader.HandlerFile) -> None:
        self._table.take(file)
        if file.warning is not None:
            self._logger.debug("Failed to load %s", file.path, exc_info=file.error)
        elif file.resource is None:
            self._logger.debug("%s has no resource", file.path)

    @property
    def handlers(self) -> list[loader.HandlerFile]:
        """The handler files that were found, with the result of loading each."""
        return list(self._table.files.values())

    def reload(self, path: str) -> loader.HandlerFile | None:
        """Load a handler file, again or for the first time, and serve it.

        A server that runs already serves it from the next connection on, at its resource and at the
        aliases of that. If the file cannot be loaded, its last version stays.

        Args:
            path: The file, as `handlers` or a scan of the folder names it.

        Returns:
            The result; None if the file is a link out of the folder and therefore not served.
        """
        with slow_loads.watched() as begin:
            file = self._folder.load(begin("Loading", path))
        if file is None:
            self.unload(path)
            return None
        if file.suite is not None and self._lifespan is not None:
            try:
                self._lifespan.replace(self._table.served(file.resource), file.suite)
            except ConfigError as error:
                file = loader.failed(file, str(error))
        before = self._table.copy()
        self._register(file)
        try:
            self._tell_listeners()
        except ConfigError as error:  # it is the first that needs an event loop, and there is none
            self._table.restore(before)
            file = loader.failed(file, str(error))
            self._register(file)
        return file

    def unload(self, path: str) -> None:
        """Stop serving a handler file and its aliases; open connections go on."""
        resource = self._table.served_files.get(path)
        suite = self._table.served(resource)
        self._table.drop(path)
        self._tell_listeners()
        if suite is not None and self._lifespan is not None:
            self._lifespan.drop(suite)

    def add_resource_path_alias(
        self, alias_resource_path: str, existing_resource_path: str
    ) -> None:
        """Make a resource an alias of another one.

        Raises:
            DispatchException: There is no such handler. If a file brings one later (`reload`), the
                alias is served from then on.
        """
        suite = self._table.alias(alias_resource_path, existing_resource_path)
        if suite is None:
            raise DispatchException(f"No handler for: {existing_resource_path!r}")
        self.add_handler(alias_resource_path, suite)

    def add_handler(self, resource: str, suite: _HandlerSuite) -> None:
        """Let a handler serve a resource, replacing another one.

        A server that runs already serves it from the next connection on.
        """
        self._handler_suite_map[resource] = suite
        self._tell_listeners()

    def remove_handler(self, resource: str) -> None:
        """Stop serving a resource, if it is served; open connections go on."""
        self._handler_suite_map.pop(resource, None)
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in self._alias_listeners:
            listener()

    def source_warnings(self) -> list[str]:
        """Return a line for each handler file that could not be loaded."""
        return self._table.warnings

    def get_handler_suite(self, resource: str) -> Any:
        """Return the handler of a resource, ignoring its query, or None if there is none.

        A handler with `web_socket_subpaths` is that of the paths below its own too, if these have
        none; pywebsocket has nothing like this.

        The native server has found the path before, to decide where the handler runs. Each
        connection looks it up again, as programs may change `_handler_suite_map` and subclasses
        this method: 0.2 us, of at least 80 us of processor time for a connection.

        Raises:
            DispatchException: The resource has a fragment (RFC 6455 3); the status is 400.
        """
        path, _, fragment = resource.partition("#")
        path = path.partition("?")[0]
        suite = self._handler_suite_map.get(path)
        if suite is None and (named := named_resource(path)) is not None:
            suite = self._handler_suite_map.get(named)
        if suite is None:
            suite = find_above(self._handler_suite_map, named_resource(path) or path)
        if suite and fragment:
            raise DispatchException(
                f"Resource has a fragment: {resource!r}", common.HTTP_STATUS_BAD_REQUEST
            )
        return suite

    def do_extra_handshake(self, request: Any) -> None:
        """Let the handler look at the opening handshake.

        Args:
            request: The request; its `ws_resource` names the handler.

        Raises:
            DispatchException: There is no handler.
            AbortedByUserException: The handler wants the connection dropped.
            HandshakeException: The handler raised something else. The status is 403, or the one of
                a HandshakeException that the handler raised.
        """
        suite = self._handler(request)
        if suite.is_async and self._has_event_loop and not self._is_overridden:
            raise _replaced(request)
        try:
            if suite.opens_async:
                self._run_coroutine(suite.do_extra_handshake(request))
            else:
                try:
                    if (returned := suite.do_extra_handshake(request)) is not None:
                        coroutines.refuse(returned)
                finally:
                    if forks.is_child:
                        forks.end_child()
        except Exception as error:
            raise handler_exceptions.refusal(self._logger, request, error) from error

    async def do_extra_handshake_async(self, request: Any) -> None:
        """Do the same for a handler that runs in an event loop."""
        suite = self._handler(request)
        if not suite.is_async:
            raise _replaced(request)
        try:
            try:
                await coroutines.call(suite.do_extra_handshake, request)
            finally:
                if forks.is_child:
                    forks.end_child()
        except Exception as error:
            raise handler_exceptions.refusal(self._logger, request, error) from error

    def transfer_data(self, request: Any) -> None:
        """Let the handler use the connection; then close it, depending on what has happened.

        Args:
            request: The request; its `ws_resource` names the handler.

        Raises:
            DispatchException: There is no handler.
            AbortedByUserException: The handler wants the connection dropped.
            Exception: The handler failed; its message says which one. The connection must be
                dropped, without a close frame.
        """
        suite = self._handler(request)
        if suite.is_async and self._is_overridden and self._run_transfer is not None:
            self._run_transfer(self, request)
            return
        if suite.is_async:
            raise DispatchException(
                f"The handler for {request.ws_resource!r} is a coroutine function, which only "
                "fastwsh's own server can run"
            )
        try:
            try:
                if (returned := suite.transfer_data(request)) is not None:
                    coroutines.refuse(returned)
            finally:
                if forks.is_child:
                    forks.end_child()
            if not request.server_terminated:
                request.ws_stream.close_connection()
        except Exception as error:
            closing = handler_exceptions.close_arguments(self._logger, request, error)
            if closing is None:
                raise
            if closing:
                with handler_exceptions.closing(self._logger):
                    request.ws_stream.close_connection(*closing)

    async def transfer_data_async(self, request: Any) -> None:
        """Do the same for a handler that is a coroutine function."""
        try:
            try:
                await self._handler(request).transfer_data(request)
            finally:
                if forks.is_child:
                    forks.end_child()
            if not request.server_terminated:
                await request.ws_stream.close_connection()
        except Exception as error:
            closing = handler_exceptions.close_arguments(self._logger, request, error)
            if closing is None:
                raise
            if closing:
                with handler_exceptions.closing(self._logger):
                    await request.ws_stream.close_connection(*closing)

    def passive_closing_handshake(self, request: Any) -> Any:
        """Ask the handler for the status code and the reason to answer a close frame with."""
        suite = self._find(request)
        if suite is None:
            return handler_suite.default_passive_closing_handshake(request)
        try:
            return suite.passive_closing_handshake(request)
        finally:
            if forks.is_child:
                forks.end_child()

    def _handler(self, request: Any) -> Any:
        suite = self._find(request)
        if suite is None:
            raise DispatchException(f"No handler for: {request.ws_resource!r}")
        return suite

    def _find(self, request: Any) -> Any:
        """Return the handler with which the request began, unless its resource was changed."""
        resource = request.ws_resource
        began_with, suite = getattr(request, "_began_with", (None, None))
        if began_with != resource:
            suite = self.get_handler_suite(resource)
            request._began_with = resource, suite
        return suite


def _replaced(request: Any) -> DispatchException:
    """Return the refusal for a connection to a handler that was replaced meanwhile."""
    return DispatchException(
        f"The handler of {request.ws_resource!r} was replaced while the client connected, and runs "
        "elsewhere now",
        _SERVICE_UNAVAILABLE,
    )


def _source_handler_file(handler_definition: str) -> _HandlerSuite:
    """Load a handler from its source. Raises DispatchException if that fails."""
    try:
        return loader.load_source(handler_definition)
    except loader.LoadError as error:
        raise DispatchException(error) from error


def _normalize_path(path: str) -> str:
    return loader.normalize_path(path)


def _create_path_to_resource_converter(base_dir: str) -> Callable[[str], str | None]:
    return loader.make_resource_converter(base_dir)


def _enumerate_handler_file_paths(directory: str) -> Iterator[str]:
    return loader.find_handler_files(directory)


hide_annotations(globals())
