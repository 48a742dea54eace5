"""One connection from its opening handshake to its end, for a handler that is a coroutine function.

The counterpart of `fastwsh.running.session`, which owns everything that does not wait.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from fastwsh import _core, exception_groups, topics
from fastwsh.aio import stalls
from fastwsh.pywebsocket.dispatch import DispatchException
from fastwsh.pywebsocket.handshake import base
from fastwsh.running import handler_failures, opening, session
from fastwsh.running.request import Request

__all__ = ["Session"]

_LOGGER: Final = logging.getLogger("fastwsh.server")


class Session:
    """A connection with a task that serves it.

    The task is cancelled when the peer has gone while the handler waits for something else. A
    handler that waits for the peer gets the stream's exception instead, and is not cancelled.

    Args:
        event_loop: The native part of the event loop.
        connection: A connection with a request for a handler.
    """

    def __init__(self, event_loop: _core.EventLoop, connection: _core.Connection) -> None:
        self._connection = connection
        self._async_connection = _core.AsyncConnection(event_loop, connection)
        self._task: asyncio.Task[Any] | None = None
        self._server_stops = False
        self._cancelled_for = "the server stops"

    async def run(self) -> None:
        """Open the connection, run its handler, and end the connection.

        Never raises an exception of a handler. It awaits the handler itself, as each coroutine in
        between would cost some time whenever the handler goes on.
        """
        connection = self._connection
        stalls.RESOURCE.set(connection.resource)
        topics.enter(connection)
        request = Request(connection)
        started = time.monotonic()
        self._task = asyncio.current_task()
        with connection.server._around_connection():
            try:
                if (dispatcher := await self._open(request)) is not None:
                    await dispatcher.transfer_data_async(request)
                    session.note_clean(request, connection)
            except base.AbortedByUserException as error:
                session.note_aborted(error)
            except BaseException as error:  # noqa: BLE001 (a handler may raise anything)
                if self._is_cancellation(error):
                    self._note_cancelled()
                else:
                    handler_failures.report(connection, error)
            finally:
                await self._drain()
                session.note_end(request, started)
        stream = vars(request).get("ws_stream")
        if isinstance(stream, _core.AsyncStream):
            # a handler that was cancelled may refer to its stream until the next collection
            stream.blocking._forget_received()
        del stream
        held = [request]
        # no other variable refers to it any more
        del request
        session.take_apart(held)

    async def transfer(self, request: Request, dispatcher: Any) -> None:
        """Run the handler of a connection that a thread has opened and will close."""
        stalls.RESOURCE.set(self._connection.resource)
        topics.enter(self._connection)
        self._task = asyncio.current_task()
        stream = vars(request)["ws_stream"]
        vars(request)["ws_stream"] = _core.AsyncStream(stream, self._async_connection)
        self._async_connection.watch_end(self._cancel)
        try:
            await dispatcher.transfer_data_async(request)
        except BaseException as error:
            if not self._is_cancellation(error):
                raise
            self._note_cancelled()
        finally:
            await self._drain()
            vars(request)["ws_stream"] = stream

    def note_server_close(self) -> None:
        """Cancel the handler when the client has answered the close frame of a stopping server."""
        self._server_stops = True
        self._async_connection.watch_server_close()

    async def _open(self, request: Request) -> Any:
        """Do the opening handshake; return the dispatcher, or None if there is no connection."""
        dispatcher = self._connection.server.websocket_server_options.dispatcher
        handshaker = opening.Handshaker(request, dispatcher)
        try:
            handshaker.begin()
            await dispatcher.do_extra_handshake_async(request)
            established = handshaker.finish()
        except (base.VersionException, base.HandshakeException, DispatchException) as error:
            opening.refuse(request, error)
            return None
        stream = vars(request)["ws_stream"]
        vars(request)["ws_stream"] = _core.AsyncStream(stream, self._async_connection)
        if not established:
            return None
        request._dispatcher = dispatcher  # type: ignore[attr-defined]
        self._async_connection.watch_end(self._cancel)
        return dispatcher

    def _cancel(self) -> None:
        if self._async_connection.is_end_reported():
            # the handler cleans up, so do not cancel it again
            return
        if not self._server_stops:
            self._cancelled_for = "its client has gone"
        if self._task is not None:
            self._task.cancel(self._cancelled_for)

    def _is_cancellation(self, error: BaseException) -> bool:
        """Tell whether the cancellation is ours, not one of something that was awaited."""
        is_cancelled = self._task is not None and self._task.cancelling() > 0
        return is_cancelled and exception_groups.all_are(
            error, lambda leaf: isinstance(leaf, asyncio.CancelledError)
        )

    async def _drain(self) -> None:
        # no handler is left that could get the exception
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await _core.drain_sends(self._async_connection)
        self._task = None
        self._async_connection.close()

    def _note_cancelled(self) -> None:
        _LOGGER.info(
            "Handler of %s was cancelled: %s", self._connection.resource, self._cancelled_for
        )
