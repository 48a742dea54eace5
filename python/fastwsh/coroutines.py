"""Calls functions that may be coroutine functions, from both kinds of code.

Imports asyncio only when it is needed. A server with only plain functions as handlers never does.
"""

from __future__ import annotations

import importlib
import threading
from types import CodeType, CoroutineType, FunctionType

from fastwsh.config_error import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import contextvars
    from collections.abc import Callable, Coroutine
    from typing import Any, Final

__all__ = [
    "ASYNCIO",
    "CHOICES",
    "UVLOOP",
    "call",
    "call_in_thread",
    "import_uvloop",
    "is_coroutine_function",
    "may_block",
    "refuse",
    "run",
]

ASYNCIO: Final = "asyncio"
UVLOOP: Final = "uvloop"

CHOICES: Final = (ASYNCIO, UVLOOP)
"""The values of --event-loop."""

# The flag of the code of coroutine functions (inspect.CO_COROUTINE).
_CO_COROUTINE: Final = 0x80

# The syntax that may take time; everything else in a function takes none worth mentioning.
_TAKES_TIME: Final = ("CALL", "IMPORT", "FOR_ITER", "JUMP_BACKWARD", "BEFORE_WITH", "LOAD_SPECIAL")


def import_uvloop() -> Any:
    """Import uvloop, or raise ConfigError if it cannot be imported."""
    try:
        return importlib.import_module("uvloop")
    except ImportError as error:
        raise ConfigError(
            f"--event-loop uvloop needs uvloop ({error}); pip install uvloop, or leave the option "
            "out"
        ) from error


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in an event loop of its own, and return its result."""
    import asyncio  # noqa: PLC0415 (see the module)

    return asyncio.run(coroutine)


async def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Await a coroutine function; call any other function without blocking the event loop."""
    if is_coroutine_function(function):
        return await function(*arguments)
    if may_block(function):
        returned = await call_in_thread(function, *arguments)
    else:
        returned = function(*arguments)
    refuse(returned)
    return returned


def is_coroutine_function(function: object) -> bool:
    """Tell whether calling this makes a coroutine: `async def`, or an object called like one."""
    if type(function) is FunctionType and not vars(function):  # nearly all of them
        return bool(function.__code__.co_flags & _CO_COROUTINE)
    import inspect  # noqa: PLC0415 (few handlers need it)

    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 (of what is called, not whether it is)
    )


def may_block(function: object) -> bool:
    """Tell whether a function contains anything that may take time: calls, imports, loops."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return True
    import dis  # noqa: PLC0415 (few handlers need it)

    return any(step.opname.startswith(_TAKES_TIME) for step in dis.get_instructions(code))


async def call_in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread of its own.

    Unlike `asyncio.to_thread`, this has no limit on the number of threads, because functions of
    handlers may wait for each other. If the caller is cancelled, the function goes on. Context
    variables that it sets are set for the caller as well, as with an ordinary call.
    """
    import asyncio  # noqa: PLC0415 (see the module)
    import contextvars  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        elif isinstance(error, StopIteration):
            done.set_exception(RuntimeError(f"{type(error).__name__} was raised: {error}"))
        else:
            done.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = function(*arguments)
        except BaseException as raised:  # noqa: BLE001 (the caller's)
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, error)

    # as asyncio.to_thread does
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(work,), name="fastwsh-handshake", daemon=True
    ).start()
    result = await done
    _take_over(context)
    return result


def _take_over(context: contextvars.Context) -> None:
    """Copy the context variables that another context has set into the current one."""
    unset = object()
    for variable, value in context.items():
        if variable.get(unset) is not value:
            variable.set(value)


def refuse(returned: object) -> None:
    """Raise TypeError if a plain function has returned a coroutine, which nobody would run."""
    if isinstance(returned, CoroutineType):
        name = returned.__qualname__
        returned.close()
        raise TypeError(
            f"it returned a coroutine of {name}, which is not run; define the handler's function "
            "with async def"
        )
