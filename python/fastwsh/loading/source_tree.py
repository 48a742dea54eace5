"""Compiles handlers by their syntax tree: Python 2, and those for which the compiler has warnings.

`source` compiles all others, which takes less time.
"""

import ast
import contextlib
import warnings
from collections.abc import Iterator
from types import CodeType

from fastwsh import py2
from fastwsh.concurrency.check import why_threads
from fastwsh.py2 import syntax
from fastwsh.py2.old_except import find_old_except
from fastwsh.py2.semantics import apply_old_meaning

__all__ = ["compile_source"]


def compile_source(source: str, file_name: str) -> tuple[CodeType, py2.Needs, str | None]:
    """Compile a handler, translated if it is Python 2; show each warning once.

    Returns:
        The code, what it needs of Python 2, and why it needs a thread, or None if it does not.

    Raises:
        SyntaxError: It is neither Python 3 nor Python 2 that can be translated.
        Exception: Other exceptions of `compile`.
    """
    with _warning_once(file_name):
        tree, is_translated = _parse(source, file_name)
        why = why_threads(tree)
        if is_translated:
            tree = apply_old_meaning(tree)
        code = compile(tree, file_name, "exec", dont_inherit=True)
        return code, py2.find_needs(code, lambda: tree), why


def _parse(source: str, file_name: str) -> tuple[ast.Module, bool]:
    """Parse a handler, translated if it is Python 2; also return whether it was translated."""
    try:
        tree = ast.parse(source, file_name)
        old = find_old_except(tree)
        if old is not None:
            raise _old_except(source, file_name, old)
    except SyntaxError:
        translation = syntax.translate(source, file_name)
        if translation is None:
            raise
        return translation, True
    prints = ">>" in source and syntax.prints_to_file(tree)
    translation = syntax.translate(source, file_name) if prints else None
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
    # not `splitlines`: a form feed ends no line of a source
    line = source.split("\n")[variable.lineno - 1]
    place = (file_name, variable.lineno, variable.col_offset + 1, line)
    return SyntaxError("multiple exception types must be parenthesized", place)
