"""The names `pywebsocket3` and `mod_pywebsocket`, resolved to this package's own module objects.

Handlers raise and catch classes of both packages and compare them by identity, so both names must
lead to the very same modules. A finder in front of `sys.meta_path` does that; nothing is copied and
no module learns of its second name. The standard library's abstract base classes for finders and
loaders are not used: importing them takes longer than importing everything here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec

from fastwsh.pywebsocket import _gone, _submodules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Final

__all__ = ["install", "uninstall"]

_REAL_PACKAGE: Final = "fastwsh.pywebsocket"
_ALIASES: Final = ("pywebsocket3", "mod_pywebsocket")


def _real_name(name: str) -> str | None:
    """Return the name in this package that `name` stands for, or None if it is no alias."""
    root, dot, rest = name.partition(".")
    return _REAL_PACKAGE + dot + rest if root in _ALIASES else None


class _AliasLoader:
    """Puts the real module into `sys.modules` under the alias.

    The import system initializes whatever module object it is given, `__spec__` included. Therefore
    it gets an empty one, which `exec_module` replaces by the real one; in the same way, a module
    may replace itself while it is being imported.
    """

    def __init__(self, real_name: str) -> None:
        self._real_name = real_name

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the real module and let it take the empty one's place."""
        sys.modules[module.__name__] = importlib.import_module(self._real_name)

    # `python -m pywebsocket3.standalone` asks for these.

    def get_code(self, fullname: str) -> CodeType | None:  # noqa: ARG002 (the loader protocol)
        """Return the real module's code."""
        code: CodeType | None = self._real_loader().get_code(self._real_name)
        return code

    def get_source(self, fullname: str) -> str | None:  # noqa: ARG002 (the loader protocol)
        """Return the real module's source."""
        source: str | None = self._real_loader().get_source(self._real_name)
        return source

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 (the loader protocol)
        """Tell whether the real module is a package."""
        return bool(self._real_loader().is_package(self._real_name))

    def _real_loader(self) -> Any:
        spec = importlib.util.find_spec(self._real_name)
        if spec is None or spec.loader is None:
            raise ImportError(f"no loader for {self._real_name}", name=self._real_name)
        return spec.loader


class _AliasFinder:
    """Finds `pywebsocket3`, `mod_pywebsocket` and their submodules here, and what these offer."""

    def find_spec(
        self,
        fullname: str,
        path: object = None,  # noqa: ARG002 (the finder protocol)
        target: ModuleType | None = None,  # noqa: ARG002 (the finder protocol)
    ) -> ModuleSpec | None:
        """Return a spec that leads to the real module, or None if there is none.

        Raises:
            ModuleNotFoundError: pywebsocket has removed the module; the text says why.
        """
        if _submodules.awaits(fullname):
            return _submodules.find(fullname, self)
        real_name = _real_name(fullname)
        if real_name is not None:
            _gone.refuse(real_name.removeprefix(f"{_REAL_PACKAGE}."), fullname)
        real_spec = None if real_name is None else importlib.util.find_spec(real_name)
        if real_name is None or real_spec is None:
            return None
        loader: Any = _AliasLoader(real_name)
        spec = ModuleSpec(fullname, loader, origin=real_spec.origin)
        spec.submodule_search_locations = real_spec.submodule_search_locations
        return spec


_FINDER: Final[Any] = _AliasFinder()
_LOCK: Final = threading.Lock()
# Modules of another distribution that install() has removed from sys.modules. Guarded by _LOCK.
_displaced: dict[str, ModuleType] = {}


def install() -> None:
    """Make `import pywebsocket3` and `import mod_pywebsocket` resolve to `fastwsh.pywebsocket`.

    Wins over an installed distribution of those names. Modules of it that were imported before are
    replaced in `sys.modules`; existing references to them stay unchanged. May be called again at
    any time and from any thread.
    """
    with _LOCK:
        _submodules.offer()
        if sys.meta_path[:1] != [_FINDER]:
            if _FINDER in sys.meta_path:
                sys.meta_path.remove(_FINDER)
            sys.meta_path.insert(0, _FINDER)
        modules = list(sys.modules.items())
        for name, module in [item for item in modules if item[0].startswith(_ALIASES)]:
            real_name = _real_name(name)
            if real_name is None or sys.modules.get(real_name) is module:
                continue
            _displaced[name] = module
            if importlib.util.find_spec(real_name) is None:
                del sys.modules[name]
            else:
                sys.modules[name] = importlib.import_module(real_name)


def uninstall() -> None:
    """Undo `install()`: forget both names, and put back the modules that it replaced.

    Does nothing if `install()` was not called.
    """
    with _LOCK:
        if _FINDER not in sys.meta_path:
            return
        sys.meta_path.remove(_FINDER)
        _submodules.withdraw()
        for name in [name for name in list(sys.modules) if _real_name(name) is not None]:
            del sys.modules[name]
        sys.modules.update(_displaced)
        _displaced.clear()
