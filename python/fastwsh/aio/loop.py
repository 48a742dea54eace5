"""The event loop of a server: in a thread of its own, or the loop of the embedding program."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from fastwsh import _core, coroutines, exception_groups
from fastwsh.aio import stalls
from fastwsh.aio.selector import ReportingSelector, new_selector
from fastwsh.aio.session import Session
from fastwsh.aio.shared_loop import SharedSelectorLoop, SharesExecutor, new_uvloop
from fastwsh.concurrency import tracing
from fastwsh.pywebsocket.stream import ConnectionTerminatedException

__all__ = ["CANCEL_SECONDS", "CallersLoop", "EventLoopThread", "HandlerLoop"]

CANCEL_SECONDS: Final = 5.0
"""Time that cancelled handlers have to clean up: as much as a database or a file needs."""

_LOGGER: Final = logging.getLogger("fastwsh.server")


class HandlerLoop:
    """Runs the handlers of one server that are coroutine functions, in an event loop.

    Args:
        loop: The event loop.

    Attributes:
        native: What the server hands connections to.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.native = _core.EventLoop(loop, self._start)
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._thread_id: int | None = None
        # Tasks that no other task awaits; without this reference they would be garbage-collected.
        self._begun: set[asyncio.Task[Any]] = set()

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine for another thread, which waits for its result.

        For the loop's own thread, which cannot wait, it is begun.
        """
        if threading.get_ident() == self._thread_id:
            self._begun.add(task := self._loop.create_task(coroutine))
            task.add_done_callback(self._begun.discard)
            return None
        running = asyncio.run_coroutine_threadsafe(_caught_exit(coroutine), self._loop)
        result, wish_to_exit = running.result()
        if wish_to_exit is not None:
            raise wish_to_exit
        return result

    def run_transfer(self, dispatcher: Any, request: Any) -> None:
        """Run the coroutine of a connection that another thread has opened, which waits for it."""
        self.run_coroutine(self._transfer(dispatcher, request))

    async def _transfer(self, dispatcher: Any, request: Any) -> None:
        session = Session(self.native, request._native)
        if (task := asyncio.current_task()) is not None:
            task.set_name(f"{stalls.TASK_PREFIX}{request.uri}")
            self._sessions[task] = session
            task.add_done_callback(self._sessions.pop)
        await session.transfer(request, dispatcher)

    def note_server_close(self) -> None:
        """Tell the handlers that the server has sent its close frames, without waiting for them."""
        self._call(self._note_server_close)

    def stop(self) -> None:
        """Cancel the handlers, and wait for them to clean up."""
        raise NotImplementedError

    def _call(self, function: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _note_server_close(self) -> None:
        for session in list(self._sessions.values()):
            session.note_server_close()

    def _start(self, connection: _core.Connection, leave: Callable[..., None]) -> None:
        # the functions may have been set after the thread began
        tracing.follow()
        session = Session(self.native, connection)
        task = self._loop.create_task(
            session.run(), name=f"{stalls.TASK_PREFIX}{connection.resource}"
        )
        self._sessions[task] = session
        task.add_done_callback(self._sessions.pop)
        task.add_done_callback(leave)


class EventLoopThread(HandlerLoop):
    """An event loop in a thread of its own.

    Args:
        kind: One of `coroutines.CHOICES`. asyncio's own loop is the default, since it needs nothing
            that has to be installed, and the sockets of handlers are not its business in either
            case.
        clock: Seconds by which timers of asyncio's loop go; None: its own.

    Raises:
        ConfigError: uvloop is asked for and not installed.
    """

    def __init__(
        self, kind: str = coroutines.ASYNCIO, clock: Callable[[], float] | None = None
    ) -> None:
        loop, self._selector = _new_loop(kind)
        self._shared_loop = loop
        if clock is not None and kind == coroutines.ASYNCIO:
            loop.time = clock  # type: ignore[method-assign]
        loop.set_exception_handler(_report)
        super().__init__(loop)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fastwsh-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Cancel the handlers, wait for them to clean up, and end the thread."""
        self._stopping = True
        self._call(self._loop.stop)
        if threading.current_thread() is self._thread:
            return
        # a handler that blocks its thread cannot be cancelled
        self._thread.join(2 * CANCEL_SECONDS)
        if self._thread.is_alive():
            _LOGGER.warning("The event loop has not ended: a handler blocks it")

    def _run(self) -> None:
        self._thread_id = threading.get_ident()
        self.native.enter_thread()
        stalls.Stalls(self._loop, self.native, loop_says=self._selector is not None)
        if self._selector is not None:
            self._selector.enter(self._loop, self.native)
        else:
            self._loop.add_reader(self.native.fileno(), self.native.run)
        while not self._stopping:
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                # `sys.exit()` in a task that a handler has made must not end all others
                _LOGGER.warning("%s in a task of a handler is ignored", type(error).__name__)
        try:
            self._loop.run_until_complete(_cancel(asyncio.all_tasks(self._loop)))
            self._shared_loop.begin_to_end()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            if self._selector is not None:
                self._selector.leave(self._loop)
            else:
                self._loop.remove_reader(self.native.fileno())
            self.native.end()
            self._loop.close()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what asyncio reports, unless a task has ended because its client has gone.

    A client that leaves is no mistake of the handler, neither here nor in the handler itself.
    """
    error = context.get("exception")
    if isinstance(error, BaseException) and exception_groups.all_are(
        error, lambda leaf: isinstance(leaf, ConnectionTerminatedException)
    ):
        _LOGGER.debug("%s: %s", context.get("message"), error)
    else:
        loop.default_exception_handler(context)


class CallersLoop(HandlerLoop):
    """The running event loop, which goes on when the server has stopped. Made in its thread."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self._thread_id = threading.get_ident()
        self._has_left = False
        stalls.Stalls(self._loop, self.native, loop_says=False)
        self._loop.add_reader(self.native.fileno(), self.native.run)

    def stop(self) -> None:
        """Cancel the handlers, wait for them to clean up, and leave the event loop; once."""
        if self._has_left:
            return
        self._has_left = True
        if self._loop.is_closed():
            self.native.end()
        else:
            self.run_coroutine(self._leave())

    async def _leave(self) -> None:
        try:
            await _cancel(list(self._sessions))
        finally:
            self.native.end()
            self._loop.remove_reader(self.native.fileno())


async def _caught_exit(
    coroutine: Coroutine[Any, Any, Any],
) -> tuple[Any, KeyboardInterrupt | SystemExit | None]:
    """Await a coroutine; return its result, or None and the exception that is to end the process.

    asyncio raises such an exception in the loop's thread as well, where it would end the loop.
    """
    try:
        return await coroutine, None
    except (KeyboardInterrupt, SystemExit) as error:
        return None, error


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait for a while for them to clean up."""
    cancelled = set(tasks)
    for task in cancelled:
        # a second time would keep it from cleaning up
        if not task.cancelling():
            task.cancel("the server stops")
    if not cancelled:
        return
    _, pending = await asyncio.wait(cancelled, timeout=CANCEL_SECONDS)
    for task in pending:
        _LOGGER.warning(
            "%s has not ended %g s after it was cancelled", task.get_name(), CANCEL_SECONDS
        )


def _new_loop(kind: str) -> tuple[SharesExecutor, ReportingSelector | None]:
    if kind == coroutines.ASYNCIO:
        selector = new_selector()
        return SharedSelectorLoop(selector), selector
    return new_uvloop(), None
