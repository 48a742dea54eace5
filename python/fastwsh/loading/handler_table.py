"""Maps resources to handlers: those of files, aliases, and those that programs add.

Owns how the map changes when files come, change and go. Loads nothing and calls nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

    from fastwsh.loading.handler_suite import HandlerSuite
    from fastwsh.loading.loader import HandlerFile

__all__ = ["HandlerTable", "find_above"]


class HandlerTable:
    """The handlers of one dispatcher. One thread at a time may change it.

    Attributes:
        suites: The handlers, by resource.
        files: The last version of each file, by path, whether it could be loaded or not.
    """

    def __init__(self) -> None:
        self.suites: dict[str, HandlerSuite] = {}
        self.files: dict[str, HandlerFile] = {}
        # The servable version of each resource's file; the next version replaces it everywhere.
        self._loaded: dict[str, HandlerSuite] = {}
        self._aliases: dict[str, str] = {}

    @property
    def warnings(self) -> list[str]:
        """A line for each file that could not be loaded."""
        return [file.warning for file in self.files.values() if file.warning is not None]

    @property
    def served_files(self) -> dict[str, str]:
        """The resource of each file that is served, possibly by an earlier version."""
        return {
            file.path: file.resource
            for file in self.files.values()
            if file.resource is not None and file.resource in self._loaded
        }

    def served(self, resource: str | None) -> HandlerSuite | None:
        """Return the version of a file that is served, by the file's resource."""
        return None if resource is None else self._loaded.get(resource)

    def alias(self, path: str, existing: str) -> HandlerSuite | None:
        """Make a path an alias of another one; return its handler, None if there is none yet."""
        # an alias of an alias leads to the handler of the latter
        self._aliases[path] = self._aliases.get(existing, existing)
        return self.suites.get(existing)

    def take(self, file: HandlerFile) -> None:
        """Take a file in, in place of its last version.

        A version that was loaded replaces the last one in all places, or takes its resource and the
        aliases of it if there was none. Handlers that are there for another reason stay. A version
        that cannot be loaded changes nothing.
        """
        self.files[file.path] = file
        if file.suite is None or file.resource is None:
            return
        for path in self._served_by(self._loaded.get(file.resource)):
            self.suites[path] = file.suite
        self._loaded[file.resource] = file.suite
        aliases = [path for path, existing in self._aliases.items() if existing == file.resource]
        for path in (file.resource, *aliases):
            self.suites.setdefault(path, file.suite)

    def drop(self, path: str) -> None:
        """Stop serving a file and its aliases."""
        file = self.files.pop(path, None)
        if file is None or file.resource is None:
            return
        for served in self._served_by(self._loaded.pop(file.resource, None)):
            del self.suites[served]

    def copy(self) -> Self:
        """Return a copy of this table, for `restore`."""
        table = type(self)()
        for name, value in vars(self).items():
            setattr(table, name, value.copy())
        return table

    def restore(self, before: Self) -> None:
        """Restore the state of `before`, without a gap for resources that are served in both."""
        for path in self.suites.keys() - before.suites.keys():
            del self.suites[path]
        self.suites.update(before.suites)
        self.files, self._loaded, self._aliases = before.files, before._loaded, before._aliases

    def _served_by(self, former: HandlerSuite | None) -> list[str]:
        if former is None:
            return []
        # iterate over a copy, because a program may add handlers meanwhile
        return [path for path, suite in list(self.suites.items()) if suite is former]


def find_above(suites: Mapping[str, Any], path: str) -> Any:
    """Return the handler with subpaths that serves a path without one of its own, or None."""
    while "/" in path:
        path = path.rpartition("/")[0]
        suite = suites.get(path or "/")
        if suite and getattr(suite, "has_subpaths", False):
            return suite
    return None
