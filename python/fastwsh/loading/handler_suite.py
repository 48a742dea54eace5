"""What a handler file defines: its functions, and what it says about itself."""

from __future__ import annotations

from fastwsh.coroutines import is_coroutine_function
from fastwsh.loading import source
from fastwsh.loading.source import LoadError
from fastwsh.pywebsocket import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from fastwsh.loading.handler_modules import HandlerPackage

__all__ = [
    "AUTO",
    "HUB",
    "LOOP",
    "SHUTDOWN",
    "STARTUP",
    "THREADS",
    "HandlerSuite",
    "default_passive_closing_handshake",
    "make_suite",
]

AUTO: Final = "auto"
HUB: Final = "hub"
THREADS: Final = "threads"
LOOP: Final = "loop"

STARTUP: Final = "web_socket_startup"
SHUTDOWN: Final = "web_socket_shutdown"
_DO_EXTRA_HANDSHAKE: Final = "web_socket_do_extra_handshake"
_TRANSFER_DATA: Final = "web_socket_transfer_data"
_PASSIVE_CLOSING_HANDSHAKE: Final = "web_socket_passive_closing_handshake"
_CONCURRENCY: Final = "web_socket_concurrency"
_SUBPATHS: Final = "web_socket_subpaths"
_NOT_FROM_A_FILE: Final = source.Check(None, "it was not loaded from a file")


def default_passive_closing_handshake(request: Any) -> tuple[int, str]:  # noqa: ARG001 (a handler)
    """Answer a close frame with status 1000, for handlers without a function for it."""
    return common.STATUS_NORMAL_CLOSURE, ""


class HandlerSuite:
    """The functions of one handler.

    Attributes:
        do_extra_handshake: Called with the request before the handshake is answered.
        transfer_data: Called with the request once the connection is open.
        passive_closing_handshake: Called with the request when the client closes; returns the
            status code and the reason to answer.
        path: The handler's file, or "" if it was loaded from a text.
        namespace: The handler's global variables.
        package: The package of its module, or None if it was loaded from a text.
        startup: Called with the server's app before the first connection, or None.
        shutdown: Called with it after the last, or None.
        concurrency: Where the handler wants to run: "threads", "hub" or, by default, "auto".
        check: Tells why it needs a thread of its own under "auto", if it does.
        stall: What was seen when it kept others waiting in a shared thread, or None.
        has_subpaths: Whether it serves the paths below its own too.
        is_async: Whether `transfer_data` is a coroutine function, which needs an event loop.
        opens_async: Whether `do_extra_handshake` is one.
    """

    def __init__(
        self,
        do_extra_handshake: Callable[[Any], Any],
        transfer_data: Callable[[Any], Any],
        passive_closing_handshake: Callable[[Any], Any],
        path: str = "",
        namespace: dict[str, Any] | None = None,
        concurrency: str = AUTO,
        check: source.Check = _NOT_FROM_A_FILE,
    ) -> None:
        self.do_extra_handshake = do_extra_handshake
        self.transfer_data = transfer_data
        self.passive_closing_handshake = passive_closing_handshake
        self.path = path
        self.namespace = {} if namespace is None else namespace
        self.concurrency = concurrency
        self.check = check
        self.package: HandlerPackage | None = None
        self.startup: Callable[[Any], Any] | None = None
        self.shutdown: Callable[[Any], Any] | None = None
        self.stall: str | None = None
        self.has_subpaths = False
        self.is_async = is_coroutine_function(transfer_data)
        self.opens_async = is_coroutine_function(do_extra_handshake)


def make_suite(namespace: dict[str, Any], path: str, check: source.Check) -> HandlerSuite:
    """Take the functions of a handler that was executed.

    Args:
        namespace: Its global variables.
        path: Its file, or "".
        check: Tells why it needs a thread of its own under "auto", if it does.

    Raises:
        LoadError: It lacks a function, or says something about itself that cannot be.
    """
    try:
        passive_closing_handshake = _function(namespace, _PASSIVE_CLOSING_HANDSHAKE)
    except LoadError:
        passive_closing_handshake = default_passive_closing_handshake
    if is_coroutine_function(passive_closing_handshake):
        raise LoadError(
            f"{_PASSIVE_CLOSING_HANDSHAKE} is a coroutine function; it is called in the middle of "
            "receiving and has to return at once: define it with def."
        )
    suite = HandlerSuite(
        _function(namespace, _DO_EXTRA_HANDSHAKE),
        _function(namespace, _TRANSFER_DATA),
        passive_closing_handshake,
        path,
        namespace,
        _concurrency(namespace),
        check,
    )
    suite.has_subpaths = _has_subpaths(namespace)
    suite.startup = _app_function(namespace, STARTUP)
    suite.shutdown = _app_function(namespace, SHUTDOWN)
    return suite


def _app_function(namespace: dict[str, Any], name: str) -> Callable[[Any], Any] | None:
    if namespace.get(name) is None:
        return None
    import inspect  # noqa: PLC0415 (few handlers have such a function)

    function = _function(namespace, name)
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise LoadError(
            f"{name} is called with the app alone ({error}): define it as {name}(app)."
        ) from error
    except ValueError:  # a builtin that does not say
        pass
    return function


def _function(namespace: dict[str, Any], name: str) -> Callable[[Any], Any]:
    if name not in namespace:
        raise LoadError(f"{name} is not defined.")
    function: Callable[[Any], Any] = namespace[name]
    if not callable(function):
        raise LoadError(f"{name} is not callable.")
    return function


def _concurrency(namespace: dict[str, Any]) -> str:
    stated = namespace.get(_CONCURRENCY, AUTO)
    if stated not in (AUTO, THREADS, HUB):
        raise LoadError(f'{_CONCURRENCY} is {stated!r}; it must be "threads", "hub" or "auto".')
    return str(stated)


def _has_subpaths(namespace: dict[str, Any]) -> bool:
    stated = namespace.get(_SUBPATHS, False)
    if not isinstance(stated, bool):
        raise LoadError(f"{_SUBPATHS} is {stated!r}; it must be True or False.")
    return stated
