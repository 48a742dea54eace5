"""Functions that a test gives to its server: which can be used, and what they return.

A coroutine or a generator runs only if it is awaited or asked for its items. As an answer it would
be true, whatever is in it.
"""

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from fastwsh import coroutines

__all__ = ["call", "check_function", "check_handler", "check_result"]


def check_function(function: object, what: str) -> None:
    """Raise TypeError for what cannot be called, or does nothing when it is called."""
    check_handler(function, what)
    if coroutines.is_coroutine_function(function):
        raise TypeError(
            f"{what} {function!r} is a coroutine function, which is not awaited here; give a "
            "plain function"
        )


def check_handler(function: object, what: str) -> None:
    """Raise TypeError as `check_function`; a coroutine function will do."""
    if not callable(function):
        raise TypeError(f"{what} {function!r}; give a function")
    called = getattr(type(function), "__call__", None)  # noqa: B004 (of what is called, not whether)
    for one in (function, called):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{what} {function!r} is a generator function, of which nothing runs when it is "
                "called; write it without yield"
            )


def call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a plain function and return its result, checked."""
    result = function(*arguments)
    check_result(function, result)
    return result


def check_result(function: Callable[..., Any], result: object) -> None:
    """Raise TypeError for a coroutine or a generator."""
    if isinstance(result, CoroutineType):
        result.close()
        kind = "a coroutine, which is not awaited"
    elif isinstance(result, AsyncGeneratorType | GeneratorType):
        kind = "a generator, of which nothing has run"
    else:
        return
    name = getattr(function, "__qualname__", repr(function))
    raise TypeError(f"{name} returned {kind}")
