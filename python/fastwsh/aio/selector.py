"""The selectors of asyncio's event loop: they wait in the native part of the loop."""

import asyncio
import selectors

from fastwsh import _core

__all__ = ["ReactorSelector", "ReportingSelector", "new_selector"]

Events = list[tuple[selectors.SelectorKey, int]]


class ReportingSelector(selectors.DefaultSelector):
    """asyncio's own selector, which also reports when its event loop waits.

    The loop must watch the descriptor of its native part.
    """

    _native: _core.EventLoop | None = None

    def __init__(self) -> None:
        super().__init__()
        # kept, since finding it costs more than calling it
        self._select = super().select

    def enter(self, loop: asyncio.AbstractEventLoop, native: _core.EventLoop) -> None:
        """Begin to work for a loop and its native part."""
        loop.add_reader(native.fileno(), native.run)
        self._native = native

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do no more than the base class; to be called before the native part ends."""
        if self._native is not None:
            loop.remove_reader(self._native.fileno())  # does nothing if it is not watched
            self._native = None

    def select(self, timeout: float | None = None) -> Events:
        """Do as the base class."""
        native = self._native
        if native is None:
            return self._select(timeout)
        native.go_idle()
        try:
            return self._select(timeout)
        finally:
            native.resume()


class ReactorSelector(ReportingSelector):
    """Waits in the reactor of the native part, which also watches this selector's descriptor.

    So the coroutines of connections go on without a trip through the event loop, which would cost
    more than most messages.
    """

    _loop: asyncio.AbstractEventLoop
    # the reactor tells only once that there are events, so this stays set until there are none
    _may_have_events = True

    def enter(self, loop: asyncio.AbstractEventLoop, native: _core.EventLoop) -> None:
        """Begin to work for a loop and its native part."""
        if not all(hasattr(loop, name) for name in ("_ready", "_scheduled")):
            # a later asyncio, whose loop the native part cannot ask what it has to do
            self.select = super().select  # type: ignore[method-assign]
            super().enter(loop, native)
            return
        native.watch_extra(self.fileno())
        self._loop = loop
        self._native = native

    def select(self, timeout: float | None = None) -> Events:
        """Do as the base class."""
        native = self._native
        if native is None:
            return self._select(timeout)
        # only a loop that runs within a step of a task, as nest_asyncio makes it, has a task here
        task = asyncio.current_task(self._loop)
        if task is not None:
            asyncio.tasks._leave_task(self._loop, task)
        try:
            if native.wait(0 if self._may_have_events else timeout):
                self._may_have_events = True
        except Exception as error:  # noqa: BLE001 (anything may come, and must not end the loop)
            self._may_have_events = True
            context = {"message": "Exception of a connection's end", "exception": error}
            self._loop.call_exception_handler(context)
        except BaseException:
            self._may_have_events = True
            raise
        finally:
            if task is not None:
                asyncio.tasks._enter_task(self._loop, task)
        if not self._may_have_events:
            return []
        events = self._select(0)
        self._may_have_events = bool(events)
        return events


def new_selector() -> ReportingSelector:
    """Return a selector for this system."""
    # elsewhere, nobody has tried whether one reactor can watch another
    return ReactorSelector() if hasattr(selectors, "EpollSelector") else ReportingSelector()
