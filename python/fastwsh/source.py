"""The source of handler files: reading, decoding and compiling it, translated if it is Python 2.

Executes nothing; `handler_modules` owns the modules.
"""

import ast
import contextlib
import functools
import tokenize
import warnings
from collections.abc import Iterator
from types import CodeType

from fastwsh import py2
from fastwsh.concurrency import why_threads

__all__ = ["LoadError", "compile_source", "read"]


class LoadError(Exception):
    """A handler file cannot be used; `str()` is the sentence for the log.

    Attributes:
        line: The line of the handler file that the error is about, if there is one.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read(path: str, encoding: str | None) -> str:
    """Return the text of a handler file.

    Args:
        path: The file.
        encoding: As for `loader.load_handlers`.

    Raises:
        LoadError: It cannot be read or decoded.
    """
    try:
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
def compile_source(source: str, file_name: str) -> tuple[CodeType, py2.Needs, str | None]:
    """Compile a handler; also return what it needs of Python 2, and why it needs a thread.

    Raises:
        SyntaxError: It is neither Python 3 nor Python 2 that can be translated.
        Exception: Other exceptions of `compile`.
    """
    with _warning_once(file_name):
        tree, is_translated = _parse(source, file_name)
        why = why_threads(tree)
        if is_translated:
            tree = py2.apply_old_meaning(tree)
        code = compile(tree, file_name, "exec", dont_inherit=True)
        return code, py2.find_needs(tree, code), why


def _parse(source: str, file_name: str) -> tuple[ast.Module, bool]:
    """Parse a handler, translated if it is Python 2; also return whether it was translated."""
    try:
        tree = ast.parse(source, file_name)
        old = py2.find_old_except(tree)
        if old is not None:
            raise _old_except(source, file_name, old)
    except SyntaxError:
        translation = py2.translate(source, file_name)
        if translation is None:
            raise
        return translation, True
    prints = ">>" in source and py2.prints_to_file(tree)
    translation = py2.translate(source, file_name) if prints else None
    return (tree, False) if translation is None else (translation, True)


@contextlib.contextmanager
def _warning_once(file_name: str) -> Iterator[None]:
    """Show each warning once, although the source may be parsed several times."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    told = dict.fromkeys(
        (str(item.message), item.category, item.filename, item.lineno) for item in caught
    )
    for message, category, name, line in told:
        try:
            warnings.warn_explicit(message, category, name, line)
        except category as error:
            # as the parser does if warnings are errors
            raise SyntaxError(message, (file_name, line, None, None)) from error


def _old_except(source: str, file_name: str, variable: ast.expr) -> SyntaxError:
    """Return the error of Python before 3.14 for `except Error, variable:`."""
    line = source.splitlines()[variable.lineno - 1]
    place = (file_name, variable.lineno, variable.col_offset + 1, line)
    return SyntaxError("multiple exception types must be parenthesized", place)
