"""Submodules of the standard library that pywebsocket's own imports had loaded.

A handler, or a module beside it, that says `import urllib` and then reads `urllib.parse` relies on
an import elsewhere. fastwsh does not load these modules itself, but when they are first read so.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final

__all__ = ["offer", "withdraw"]

_SUBMODULES: Final = {
    "email": frozenset(
        {
            *("base64mime", "charset", "encoders", "errors", "feedparser", "header", "iterators"),
            *("message", "parser", "quoprimime", "utils"),
        }
    ),
    "http": frozenset({"client", "server"}),
    "logging": frozenset({"handlers"}),
    "urllib": frozenset({"parse"}),
}
_Getattr = Callable[[str], Any]

# The functions that `offer` has set, with those that the packages had before.
_functions: Final[dict[str, tuple[_Getattr, _Getattr | None]]] = {}


def offer() -> None:
    """Let the packages load these modules when they are asked for them."""
    if _functions:
        return
    for package, submodules in _SUBMODULES.items():
        module: Any = importlib.import_module(package)
        # logging has one of its own since CPython 3.15
        before = vars(module).get("__getattr__")
        module.__getattr__ = _make_getattr(package, submodules, before)
        _functions[package] = module.__getattr__, before


def withdraw() -> None:
    """Undo `offer`."""
    for package, (function, before) in _functions.items():
        module: Any = sys.modules.get(package)
        if vars(module).get("__getattr__") is not function:
            continue
        if before is None:
            del module.__getattr__
        else:
            module.__getattr__ = before
    _functions.clear()


def _make_getattr(package: str, submodules: frozenset[str], before: _Getattr | None) -> _Getattr:
    def get(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if before is not None:
            return before(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
