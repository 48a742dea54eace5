"""Fixtures for tests of WebSocket clients; pytest loads them wherever fastwsh is installed.

Nothing else of fastwsh is imported before a fixture is used: most test runs use none. What the
server can do is described in `fastwsh.testing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from fastwsh import pytest_inspector, pytest_recordings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fastwsh.testing import HandlerFailure, TlsFiles, WsServer
    from fastwsh.testing.server import Handlers

__all__ = [
    "MakeWsServer",
    "make_wsserver",
    "wss_server",
    "wsserver",
    "wsserver_listen_address",
    "wsserver_recording",
    "wsserver_ssl_context",
]

_INI = "fastwsh_handlers"
_MARKER = "wsserver"

# Servers whose handlers may fail a test.
_SERVERS: pytest.StashKey[list[WsServer]] = pytest.StashKey()

# Of a test whose call has failed, and of a session in which one has.
_HAS_FAILED: pytest.StashKey[bool] = pytest.StashKey()


class MakeWsServer(Protocol):
    """The type of `make_wsserver`, which makes servers that live until the session ends."""

    def __call__(
        self,
        handlers: Handlers | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        uds: str | PathLike[str] | None = None,
        tls: TlsFiles | None = None,
        **options: Any,
    ) -> WsServer:
        """Start a server.

        Args:
            handlers: As for `fastwsh.testing.WsServer`, and so are the others.
            host: The address to listen on; None: that of `wsserver_listen_address`.
            port: The port; None: likewise.
            uds: The path of a Unix socket to listen on instead.
            tls: The certificate, for wss:// URLs.
            options: Options of the server by name.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini setting and the option."""
    pytest_recordings.add_option(parser)
    pytest_inspector.add_option(parser)
    parser.addini(
        _INI,
        "folders with *_wsh.py handlers, or such files, that wsserver and wss_server serve; "
        "relative to the root directory",
        type="linelist",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.stash[_SERVERS] = []
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(handlers=None, replay=None, url=None, **options): what the servers of the "
        "fixtures wsserver and wss_server serve: handlers, or the recording of a real server; and "
        "their options, such as max_message_bytes=100 or strict=False (fastwsh)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose handlers have failed; if it fails itself, say that first.

    A client often meets the mistake that a script or handler has found: both are one report.
    """
    __tracebackhide__ = True
    # of a run before, when a test that has failed is run again
    item.stash[_HAS_FAILED] = item.stash[pytest_recordings.HAS_PASSED] = False
    try:
        result = yield
        _raise_kept(item)
    except (Exception, pytest.fail.Exception) as error:
        item.stash[_HAS_FAILED] = item.config.stash[_HAS_FAILED] = True
        if failures := _take_errors(item.config):
            if isinstance(item, pytest.DoctestItem):
                # its report shows neither causes nor notes
                item.add_report_section("call", "wsserver", _text(failures))
            _blame(error, failures)
        raise
    except pytest.skip.Exception:
        if not (failures := _take_errors(item.config)):
            raise
        item.stash[_HAS_FAILED] = item.config.stash[_HAS_FAILED] = True
        _forget_kept(item)
        pytest.fail(_text(failures), pytrace=False)
    if failures := _take_errors(item.config):
        item.stash[_HAS_FAILED] = item.config.stash[_HAS_FAILED] = True
        pytest.fail(_text(failures), pytrace=False)
    item.stash[pytest_recordings.HAS_PASSED] = True
    return result


def _raise_kept(item: pytest.Item) -> None:
    """Raise the exception of a `unittest.TestCase`, which pytest keeps for its report."""
    if kept := getattr(item, "_excinfo", None):
        raise kept[0].value


def _forget_kept(item: pytest.Item) -> None:
    """Let the report have what is raised instead of what pytest has kept."""
    if kept := getattr(item, "_excinfo", None):
        kept.clear()


def _take_errors(config: pytest.Config) -> list[HandlerFailure]:
    return [error for server in config.stash[_SERVERS] for error in server.take_errors()]


def _text(failures: list[HandlerFailure]) -> str:
    return "\n\n".join(failure.text for failure in failures)


def _blame(error: BaseException, failures: list[HandlerFailure]) -> None:
    """Show what the servers have found as the cause of an exception, so that it comes first."""
    from fastwsh.testing import CheckError  # noqa: PLC0415 (a server has been used)

    if isinstance(error, pytest.fail.Exception):
        error.msg = f"{_text(failures)}\n\n{error.msg}"
        error.args = (error.msg,)
        return
    root, seen = error, {id(error)}
    while (before := _origin(root)) is not None and id(before) not in seen:
        seen.add(id(before))
        root = before
    # its text is the whole: where it was made is of no interest
    root.__cause__ = CheckError(failures)
    if isinstance(error, AssertionError):
        # where only the last exception is shown
        error.add_note(f"The test server has found: {failures[0].text.splitlines()[0]}")


def _origin(error: BaseException) -> BaseException | None:
    """Return the exception that another one came of, as tracebacks show it."""
    hidden = error.__suppress_context__
    return error.__cause__ or (None if hidden else error.__context__)


@pytest.fixture(scope="session")
def wsserver_listen_address() -> tuple[str, int]:
    """Host and port that servers listen on; override it to choose others.

    Port 0 is any free one, so that tests can run side by side.
    """
    return "127.0.0.1", 0


@pytest.fixture(scope="session")
def wsserver_ssl_context(
    tmp_path_factory: pytest.TempPathFactory, wsserver_listen_address: tuple[str, int]
) -> TlsFiles:
    """The certificate of `wss_server`, made for the session with trustme.

    Override it to return others, as `fastwsh.testing.TlsFiles`: the server's TLS is not Python's,
    so that an `ssl.SSLContext` would be of no use to it.
    """
    pytest.importorskip(
        "trustme",
        reason="wss_server needs trustme to make a certificate (pip install trustme), or a fixture "
        "wsserver_ssl_context of yours that returns fastwsh.testing.TlsFiles",
    )
    from fastwsh.testing import make_tls_files  # noqa: PLC0415 (only when it is used)

    # the host may be empty, which is every address
    names = {"127.0.0.1", "::1", "localhost", wsserver_listen_address[0]} - {""}
    return make_tls_files(tmp_path_factory.mktemp("fastwsh-tls"), *sorted(names))


@pytest.fixture(scope="session")
def wsserver_recording() -> dict[str, Any]:
    """How `--fastwsh-record` records; override it for arguments of `WsServer.record`.

    Such as `{"redact_headers": ["X-Api-Key"], "headers": {"Authorization": token}}`.
    """
    return {}


@pytest.fixture(scope="session")
def make_wsserver(
    pytestconfig: pytest.Config, wsserver_listen_address: tuple[str, int]
) -> Iterator[MakeWsServer]:
    """Make servers that live until the session ends.

    An exception in one of their handlers fails the test that is running; their scripts are checked
    at the end. `clear()` makes such a server as new.
    """
    with contextlib.ExitStack() as stack:

        def make(
            handlers: Handlers | None = None, *, tls: TlsFiles | None = None, **options: Any
        ) -> WsServer:
            given = {name: value for name, value in options.items() if value is not None}
            running = _running(pytestconfig, None, wsserver_listen_address, handlers, tls, given)
            return stack.enter_context(running)

        yield make


@pytest.fixture
def wsserver(
    request: pytest.FixtureRequest,
    wsserver_listen_address: tuple[str, int],
    wsserver_recording: dict[str, Any],
) -> Iterator[WsServer]:
    """A WebSocket server, new for each test.

    It serves the handlers of the marker `wsserver`, or else of the ini setting `fastwsh_handlers`,
    the recording of the marker, and what the test adds. An exception in a handler, or a script or
    recording that was not played to its end, is an error of the test.
    """
    yield from _fixture(request, wsserver_listen_address, None, wsserver_recording)


@pytest.fixture
def wss_server(
    request: pytest.FixtureRequest,
    wsserver_listen_address: tuple[str, int],
    wsserver_ssl_context: TlsFiles,
    wsserver_recording: dict[str, Any],
) -> Iterator[WsServer]:
    """As `wsserver`, with TLS: clients connect with `client_ssl_context()` or trust `ca_file`."""
    tls = _checked(wsserver_ssl_context)
    yield from _fixture(request, wsserver_listen_address, tls, wsserver_recording)


def _fixture(
    request: pytest.FixtureRequest,
    address: tuple[str, int],
    tls: TlsFiles | None,
    recording: dict[str, Any],
) -> Iterator[WsServer]:
    __tracebackhide__ = True
    handlers, options = _marked(request.node)
    replayed = pytest_recordings.take(request.node, options)
    from fastwsh.config_error import ConfigError  # noqa: PLC0415 (only when it is used)

    with contextlib.ExitStack() as stack:
        try:
            running = _running(request.config, request.node, address, handlers, tls, options)
            server = stack.enter_context(running)
        except (ConfigError, TypeError, ValueError) as error:
            pytest_recordings.fail(f"wsserver: {error}")
        if replayed is None:
            yield server
            return
        with replayed.on(server, recording):
            yield server


@contextlib.contextmanager
def _running(
    config: pytest.Config,
    item: pytest.Item | None,
    address: tuple[str, int],
    handlers: Handlers | None,
    tls: TlsFiles | None,
    options: dict[str, Any],
) -> Iterator[WsServer]:
    __tracebackhide__ = True
    from fastwsh.testing import CheckError, WsServer  # noqa: PLC0415 (only when it is used)

    where = dict(zip(("host", "port"), _checked_address(address), strict=True))
    servers = config.stash[_SERVERS]
    sources = _sources(config, handlers)
    stash = config.stash if item is None else item.stash
    shown = pytest_inspector.options(config)
    with WsServer(sources, tls=tls, **{**where, **shown, **options}) as server:
        servers.append(server)
        try:
            yield server
        finally:
            servers.remove(server)
            if bool(shown) and stash.get(_HAS_FAILED, False):
                pytest_inspector.wait(config, server)
    if stash.get(_HAS_FAILED, False):
        # after a failure, steps that were not played are no further mistake
        return
    if item is not None and not item.stash.get(pytest_recordings.HAS_PASSED, False):
        # skipped before its end
        return
    try:
        server.check()
    except CheckError as error:
        failures = error.errors
    else:
        return
    pytest.fail(_text(failures), pytrace=False)


def _marked(item: pytest.Item) -> tuple[Handlers | None, dict[str, Any]]:
    """Return the handlers and the options of the markers; those nearest to the test count."""
    merged: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers(_MARKER))):
        if marker.args:
            pytest_recordings.fail(
                f"the marker wsserver takes keywords only: wsserver(handlers={marker.args[0]!r})"
            )
        merged.update(marker.kwargs)
    if "tls" in merged:
        pytest_recordings.fail(
            "the marker wsserver takes no tls=; use the fixture wss_server for wss:// URLs"
        )
    return merged.pop("handlers", None), merged


def _sources(config: pytest.Config, handlers: Handlers | None) -> Any:
    """Return the files and folders, seen from the root directory."""
    if handlers is None:
        handlers = config.getini(_INI)
    if isinstance(handlers, str | PathLike):
        return [config.rootpath / handlers]
    # what is no path is refused with all other arguments
    several: Any = list(handlers) if isinstance(handlers, Iterable) else [handlers]
    are_paths = all(isinstance(source, str | PathLike) for source in several)
    return [config.rootpath / source for source in several] if are_paths else several


def _checked_address(address: Any) -> tuple[Any, Any]:
    if isinstance(address, tuple | list) and len(address) == 2:
        return address[0], address[1]
    raise ValueError(
        f"the fixture wsserver_listen_address returns {address!r}; return a host and a port, such "
        "as ('127.0.0.1', 0)"
    )


def _checked(tls: Any) -> TlsFiles:
    from fastwsh.testing import TlsFiles  # noqa: PLC0415 (only when it is used)

    if not isinstance(tls, TlsFiles):
        pytest_recordings.fail(
            f"the fixture wsserver_ssl_context returns {type(tls).__name__}, which the server "
            "cannot use because its TLS is not Python's; return fastwsh.testing.TlsFiles("
            "certificate, private_key) with the paths of PEM files"
        )
    return tls
