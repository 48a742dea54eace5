"""The built-in names that only Python 2 had. Every public name here is one of them."""

from __future__ import annotations

import functools
import importlib
import sys

from fastwsh.py2.modules import real_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

__all__ = [
    "StandardError",
    "apply",
    "basestring",
    "buffer",
    "cmp",
    "execfile",
    "file",
    "intern",
    "long",
    "raw_input",
    "reduce",
    "reload",
    "unichr",
    "unicode",
    "xrange",
]

StandardError = Exception
basestring = str
buffer = memoryview
file = open
intern = sys.intern
long = int
raw_input = input
reduce = functools.reduce
unichr = chr
unicode = str
xrange = range


def apply(function: Callable[..., Any], args: Any = (), kwargs: Any = None) -> Any:
    """Call a function with a sequence of arguments and a mapping of named ones."""
    return function(*args, **(kwargs or {}))


def cmp(x: Any, y: Any) -> int:
    """Return a number that is negative, zero or positive as `x` is less, equal or greater."""
    return int(x > y) - int(x < y)


def execfile(filename: str, global_names: Any = None, local_names: Any = None) -> None:
    """Execute a file, by default with the caller's variables."""
    if global_names is None:
        caller = sys._getframe(1)
        global_names, local_names = caller.f_globals, caller.f_locals
    with open(filename, "rb") as script:  # noqa: PTH123 (a string as given)
        source = script.read()
    code = compile(source, filename, "exec", dont_inherit=True)
    exec(code, global_names, local_names)  # noqa: S102 (what it is for)


def reload(module: ModuleType) -> ModuleType:
    """Reload a module, except `sys`: that was a trick to get at `sys.setdefaultencoding`."""
    real = real_module(module)
    if real is not sys:
        importlib.reload(real)
    return module
