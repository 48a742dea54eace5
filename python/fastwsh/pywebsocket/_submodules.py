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
_functions: Final[dict[str, Callable[[str], Any]]] = {}


def offer() -> None:
    """Let the packages load these modules when they are asked for them."""
    if _functions:
        return
    for package, submodules in _SUBMODULES.items():
        module: Any = importlib.import_module(package)
        if "__getattr__" not in vars(module):
            module.__getattr__ = _functions[package] = _make_getattr(package, submodules)


def withdraw() -> None:
    """Undo `offer`."""
    for package, function in _functions.items():
        module: Any = sys.modules.get(package)
        if vars(module).get("__getattr__") is function:
            del module.__getattr__
    _functions.clear()


def _make_getattr(package: str, submodules: frozenset[str]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name not in submodules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return importlib.import_module(f"{package}.{name}")

    return get
