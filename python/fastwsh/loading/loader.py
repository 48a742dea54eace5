"""Finding and loading handler files, `*_wsh.py`.

A handler file is executed as a module of its own, once. This module owns the results and failures;
`paths` owns the scan, `source` the decoding and compiling, `handler_modules` the modules,
`handler_suite` what a module has to define, and `py2` everything for handlers of Python 2. The
dispatcher uses the handlers.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
import os
import threading
import traceback

from fastwsh import py2, pywebsocket
from fastwsh.loading import handler_modules, slow_loads, source
from fastwsh.loading.handler_suite import HandlerSuite, make_suite
from fastwsh.loading.source import LoadError
from fastwsh.output import loggers
from fastwsh.paths import (
    Stamp,
    find_handler_files,
    is_inside,
    make_resource_converter,
    normalize_path,
    stamp,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

__all__ = [
    "HandlerFile",
    "HandlerFolder",
    "LoadError",
    "execution_error",
    "failed",
    "find_handler_files",
    "load_file",
    "load_handlers",
    "load_source",
    "make_resource_converter",
    "normalize_path",
]

_LOGGER: Final = logging.getLogger("pywebsocket3.dispatch.Dispatcher")


class HandlerFile:
    """One file that was found, and the result of loading it.

    Attributes:
        path: The file, absolute.
        resource: The path in the URL that it serves, or None if its name gives none.
        suite: Its functions, or None if it could not be loaded.
        error: Why it could not be loaded, or None.
        stamp: Its state before it was read, or None if it did not exist.
    """

    def __init__(
        self,
        path: str,
        resource: str | None,
        suite: HandlerSuite | None,
        error: LoadError | None,
        stamp: Stamp | None = None,
    ) -> None:
        self.path = path
        self.resource = resource
        self.suite = suite
        self.error = error
        self.stamp = stamp

    @property
    def warning(self) -> str | None:
        """The line for the log, or None if there is no warning."""
        return None if self.error is None else f"{self.path}: {self.error}"


def failed(file: HandlerFile, reason: str) -> HandlerFile:
    """Return the result for a file that cannot be served for this reason."""
    return HandlerFile(file.path, file.resource, None, LoadError(reason), file.stamp)


def load_handlers(
    root_dir: str,
    scan_dir: str | None = None,
    *,
    allow_outside_root: bool = True,
    encoding: str | None = None,
) -> list[HandlerFile]:
    """Find and load every handler file in a folder and the folders in it.

    If one file fails, the others are loaded all the same.

    Args:
        root_dir: The folder that the resources are relative to.
        scan_dir: The folder in it to scan; by default all of it.
        allow_outside_root: Whether to load a file that is a link to one outside `root_dir`.
        encoding: The encoding of the files. By default the locale's, or, if a file cannot be
            decoded with that, the one that the file declares (PEP 263).

    Returns:
        The files that were found, in the order of the paths.

    Raises:
        LookupError: There is no such encoding.
    """
    folder = HandlerFolder(
        root_dir, scan_dir, allow_outside_root=allow_outside_root, encoding=encoding
    )
    return folder.load_all()


class HandlerFolder:
    """A folder with handler files; it stays the same if a handler changes the current folder.

    Args:
        root_dir: The folder that the resources are relative to.
        scan_dir: The folder in it to scan; by default all of it.
        allow_outside_root: Whether to load a file that is a link to one outside `root_dir`.
        encoding: As for `load_handlers`.
        package: The package for the modules; by default a new one.

    Raises:
        LookupError: There is no such encoding.
    """

    def __init__(
        self,
        root_dir: str,
        scan_dir: str | None = None,
        *,
        allow_outside_root: bool = True,
        encoding: str | None = None,
        package: handler_modules.HandlerPackage | None = None,
    ) -> None:
        if encoding is not None:
            codecs.lookup(encoding)
        self._encoding = encoding
        self._scan_dir = os.path.realpath(scan_dir or root_dir)
        self._real_root = os.path.realpath(root_dir)
        self._allow_outside_root = allow_outside_root
        self._to_resource = make_resource_converter(root_dir)
        self._package = package

    def find(self) -> Iterator[str]:
        """Yield the paths of the handler files, sorted."""
        return find_handler_files(self._scan_dir)

    def load_all(self) -> list[HandlerFile]:
        """Load all of them; see `load`."""
        with slow_loads.watched() as begin:
            loaded = (self.load(begin("Loading", path)) for path in self.find())
            return [file for file in loaded if file is not None]

    def load(self, path: str) -> HandlerFile | None:
        """Load one of them; None if it is a link that leads out of the folder, and may not."""
        pywebsocket.install()
        if self._allow_outside_root or is_inside(path, self._real_root):
            if self._package is None:
                self._package = handler_modules.HandlerPackage(self._real_root, self._encoding)
            return load_file(path, self._to_resource(path), self._package)
        _LOGGER.debug("%s is passed over: it is a link that leads out of %s", path, self._real_root)
        return None


def load_source(text: str, path: str = "") -> HandlerSuite:
    """Execute the source of a handler and take its functions.

    Makes `pywebsocket3` and `mod_pywebsocket` importable for the whole process, because handlers
    import them also while they run. Without a path, no module is made, as in pywebsocket.

    Args:
        text: The source.
        path: Its file, for tracebacks and as its module.

    Raises:
        LoadError: The source cannot be compiled, raises, or lacks a function.
    """
    pywebsocket.install()
    if not path:
        return _load(text, "", None)
    folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120 (a string as given)
    return _load(text, path, handler_modules.HandlerPackage(folder))


def load_file(
    path: str, resource: str | None, package: handler_modules.HandlerPackage
) -> HandlerFile:
    """Load a handler file as a module of a package; see `HandlerFolder`."""
    before = stamp(path)
    try:
        suite = _load(source.read(path, package.encoding), path, package)
    except LoadError as error:
        return HandlerFile(path, resource, None, error, before)
    return HandlerFile(path, resource, suite, None, before)


def _load(text: str, path: str, package: handler_modules.HandlerPackage | None) -> HandlerSuite:
    file_name = path or "<string>"
    if "\0" in text:
        # Python does not say where
        line = text.count("\n", 0, text.index("\0")) + 1
        raise LoadError(
            f"SyntaxError: source code cannot contain null bytes ({_place(file_name, line)})", line
        )
    try:
        code, needs, check = source.compile_source(text, file_name)
    except SyntaxError as error:
        raise _syntax_error(error) from error
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise LoadError(f"{type(error).__name__}: {error}") from error
    loggers.keep_enabled()
    if package is None:
        # as in pywebsocket, its __name__ is that of the module `builtins`
        namespace: dict[str, Any] = {"__builtins__": py2.make_builtins(needs)} if needs else {}
        with _failures_told(file_name):
            exec(code, namespace)  # noqa: S102 (what handlers are for)
        return make_suite(namespace, "", check)
    with package.loading(path) as (module, is_executed):
        if not is_executed:
            with _failures_told(file_name):
                handler_modules.execute(module, code, needs)
        suite = make_suite(vars(module), path, check)
    suite.package = package
    handler_modules.forget_with(suite, module)
    return suite


@contextlib.contextmanager
def _failures_told(file_name: str) -> Iterator[None]:
    """Turn every exception of a handler into a LoadError."""
    try:
        yield
    except BaseException as error:  # sys.exit() in a handler must not end the server
        # signals interrupt the main thread alone
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and isinstance(error, KeyboardInterrupt):
            raise
        raise execution_error(error, file_name) from error


def _syntax_error(error: SyntaxError) -> LoadError:
    from fastwsh.py2 import syntax  # noqa: PLC0415 (imports ast)

    message = f"{type(error).__name__}: {error.msg} ({_place(error.filename, error.lineno)})"
    if syntax.is_python2(error):
        if syntax.can_translate():
            message += "; it looks like Python 2, and cannot be translated"
        else:
            message += "; it looks like Python 2: pip install fissix to have it translated"
    return LoadError(message, error.lineno)


def execution_error(error: BaseException, file_name: str) -> LoadError:
    """Describe an exception: its text, its place, and the line of the handler that led to it."""
    text = " ".join(str(error).split())
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == file_name]
    line = own[-1] if own else None
    places = [_place(file_name, line)]
    if frames and frames[-1].filename != file_name:
        places.append(f"raised at {frames[-1].filename}:{frames[-1].lineno}")
    return LoadError(f"{message} ({', '.join(places)})", line)


def _place(file_name: str | None, line: int | None) -> str:
    name = os.path.basename(file_name or "")  # noqa: PTH119 (also for "<string>")
    return name if line is None else f"{name}:{line}"
