"""asyncio's loop and uvloop's as many handlers share one: none can end it for the others.

A handler may have been written for a loop of its own, with the lines by which a program ends its
loop. These affect all tasks of the loop, and cannot be taken back.
"""

import asyncio
import logging
import warnings
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from fastwsh import coroutines

__all__ = ["SharedSelectorLoop", "SharesExecutor", "new_uvloop"]

_LOGGER: Final = logging.getLogger("fastwsh.server")

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")

if TYPE_CHECKING:
    _Loop = asyncio.BaseEventLoop
else:
    _Loop = object


class SharesExecutor(_Loop):
    """A loop that always has an executor, for `asyncio.to_thread` of every handler."""

    _shared_executor: Executor | None = None
    _is_ending = False

    def set_default_executor(self, executor: Any) -> None:
        """Use an executor from now on, as long as it takes calls."""
        super().set_default_executor(executor)
        self._shared_executor = executor

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Arguments], _T], *args: *_Arguments
    ) -> asyncio.Future[_T]:
        """Do as the base class; if somebody has shut down the default executor, make another."""
        if executor is None and (
            self._shared_executor is None or getattr(self._shared_executor, "_shutdown", False)
        ):
            self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        return super().run_in_executor(executor, func, *args)

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 (asyncio's)
    ) -> None:
        """Wait for the calls of the default executor; later calls get another one."""
        executor = self._shared_executor
        if executor is None:
            return
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
        try:
            async with asyncio.timeout(timeout):
                await coroutines.call_in_thread(executor.shutdown)
        except TimeoutError:
            warnings.warn(
                f"The executor did not finish joining its threads within {timeout} seconds.",
                RuntimeWarning,
                stacklevel=2,
            )

    async def shutdown_asyncgens(self) -> None:
        """Close the asynchronous generators, but not while other handlers iterate over theirs."""
        if self._is_ending:
            await super().shutdown_asyncgens()
        else:
            _LOGGER.warning(
                "A handler calls shutdown_asyncgens of the event loop, which would end the "
                "generators of all other handlers; it has no effect"
            )

    def begin_to_end(self) -> None:
        """Do what the base class does from now on: no handler is left."""
        self._is_ending = True


class SharedSelectorLoop(SharesExecutor, asyncio.SelectorEventLoop):
    """asyncio's loop."""


def new_uvloop() -> SharesExecutor:
    """Make a loop of uvloop, or raise ConfigError if that cannot be imported."""
    base = coroutines.import_uvloop().Loop
    loop: SharesExecutor = type("Loop", (SharesExecutor, base), {"__module__": "uvloop"})()
    return loop
