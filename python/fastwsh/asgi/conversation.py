"""One connection of an ASGI application: what it is told, and what it answers."""

import asyncio
import logging
import operator
import weakref
from typing import Any, Final

from fastwsh import exception_groups
from fastwsh.aio.stalls import TASK_PREFIX
from fastwsh.asgi.events import Application, Event, header_pairs, make_scope
from fastwsh.pywebsocket import _handler_exceptions as handler_exceptions
from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import HandshakeException
from fastwsh.pywebsocket.msgutil import BadOperationException, ConnectionTerminatedException
from fastwsh.pywebsocket.stream import (
    InvalidFrameException,
    InvalidUTF8Exception,
    UnsupportedFrameException,
)
from fastwsh.refusal import Refusal

__all__ = ["ClientDisconnectedError", "Conversation"]

# For an application that raises before it answers, as with other ASGI servers.
_INTERNAL_SERVER_ERROR: Final = 500

_LOGGER: Final = logging.getLogger("fastwsh.server")

# What a peer that breaks the protocol, or goes beyond a limit, makes the stream raise.
_FAULTS: Final = (InvalidFrameException, UnsupportedFrameException, InvalidUTF8Exception)


class ClientDisconnectedError(OSError):
    """An application goes on after the end of the connection (ASGI's WebSocket part 2.4).

    Raised by a send, and by a second receive of the end.
    """


class Conversation:
    """Runs the application for one connection, in a task of its own.

    The task begins with the opening handshake and is not cancelled when the client goes: the
    application is told by `websocket.disconnect`, as by other ASGI servers. While the application
    does not receive, at most one message is held for it.

    Args:
        application: The application.
        request: The request, whose extra handshake has begun.
        root_path: For the scope.
        state: The state of the application's lifespan.
    """

    def __init__(
        self, application: Application, request: Any, root_path: str, state: dict[str, Any]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream: Any = None
        self._decision: asyncio.Future[Event] = self._loop.create_future()
        self._response: Event = {}
        self._body = bytearray()
        self._has_connected = False
        self._message: Event | None = None
        self._end: Event | None = None
        self._is_end_told = False
        self._is_closed = False
        self._is_cancelled = False
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []
        scope = make_scope(request, root_path, state)
        self._task = self._loop.create_task(
            self._run(application, scope), name=f"ASGI {request.ws_resource}"
        )
        self._task.add_done_callback(self._wake)
        # if the answer cannot be sent, no other code would tell the application
        session = asyncio.current_task()
        if session is not None and session.get_name().startswith(TASK_PREFIX):
            session.add_done_callback(lambda _: self._hang_up(common.STATUS_ABNORMAL_CLOSURE))
        else:
            # a dispatcher with calls of its own runs each function in a task of its own
            finalizer = weakref.finalize(request, _hang_up, self._loop, weakref.ref(self))
            finalizer.atexit = False

    async def open(self, request: Any) -> None:
        """Wait until the application accepts the connection; raise HandshakeException otherwise."""
        decision = await self._decision
        kind = decision["type"]
        if kind == "websocket.accept":
            request.ws_protocol = decision["subprotocol"]
            if request.ws_protocol is None:
                # an application need not choose one, as a handler must
                request.ws_requested_protocols = None
            request.extra_headers.extend(decision["headers"])
            return
        if kind == "failed":
            request._native.note_failure()
            raise HandshakeException(decision["reason"], _INTERNAL_SERVER_ERROR) from self._error
        if kind == "websocket.close":
            raise HandshakeException("the application refused it", common.HTTP_STATUS_FORBIDDEN)
        status = self._response["status"]
        raise Refusal(
            status,
            f"the application answered {status}",
            headers=self._response["headers"],
            body=bytes(self._body),
        )

    async def run(self, request: Any) -> None:
        """Serve the open connection until the application has ended."""
        self._stream = request.ws_stream
        options = request._native.server.websocket_server_options
        self._wake()
        reading = self._loop.create_task(self._read(request), name="ASGI reader")
        try:
            await self._until_done(self._task)
            if not self._is_closed and self._end is None:
                failed = self._error is not None
                await self._close(
                    common.STATUS_INTERNAL_ENDPOINT_ERROR
                    if failed
                    else common.STATUS_NORMAL_CLOSURE
                )
            self._hang_up(common.STATUS_ABNORMAL_CLOSURE)
            # the client's close frame comes behind what it has sent before
            await asyncio.wait([reading], timeout=getattr(options, "close_timeout", None) or None)
        finally:
            self._is_cancelled = True
            for task in (reading, self._task):
                task.cancel()
            await asyncio.gather(reading, self._task, return_exceptions=True)
        if self._error is not None:
            raise self._error

    async def _until_done(self, task: asyncio.Task[None]) -> None:
        """Wait for the application, which may run on for a while when the client has gone."""
        current = asyncio.current_task()
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                if current is None or self._end is not None:
                    # the server stops, and the application knows that the connection has ended
                    raise
                current.uncancel()
                self._hang_up(common.STATUS_ABNORMAL_CLOSURE)

    def _hang_up(self, code: int, reason: str = "") -> None:
        """Tell the application that the connection has ended, behind what it has not received."""
        if self._end is None:
            self._end = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._wake()

    def _wake(self, _task: object = None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        """Wait until something of the state has changed."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    async def _read(self, request: Any) -> None:
        """Receive until the end, for the application or, once it has closed, for nobody."""
        while True:
            try:
                message = await self._stream.receive_message()
            except _FAULTS as error:
                # the close frame is that of other handlers
                if closing := handler_exceptions.close_arguments(_LOGGER, request, error):
                    await self._close(*closing[:2])
                    self._hang_up(*closing[:2])
                return
            except (ConnectionTerminatedException, BadOperationException, OSError):
                self._hang_up(common.STATUS_ABNORMAL_CLOSURE)
                return
            if message is None:
                code = request.ws_close_code
                self._hang_up(
                    common.STATUS_NO_STATUS_RECEIVED if code is None else code,
                    request.ws_close_reason or "",
                )
                return
            while self._message is not None and not self._is_over():
                await self._change()
            if not self._is_over():
                kind = "text" if isinstance(message, str) else "bytes"
                self._message = {"type": "websocket.receive", kind: message}
                self._wake()
            del message

    def _is_over(self) -> bool:
        """Tell whether the application takes no messages any more."""
        return self._is_closed or self._task.done()

    async def _run(self, application: Application, scope: Event) -> None:
        reason = "the application ended without accepting the connection"
        try:
            await application(scope, self._receive, self._send)
        except asyncio.CancelledError as error:
            if self._is_cancelled:
                raise
            self._error = RuntimeError("the ASGI application was cancelled by itself")
            self._error.__cause__ = error
            reason = str(self._error)
        except BaseException as error:  # noqa: BLE001 (sys.exit must not end the event loop)
            if not self._is_gone(error):
                self._error = error
                reason = f"{type(error).__name__}: {error}"
        if not self._decision.done():
            self._decision.set_result({"type": "failed", "reason": reason})
        elif self._error is not None and self._stream is None:
            _LOGGER.error("The ASGI application failed after its answer", exc_info=self._error)

    def _is_gone(self, error: BaseException) -> bool:
        """Tell whether an exception is that of a send to a client that has gone."""
        return self._end is not None and exception_groups.all_are(
            error, lambda leaf: isinstance(leaf, OSError | ConnectionTerminatedException)
        )

    async def _receive(self) -> Event:
        if not self._has_connected:
            self._has_connected = True
            return {"type": "websocket.connect"}
        while self._message is None and self._end is None:
            await self._change()
        if self._message is not None:
            message, self._message = self._message, None
            self._wake()
            return message
        if self._is_end_told or self._end is None:
            # an application that goes on without looking would never let others run
            raise ClientDisconnectedError("receive was called after websocket.disconnect")
        self._is_end_told = True
        return dict(self._end)

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        if not self._decision.done():
            self._answer(kind, event)
            return
        if self._decision.result()["type"] != "websocket.accept":
            raise RuntimeError(f"{kind!r} was sent after the connection was refused")
        # the answer to the handshake leaves when the extra handshake has returned
        while self._stream is None and self._end is None:
            await self._change()
        if self._end is not None or self._is_closed:
            raise ClientDisconnectedError(f"{kind!r} was sent after the connection had ended")
        if kind == "websocket.close":
            code = event.get("code")
            code = common.STATUS_NORMAL_CLOSURE if code is None else code
            reason = event.get("reason") or ""
            await self._close(code, reason)
            self._hang_up(code, reason)
        elif kind == "websocket.send":
            text, data = event.get("text"), event.get("bytes")
            if (text is None) == (data is None):
                raise ValueError("websocket.send needs either a text or bytes")
            await self._stream.send_message(data if text is None else text, binary=text is None)
        else:
            raise RuntimeError(f"{kind!r} was sent on an open connection")

    def _answer(self, kind: str, event: Event) -> None:
        """Take the application's answer to the opening handshake."""
        if self._response:
            if kind != "websocket.http.response.body":
                raise RuntimeError(f"{kind!r} was sent within websocket.http.response")
            self._body += event.get("body", b"")
            if not event.get("more_body", False):
                self._decision.set_result({"type": kind})
        elif kind == "websocket.accept":
            # a mistake is raised where the application has made it
            protocol, headers = event.get("subprotocol") or None, header_pairs(event)
            self._decision.set_result({"type": kind, "subprotocol": protocol, "headers": headers})
        elif kind == "websocket.close":
            self._decision.set_result({"type": kind})
        elif kind == "websocket.http.response.start":
            status, headers = operator.index(event["status"]), header_pairs(event)
            # raises for a status that is no answer
            Refusal(status)
            self._response = {"status": status, "headers": headers}
        else:
            raise RuntimeError(f"{kind!r} was sent before the connection was accepted")

    async def _close(self, code: int, reason: str = "") -> None:
        self._is_closed = True
        self._wake()
        try:
            await self._stream.close_connection(code, reason, wait_response=False)
        except (ConnectionTerminatedException, OSError):
            self._hang_up(common.STATUS_ABNORMAL_CLOSURE)
        except BaseException:
            # the code or the reason cannot be sent, so the connection is open as before
            self._is_closed = False
            raise


def _hang_up(loop: asyncio.AbstractEventLoop, reference: "weakref.ref[Conversation]") -> None:
    conversation = reference()
    if conversation is not None and not loop.is_closed():
        loop.call_soon_threadsafe(conversation._hang_up, common.STATUS_ABNORMAL_CLOSURE)
