"""Handlers of several folders and single files, for servers in programs and tests."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from fastwsh import pywebsocket
from fastwsh.config_error import ConfigError
from fastwsh.loading import loader, slow_loads
from fastwsh.loading.handler_modules import HandlerPackage, importable
from fastwsh.pywebsocket.dispatch import Dispatcher

__all__ = ["Handlers", "SourcesDispatcher", "paths"]

Handlers = str | PathLike[str] | Sequence[str | PathLike[str]]
"""A folder with `*_wsh.py` files, such a file, or several of these."""


def paths(handlers: Handlers | None) -> list[Path]:
    """Return the paths in a list.

    Raises:
        TypeError: It is neither a path nor several.
    """
    if handlers is None:
        return []
    several: object = [handlers] if isinstance(handlers, str | PathLike) else handlers
    listed = list(several) if isinstance(several, Iterable) else [several]
    sources = [Path(source) for source in listed if isinstance(source, str | PathLike)]
    if len(sources) < len(listed):
        raise TypeError(f"handlers={handlers!r}; give the path of a folder or file, or several")
    return sources


class SourcesDispatcher(Dispatcher):
    """Calls the handlers of these files.

    Args:
        sources: Folders with handler files, and such files; later ones come before earlier ones.
        encoding: How the files are encoded.
        owner: Whose handlers they are, for people.

    Raises:
        ConfigError: There is no such file or folder, or a handler cannot be loaded.
    """

    def __init__(
        self, sources: Sequence[Path], encoding: str | None = None, owner: str = "the server"
    ) -> None:
        self._sources = sources
        self._encoding = encoding
        self._packages: dict[str, HandlerPackage] = {}
        self._imports = contextlib.ExitStack()
        try:
            # no folder is scanned but those of the sources
            super().__init__(os.curdir, handler_encoding=encoding)
        except BaseException:
            self.close()
            raise
        if failures := self.source_warnings():
            self.close()
            raise ConfigError(f"handlers of {owner} cannot be loaded: {'; '.join(failures)}")

    def _load_handlers(self) -> list[loader.HandlerFile]:
        return [file for source in self._sources for file in self._load_source(source)]

    def _load_source(self, source: Path) -> list[loader.HandlerFile]:
        folder = os.path.realpath(source if source.is_dir() else source.parent)
        package = self._packages.get(folder)
        if package is None:
            package = self._packages[folder] = HandlerPackage(folder, self._encoding)
            self._imports.enter_context(importable([folder]))
        return _load(source, package)

    def close(self) -> None:
        """Forget the modules of the handlers."""
        self._imports.close()
        for package in self._packages.values():
            package.release()


def _load(source: Path, package: HandlerPackage) -> list[loader.HandlerFile]:
    if source.is_dir():
        folder = loader.HandlerFolder(os.fspath(source), package=package)
        return folder.load_all()
    resource = loader.make_resource_converter(os.fspath(source.parent))(
        loader.normalize_path(os.fspath(source))
    )
    if not source.is_file() or resource is None:
        raise ConfigError(
            f"{str(source)!r} is neither a folder nor a handler file; name an existing folder, or "
            "a file whose name ends in _wsh.py"
        )
    pywebsocket.install()
    with slow_loads.watched() as begin:
        path = begin("Loading", os.fspath(source))
        return [loader.load_file(path, resource, package)]
