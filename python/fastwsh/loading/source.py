"""The source of handler files: reading, decoding and compiling it.

Executes nothing; `handler_modules` owns the modules. `source_tree` compiles what is not plain
Python 3, which needs the syntax tree. This does without, as making one takes several times as long
as compiling.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
import tokenize
import warnings

from fastwsh import _core, py2

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from types import CodeType

__all__ = ["Check", "LoadError", "compile_source", "read"]


class LoadError(Exception):
    """A handler file cannot be used; `str()` is the sentence for the log.

    Attributes:
        line: The line of the handler file that the error is about, if there is one.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Check:
    """The check whether a handler needs a thread of its own.

    It is done when its result is asked for, usually at the handler's first connection: for 11
    handlers it takes a tenth of the time until a server listens. Threads may ask at the same time.

    Args:
        source: The handler's text, or None if the result is known.
        result: Why it needs a thread, or None if it does not.
    """

    def __init__(self, source: str | None, result: str | None = None) -> None:
        self._source = source
        self._result = result

    @property
    def is_done(self) -> bool:
        """Whether asking for the result takes no time."""
        return self._source is None

    def why_threads(self) -> str | None:
        """Return why the handler needs a thread of its own, or None if it does not.

        If there is no descriptor or memory left for the check, the handler needs one for now, and
        the next call checks again.
        """
        source = self._source
        if source is not None:
            try:
                from fastwsh.concurrency import check  # noqa: PLC0415 (imports ast)

                result = check.why_threads(source)
            except Exception as error:  # noqa: BLE001 (a thread is right for every handler)
                return f"its source cannot be checked now ({error})"
            self._result = result
            self._source = None  # last, because another thread returns the result from now on
        return self._result


def read(path: str, encoding: str | None) -> str:
    """Return the text of a handler file.

    Args:
        path: The file.
        encoding: As for `loader.load_handlers`.

    Raises:
        LoadError: It cannot be read or decoded.
    """
    try:
        # a named pipe would wait for a writer, and /dev/zero never ends
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (a string as given)
            raise LoadError("cannot be read: it is no regular file")
        try:
            # Without an encoding, open() uses the locale's, as for every text file.
            with open(path, encoding=encoding) as file:  # noqa: PTH123 (a string as given)
                text = file.read()
        except UnicodeDecodeError:
            if encoding is not None:
                raise
            with tokenize.open(path) as file:
                text = file.read()
    except OSError as error:
        raise LoadError(f"cannot be read: {error.strerror}") from error
    except (UnicodeError, SyntaxError) as error:
        raise LoadError(f"cannot be decoded: {error}; see --handler-encoding") from error
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")


# A cache, because web-platform-tests load all handlers again for each HTTP/2 connection.
@functools.lru_cache(maxsize=1024)
def compile_source(source: str, file_name: str) -> tuple[CodeType, py2.Needs, Check]:
    """Compile a handler; also return what it needs of Python 2, and the check for threads.

    Raises:
        SyntaxError: It is neither Python 3 nor Python 2 that can be translated.
        Exception: Other exceptions of `compile`.
    """
    code = None if _may_be_python2(source) else _compile_plain(source, file_name)
    if code is None:
        from fastwsh.loading import source_tree  # noqa: PLC0415 (imports ast)

        code, needs, why = source_tree.compile_source(source, file_name)
        return code, needs, Check(None, why)

    def parse() -> ast.Module:
        import ast  # noqa: PLC0415 (few handlers need it)

        return ast.parse(source, file_name)

    return code, py2.find_needs(code, parse, source), Check(source)


def _may_be_python2(source: str) -> bool:
    """Tell whether a source may be Python 2 although Python 3 compiles it."""
    if "print" in source and ">>" in source:
        return True
    # the others accept no comma there
    return sys.version_info >= (3, 14) and re.search(r"\bexcept\b[^:]*,", source) is not None


def _compile_plain(source: str, file_name: str) -> CodeType | None:
    """Compile a handler that is Python 3 and for which the compiler has no warning, or return None.

    So no warning is shown here, nor when the source is parsed again for its check.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            code = _compile(source, file_name)
        except SyntaxError:
            return None
    return None if caught else code


def _compile(source: str, file_name: str) -> CodeType:
    """Compile as `compile`, which makes the types of all syntax trees when it is first called.

    That would take a twentieth of the time until a server listens.
    """
    first_lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n", 2)[:2]
    if source.startswith("\N{ZERO WIDTH NO-BREAK SPACE}") or "coding" in "".join(first_lines):
        # the native function would decode the text by these (PEP 263), which has been done
        return compile(source, file_name, "exec", dont_inherit=True)
    return _core.compile_source(source, file_name)
