"""One connection from its opening handshake to its end, where its handler runs.

`pywebsocket.dispatch` decides what an exception of a handler does to its connection. This module
begins and ends the connection; `opening` has the handshake between them.
"""

from __future__ import annotations

import logging
import sys
import threading
import time

from fastwsh import _core, topics
from fastwsh.concurrency import tracing
from fastwsh.pywebsocket.dispatch import DispatchException
from fastwsh.pywebsocket.handshake import base
from fastwsh.running import opening
from fastwsh.running.handler_failures import report
from fastwsh.running.request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

__all__ = [
    "make_worker",
    "note_aborted",
    "note_clean",
    "note_end",
    "run",
    "take_apart",
]

# pywebsocket writes these lines with a logger of this name.
_HANDLER_LOGGER: Final = logging.getLogger("pywebsocket3.request_handler.WebSocketRequestHandler")

# How often an object is referred to that is in a list and in one other object. How many references
# a variable or an argument holds differs between versions of Python; a list always holds one.
_REFERENCES_WITHIN: Final = next(map(sys.getrefcount, [object()])) + 1


def run(connection: _core.Connection) -> None:
    """Open the connection, run its handler, and end the connection.

    Called by the native server, in a thread or a greenlet of its own. Never raises an exception of
    a handler.

    Args:
        connection: A connection with a request for a handler.
    """
    tracing.follow()
    topics.enter(connection)
    request = Request(connection)
    started = time.monotonic()
    try:
        _serve(request, connection)
    except BaseException as error:  # noqa: BLE001 (a handler may raise anything; the thread goes on)
        report(connection, error)
    finally:
        connection.flush()
        note_end(request, started)
        if threading.get_ident() in threading._active:  # type: ignore[attr-defined]
            _forget_thread()
        held = [request]
        del request
        take_apart(held)


def make_worker(next_job: Callable[[], Any]) -> Callable[..., None]:
    """Return the function that a greenlet of the hub runs: one connection after the other.

    Args:
        next_job: Waits for the next connection; returns the function to call, and the connection.
    """

    def work() -> None:
        while True:
            run, connection = next_job()
            run(connection)
            # do not keep the connection while waiting
            del run, connection

    return work


def note_end(request: Request, started: float) -> None:
    """Write the connection's line into the access log, if there is one."""
    access_log = getattr(request._native.server, "access_log", None)
    if access_log is not None:
        access_log.write(request, started)


def take_apart(held: list[Any]) -> None:
    """Free a request and its stream if the handler has kept neither.

    They refer to each other. Without this, they would wait for the garbage collector, and thousands
    of ended connections would add up.

    Args:
        held: A list with the request, to which no other variable of the caller refers.
    """
    held.append(vars(held[0]).get("ws_stream"))
    if isinstance(held[1], _core.AsyncStream):
        held.append(held[1].blocking)
    for count in map(sys.getrefcount, held):
        if count != _REFERENCES_WITHIN:
            return
    vars(held[0]).pop("ws_stream", None)


def _serve(request: Request, connection: _core.Connection) -> None:
    dispatcher = connection.server.websocket_server_options.dispatcher
    try:
        if not _open(request, dispatcher):
            return
        request._dispatcher = dispatcher  # type: ignore[attr-defined]
        dispatcher.transfer_data(request)
    except base.AbortedByUserException as error:
        note_aborted(error)
    else:
        note_clean(request, connection)


def note_aborted(error: Exception) -> None:
    """Log that a handler has dropped its connection on purpose."""
    _HANDLER_LOGGER.info("Aborted: %s", error)


def note_clean(request: Request, connection: _core.Connection) -> None:
    """Mark the connection as clean if close frames were exchanged in both directions."""
    attributes = vars(request)
    if attributes.get("client_terminated") and attributes.get("server_terminated"):
        connection.set_clean()


def _open(request: Request, dispatcher: Any) -> bool:
    """Do the opening handshake; return whether the connection is open."""
    handshaker = opening.Handshaker(request, dispatcher)
    try:
        handshaker.begin()
        dispatcher.do_extra_handshake(request)
        return handshaker.finish()
    except (base.VersionException, base.HandshakeException, DispatchException) as error:
        opening.refuse(request, error)
        return False


def _forget_thread() -> None:
    """Drop the dummy object that `threading` makes for a thread that it has not started.

    The thread goes on to serve other connections, and before Python 3.13 the object would stay for
    ever.
    """
    active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
    number = threading.get_ident()
    if isinstance(active.get(number), threading._DummyThread):
        active.pop(number, None)
