"""The event loop of a server, in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastwsh import _core, coroutines, tracing
from fastwsh.aio import stalls
from fastwsh.aio.session import Session

__all__ = ["CANCEL_SECONDS", "EventLoopThread"]

CANCEL_SECONDS: Final = 5.0
"""Time that cancelled handlers have to clean up: as much as a database or a file needs."""

_LOGGER: Final = logging.getLogger("fastwsh.server")


class EventLoopThread:
    """Runs the handlers of one server that are coroutine functions.

    Args:
        kind: One of `coroutines.CHOICES`. asyncio's own loop is the default, since it needs no
            other package, and neither loop handles the sockets of handlers.

    Attributes:
        native: The object that the server passes connections to.

    Raises:
        ConfigError: uvloop is requested and not installed.
    """

    def __init__(self, kind: str = coroutines.ASYNCIO) -> None:
        self._loop, self._selector = _new_loop(kind)
        self.native = _core.EventLoop(self._loop, self._start)
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fastwsh-loop", daemon=True)
        self._thread.start()

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine for another thread, which waits for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run_transfer(self, dispatcher: Any, request: Any) -> None:
        """Run the coroutine of a connection that another thread has opened, which waits for it."""
        self.run_coroutine(self._transfer(dispatcher, request))

    async def _transfer(self, dispatcher: Any, request: Any) -> None:
        session = Session(self.native, request.connection)
        if (task := asyncio.current_task()) is not None:
            task.set_name(f"{stalls.TASK_PREFIX}{request.connection.resource}")
            self._sessions[task] = session
            task.add_done_callback(self._sessions.pop)
        await session.transfer(request, dispatcher)

    def say_goodbye(self) -> None:
        """Tell the handlers that the server has sent its close frames, without waiting for them."""
        self._call(self._say_goodbye)

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

    def _call(self, function: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _say_goodbye(self) -> None:
        for session in list(self._sessions.values()):
            session.say_goodbye()

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

    def _run(self) -> None:
        self.native.enter_thread()
        stalls.Stalls(self._loop, self.native, self._selector)
        self._loop.add_reader(self.native.fileno(), self.native.run)
        while not self._stopping:
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                # `sys.exit()` in a task that a handler has made must not end all others
                _LOGGER.warning("%s in a task of a handler is ignored", type(error).__name__)
        try:
            self._loop.run_until_complete(self._cancel_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self.native.end()
            self._loop.remove_reader(self.native.fileno())
            self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            # cancel each only once: a second time would keep it from cleaning up
            if not task.cancelling():
                task.cancel("the server stops")
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
        for task in pending:
            _LOGGER.warning(
                "%s has not ended %g s after it was cancelled", task.get_name(), CANCEL_SECONDS
            )


def _new_loop(kind: str) -> tuple[asyncio.AbstractEventLoop, stalls.Selector | None]:
    if kind == coroutines.ASYNCIO:
        selector = stalls.Selector()
        return asyncio.SelectorEventLoop(selector), selector
    loop: asyncio.AbstractEventLoop = coroutines.import_uvloop().new_event_loop()
    return loop, None
