"""Handler files as modules: their names, their packages, and how an import finds them.

A folder of handlers is a package of its own for as long as its handlers are in use: the first is
`fastwsh.handlers`, another one at the same time is `fastwsh.handlers.root_` and a hash of its path.
So no name equals that of a real module, and handlers of two folders do not share the modules beside
them. A process that `multiprocessing` starts finds handlers by these names in `sys.path`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import os
import re
import sys
import threading
import weakref
from collections import deque
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from fastwsh import py2
from fastwsh.loading import source
from fastwsh.paths import HANDLER_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Final

__all__ = ["HandlerPackage", "enter_package", "execute", "forget_with", "importable"]

_TOP: Final = "fastwsh.handlers"
_ROOT: Final = r"root_([0-9a-f]{8})(?:_\d+)?"
_MODULE_SUFFIX: Final = HANDLER_SUFFIX.removesuffix(".py")

# Reentrant: a package may be forgotten by the garbage collector at any time.
_LOCK: Final = threading.RLock()
# The packages in use, by name. Guarded by _LOCK.
_packages: dict[str, weakref.ref[HandlerPackage]] = {}
# Modules to remove. The garbage collector may add to this at any time, but `sys.modules` must not
# change while other code iterates over it.
_ended: Final[deque[str]] = deque()
_unused: Final[deque[ModuleType]] = deque()
# How often each folder was made importable; these folders are in sys.path. Guarded by _LOCK.
_importable: dict[str, int] = {}


class HandlerPackage:
    """The package of one folder of handlers.

    When it is no longer used, its modules are removed before the next package is made.

    Args:
        folder: The folder, as a real path.
        encoding: The encoding of its handlers; for None, see `source.read`.

    Attributes:
        name: The package's name.
    """

    def __init__(self, folder: str, encoding: str | None = None) -> None:
        self.folder = folder
        self.encoding = encoding
        # Handlers that other handlers have imported and that were not loaded themselves since.
        self._imported: set[str] = set()
        top = importlib.import_module(_TOP)
        with _LOCK:
            _sweep()
            self.name = next(name for name in _names_of(folder) if name not in _packages)
            _packages[self.name] = weakref.ref(self)
            if self.name == _TOP:
                top.__path__ = [folder]
            else:
                sys.modules[self.name] = importlib.util.module_from_spec(
                    _package_spec(self.name, folder)
                )
        self._end = weakref.finalize(self, _ended.append, self.name)
        self._end.atexit = False
        _forget_listings()

    def release(self) -> None:
        """Remove the modules; code of theirs that runs goes on."""
        with _LOCK:
            self._end()
            _sweep()

    def module_name(self, path: str) -> str:
        """Return the name of the module of a handler file."""
        relative = os.path.relpath(path, self.folder)
        if relative.startswith(os.pardir + os.sep):
            relative = os.path.basename(path)  # noqa: PTH119 (a string as given)
        parts = relative[: -len(".py")].split(os.sep)  # noqa: PTH206 (strings)
        return ".".join((self.name, *map(_escape, parts)))

    @contextlib.contextmanager
    def loading(self, path: str) -> Iterator[tuple[ModuleType, bool]]:
        """Make the module of a handler file, in place of the one with the same name.

        If the context ends by an exception, everything is restored.

        Args:
            path: The file.

        Returns:
            The module, and whether it was executed already: another handler has imported it.
        """
        name = self.module_name(path)
        with _LOCK:
            _sweep()
        former = sys.modules.get(name)
        if former is not None and name in self._imported:
            self._imported.discard(name)
            yield former, True
            return
        _forget_listings()
        module = sys.modules[name] = _make_module(name, path, self.encoding)
        try:
            yield module, False
        except BaseException:
            if sys.modules.get(name) is module:
                if former is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = former
            raise

    def note_import(self, name: str) -> None:
        """Note that another handler imports a handler, so that it need not be executed again."""
        self._imported.add(name)


def forget_with(owner: object, module: ModuleType) -> None:
    """Remove a module some time after its owner is gone, unless another one has its name."""
    end = weakref.finalize(owner, _unused.append, module)
    end.atexit = False


def enter_package() -> None:
    """Make handlers importable; called once, by the package of all handlers."""
    sys.meta_path.insert(0, _FINDER)


@contextlib.contextmanager
def importable(folders: Sequence[str]) -> Iterator[None]:
    """Keep folders at the end of `sys.path` while the context lasts."""
    with _LOCK:
        added = [folder for folder in dict.fromkeys(folders) if _add(folder)]
    try:
        yield
    finally:
        with _LOCK:
            for folder in added:
                _importable[folder] -= 1
                if not _importable[folder]:
                    del _importable[folder]
                    with contextlib.suppress(ValueError):
                        sys.path.remove(folder)


def execute(module: ModuleType, code: Any, needs: py2.Needs) -> None:
    """Execute a handler as a module. Raises whatever the handler raises."""
    if needs:
        vars(module)["__builtins__"] = py2.make_builtins(needs)
    exec(code, vars(module))  # noqa: S102 (what handlers are for)


class _HandlerLoader:
    """Executes a handler file that another module imports, as the server would."""

    def __init__(self, path: str, encoding: str | None) -> None:
        self._path = path
        self._encoding = encoding

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import system make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute it."""
        package = _package_of(module.__name__)
        if package is not None:
            package.note_import(module.__name__)
        try:
            code, needs, _ = source.compile_source(self.get_source(module.__name__), self._path)
            execute(module, code, needs)
        except BaseException:
            if package is not None:
                package._imported.discard(module.__name__)
            raise

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002 (the loader protocol)
        """Return the file."""
        return self._path

    def get_source(self, fullname: str) -> str:
        """Return the text; raises ImportError if it cannot be read."""
        try:
            return source.read(self._path, self._encoding)
        except source.LoadError as error:
            raise ImportError(str(error), name=fullname, path=self._path) from error

    def is_package(self, fullname: str) -> bool:  # noqa: ARG002 (the loader protocol)
        """Tell that it is none."""
        return False


class _HandlerFinder:
    """Finds the handlers in `fastwsh.handlers`, and packages of folders with dots in their name."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 (the finder protocol)
    ) -> ModuleSpec | None:
        """Return the spec of a handler or of a folder of handlers; None for everything else."""
        if path is None or not fullname.startswith(f"{_TOP}."):
            return None
        parent, _, name = fullname.rpartition(".")
        # a process that multiprocessing has started has loaded no handler, but has the same
        # sys.path
        is_searching = parent == _TOP and not path
        folders = [os.path.realpath(entry) for entry in reversed(sys.path)]
        if parent == _TOP and (root := re.fullmatch(_ROOT, name)):
            same = [folder for folder in folders if _digest(folder) == root[1]]
            return _package_spec(fullname, same[0]) if same else None
        if not is_searching:
            folders = list(path)
        for folder in folders:
            inner = os.path.join(folder, _unescape(name))  # noqa: PTH118 (strings)
            file = f"{inner}.py"
            if name.endswith(_MODULE_SUFFIX) and os.path.isfile(file):  # noqa: PTH113
                package = _package_of(fullname)
                return _handler_spec(fullname, file, package.encoding if package else None)
            if "%" in name and os.path.isdir(inner):  # noqa: PTH112
                return _package_spec(fullname, inner)
        return PathFinder.find_spec(fullname, folders) if is_searching else None


_FINDER: Final[Any] = _HandlerFinder()


def _names_of(folder: str) -> Iterator[str]:
    """Yield the possible names for the package of a folder, the best first."""
    yield _TOP
    name = f"{_TOP}.root_{_digest(folder)}"
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def _digest(folder: str) -> str:
    import hashlib  # noqa: PLC0415 (for a second folder only; loads OpenSSL)

    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]


def _escape(part: str) -> str:
    """Escape a part of a path for a module's name, in which a dot has another meaning."""
    return part.replace("%", "%25").replace(".", "%2E")


def _unescape(name: str) -> str:
    return name.replace("%2E", ".").replace("%25", "%")


def _package_of(name: str) -> HandlerPackage | None:
    """Return the package in use that contains the name of a module."""
    with _LOCK:
        while name:
            if (reference := _packages.get(name)) is not None:
                return reference()
            name = name.rpartition(".")[0]
    return None


def _handler_spec(name: str, path: str, encoding: str | None) -> ModuleSpec:
    loader: Any = _HandlerLoader(path, encoding)
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None:
        raise ImportError(f"no module can be made of {path!r}", name=name, path=path)
    return spec


def _package_spec(name: str, folder: str) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [folder]
    return spec


def _make_module(name: str, path: str, encoding: str | None) -> ModuleType:
    return importlib.util.module_from_spec(_handler_spec(name, path, encoding))


def _forget_listings() -> None:
    """Have folders listed anew: one that was changed quickly has no new time of modification.

    As `importlib.invalidate_caches`, which loads `importlib.metadata` and twelve other modules in
    Python 3.12 and newer, for the names of distributions.
    """
    for finder in sys.meta_path:
        if finder is not PathFinder and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    for folder, reader in list(sys.path_importer_cache.items()):
        if reader is None:
            # there was nothing for this folder, and there may be now
            sys.path_importer_cache.pop(folder, None)
        elif hasattr(reader, "invalidate_caches"):
            reader.invalidate_caches()


def _sweep() -> None:
    """Remove the modules that are no longer used."""
    while _unused:
        module = _unused.popleft()
        if sys.modules.get(module.__name__) is module:
            del sys.modules[module.__name__]
    while _ended:
        _forget(_ended.popleft())


def _forget(package_name: str) -> None:
    """Remove the modules of a package, but not those of another one with a longer name."""
    del _packages[package_name]
    inside = f"{package_name}."
    others = [f"{name}." for name in _packages if name.startswith(inside)]
    for name in list(sys.modules):
        if name.startswith(inside) and not any(f"{name}.".startswith(other) for other in others):
            sys.modules.pop(name, None)
    if package_name != _TOP:
        sys.modules.pop(package_name, None)
        return
    top = sys.modules[_TOP]
    top.__path__ = []
    # attributes that imports have set
    for name in [name for name, value in vars(top).items() if _is_in(value, _TOP)]:
        delattr(top, name)


def _is_in(value: object, package_name: str) -> bool:
    return isinstance(value, ModuleType) and value.__name__.startswith(f"{package_name}.")


def _add(folder: str) -> bool:
    """Count a folder as importable; False if it was in sys.path already."""
    if folder not in _importable:
        if folder in sys.path:
            return False
        sys.path.append(folder)
        _importable[folder] = 0
    _importable[folder] += 1
    return True
