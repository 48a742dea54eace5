"""Submodules of the standard library that pywebsocket's own imports had loaded.

A handler, or a module beside it, that says `import urllib` and then reads `urllib.parse` relies on
an import elsewhere. fastwsh does not load these modules itself, but when they are first read so.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from typing import Any, Final

    _Getattr = Callable[[str], Any]

__all__ = ["awaits", "find", "offer", "withdraw"]

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

# The functions that `offer` has set, with those that the packages had before.
_functions: Final[dict[str, tuple[_Getattr, _Getattr | None]]] = {}
# The packages that nobody has imported since `offer`; `http` alone would take a millisecond.
_awaited: Final[set[str]] = set()


def offer() -> None:
    """Let the packages load these modules when they are asked for them."""
    if _functions or _awaited:
        return
    for package in _SUBMODULES:
        if package in sys.modules:
            _set_function(sys.modules[package])
        else:
            _awaited.add(package)


def awaits(name: str) -> bool:
    """Tell whether this is a package that has to be changed when it is imported."""
    return name in _awaited


def find(package: str, finder: object) -> ModuleSpec | None:
    """Return how another finder of `sys.meta_path` than this one imports an awaited package."""
    for other in sys.meta_path:
        spec = None if other is finder else other.find_spec(package, None)
        if spec is not None:
            if spec.loader is not None:
                loader: Any = _Loader(spec.loader)
                spec.loader = loader
            return spec
    return None


class _Loader:
    """Lets another loader import a package, and changes it then."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: Any) -> None:
        """Execute the package."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if module.__name__ in _awaited:
            _awaited.discard(module.__name__)
            _set_function(module)


def _set_function(module: Any) -> None:
    package = module.__name__
    # logging has one of its own since CPython 3.15
    before = vars(module).get("__getattr__")
    module.__getattr__ = _make_getattr(package, _SUBMODULES[package], before)
    _functions[package] = module.__getattr__, before


def withdraw() -> None:
    """Undo `offer`."""
    _awaited.clear()
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
