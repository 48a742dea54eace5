"""Which handler serves what: those of files, aliases of them, and those that programs add.

Owns what becomes of these when files come, change and go. Loads nothing and calls nothing.
"""

from typing import Self

from fastwsh.loader import HandlerFile, HandlerSuite

__all__ = ["HandlerTable"]


class HandlerTable:
    """The handlers of one dispatcher. One thread at a time may change it.

    Attributes:
        suites: The handlers, by resource.
        files: The last version of each file, by path, whether it could be loaded or not.
    """

    def __init__(self) -> None:
        self.suites: dict[str, HandlerSuite] = {}
        self.files: dict[str, HandlerFile] = {}
        # The version of each resource's file that can be served; its successor takes its places.
        self._loaded: dict[str, HandlerSuite] = {}
        self._aliases: dict[str, str] = {}

    @property
    def warnings(self) -> list[str]:
        """A line for each file that could not be loaded."""
        return [file.warning for file in self.files.values() if file.warning is not None]

    @property
    def served_files(self) -> dict[str, str]:
        """The resource of each file that is served, if need be by a version from before."""
        return {
            file.path: file.resource
            for file in self.files.values()
            if file.resource is not None and file.resource in self._loaded
        }

    def alias(self, path: str, existing: str) -> HandlerSuite | None:
        """Let a path follow the handler of another one; return that, None if there is none yet."""
        # an alias of an alias follows the handler behind both
        self._aliases[path] = self._aliases.get(existing, existing)
        return self.suites.get(existing)

    def take(self, file: HandlerFile) -> None:
        """Take a file in, in place of its last version.

        A version that can be loaded serves what the last one did, or else its resource and the
        aliases of that; whatever serves one of them for another reason goes on. One that cannot be
        loaded leaves what is served as it is.
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
        """Serve a file no more, nor the aliases of it."""
        file = self.files.pop(path, None)
        if file is None or file.resource is None:
            return
        for served in self._served_by(self._loaded.pop(file.resource, None)):
            del self.suites[served]

    def copy(self) -> Self:
        """Return a table that stays as this one is now, for `restore`."""
        table = type(self)()
        for name, value in vars(self).items():
            setattr(table, name, value.copy())
        return table

    def restore(self, before: Self) -> None:
        """Become what `before` is; a resource that is served before and now is so all the time."""
        for path in self.suites.keys() - before.suites.keys():
            del self.suites[path]
        self.suites.update(before.suites)
        self.files, self._loaded, self._aliases = before.files, before._loaded, before._aliases

    def _served_by(self, former: HandlerSuite | None) -> list[str]:
        if former is None:
            return []
        # a program may add handlers meanwhile
        return [path for path, suite in list(self.suites.items()) if suite is former]
