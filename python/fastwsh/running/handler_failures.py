"""What an exception of a handler is: a mistake, a client that has left, or an end on purpose.

Counts and logs it, as the operator must know of mistakes alone.
"""

from __future__ import annotations

import logging
import traceback

from fastwsh import embedding, exception_groups
from fastwsh.paths import HANDLER_SUFFIX
from fastwsh.pywebsocket.stream import ConnectionTerminatedException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from fastwsh import _core

__all__ = ["kind_and_place", "note_failure", "report"]

# pywebsocket writes these lines with a logger of this name.
_SERVER_LOGGER: Final = logging.getLogger("pywebsocket3.websocket_server.WebSocketServer")


def report(connection: _core.Connection, error: BaseException) -> None:
    """Log an exception that has ended a handler and that the dispatcher does not handle."""
    if exception_groups.all_are(error, lambda leaf: isinstance(leaf, SystemExit)):
        # `sys.exit()` in a handler ends its thread, as in pywebsocket
        _SERVER_LOGGER.debug("Handler of %s exited", connection.resource)
        return
    if exception_groups.all_are(
        error, lambda leaf: isinstance(leaf, ConnectionTerminatedException)
    ):
        # the client left while the server sent to it, which is no mistake of the handler
        _SERVER_LOGGER.debug("%s", error)
        return
    note_failure(connection, error)
    server = connection.server
    if isinstance(error, Exception) and embedding.is_overridden(server, "handle_error"):
        try:
            raise error  # noqa: TRY301 (to be the one that is handled)
        except Exception:  # noqa: BLE001 (what the method asks `sys.exc_info` for)
            server.handle_error(connection, connection.remote_addr)
        return
    _SERVER_LOGGER.error(
        "Exception in processing request from: %r\n%s",
        connection.remote_addr,
        "".join(traceback.format_exception(error)),
    )


def note_failure(connection: _core.Connection, error: BaseException) -> None:
    """Count a failure of a handler, unless only its client has gone."""
    is_lost = exception_groups.all_are(error, lambda leaf: isinstance(leaf, ConnectionError))
    if not (is_lost and connection.is_peer_gone()):
        connection.note_failure()


def kind_and_place(error: BaseException) -> str:
    """Describe what a handler has raised, and in which line; one of its own if possible."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.lower().endswith(HANDLER_SUFFIX)]
    name = type(error).__name__
    place = (own or frames)[-1:]
    return ", ".join([name, *(f"{frame.filename}:{frame.lineno}" for frame in place)])
