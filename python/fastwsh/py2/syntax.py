"""Translates handlers in Python 2 syntax.

This translates only the syntax and removed methods; names and modules are provided when the handler
runs. So no line is added, and a traceback names the line of the original.
"""

import ast
import functools
import importlib
import re
import threading
from typing import Any, Final

from fastwsh.syntax_tree import walk

__all__ = ["can_translate", "is_python2", "prints_to_file", "translate"]

# Fixers of 2to3 that neither add nor remove lines, except `tuple_params`, which adds a line after a
# `def` with a tuple among its parameters.
_FIXERS: Final = (
    *("dict", "except", "exec", "filter", "funcattrs", "has_key", "map", "methodattrs", "ne"),
    *("next", "nonzero", "numliterals", "operator", "paren", "print", "raise", "repr"),
    *("sys_exc", "throw", "tuple_params", "unicode", "xrange", "xreadlines", "zip"),
)

# Statements that are errors in Python 3. A line is checked only if it did not compile.
_PYTHON2_LINE: Final = r"""
      ^\s*(?:.*:\s*)?print\b\s*(?:>>|[^\s(=.,\[:)])     # print "text", print >>file
    | ^\s*(?:.*:\s*)?exec\b\s+[^\s(=.,\[:)]             # exec code in namespace
    | ^\s*except\b[^:]*,[^:]*:                          # except Error, error:
    | ^\s*(?:.*:\s*)?raise\b\s+[\w.]+\s*,               # raise Error, "text"
    | `.+` | <> | \b0[0-7]+\b | \b\d+[lL]\b | \b[uU][rR]["']
    """

# The blanks that begin a line, and all in which a line may begin that is no line of code.
_INDENTATION: Final = r"""
      (?P<indent>^[ \t]+)
    | \#[^\n]*
    | '''(?:\\.|[^\\])*?''' | \"{3}(?:\\.|[^\\])*?\"{3}
    | '(?:\\.|[^\\'\n])*' | "(?:\\.|[^\\"\n])*"
    """

_LOCK: Final = threading.Lock()


def is_python2(error: SyntaxError) -> bool:
    """Tell whether the line that does not compile looks like Python 2."""
    if isinstance(error, TabError) or "Missing parentheses in call to" in error.msg:
        return True
    return bool(error.text and re.search(_PYTHON2_LINE, error.text, re.VERBOSE))


def prints_to_file(tree: ast.Module) -> bool:
    """Tell whether there is a `print >>file, text`: Python 2, but not a syntax error."""
    for node in walk(tree):
        match node:
            case ast.Expr(ast.BinOp(ast.Name("print"), ast.RShift())):
                return True
            case ast.Expr(ast.Tuple([ast.BinOp(ast.Name("print"), ast.RShift()), *_])):
                return True
    return False


def can_translate() -> bool:
    """Tell whether the translator is installed."""
    try:
        importlib.import_module("fissix.refactor")
    except ImportError:
        return False
    return True


def translate(source: str, file_name: str = "<handler>") -> ast.Module | None:
    """Translate Python 2 to Python 3, line by line.

    Returns:
        The syntax tree of the translation, or None if the source is not Python 2 or no translator
        is installed.
    """
    tree = _translate(source, file_name)
    if tree is None and (expanded := _expand_tabs(source)) != source:
        tree = _parse(expanded, file_name) or _translate(expanded, file_name)
    return tree


def _translate(source: str, file_name: str) -> ast.Module | None:
    if not can_translate():
        return None
    try:
        with _LOCK:
            # The grammar requires a line end after the last line.
            translation = _refactoring_tool().refactor_string(f"{source}\n", "<handler>")
    except Exception:  # noqa: BLE001 (a fixer may fail in any way on a text that is no Python)
        return None
    return _parse(str(translation), file_name)


@functools.cache
def _refactoring_tool() -> Any:
    refactor = importlib.import_module("fissix.refactor")
    return refactor.RefactoringTool([f"fissix.fixes.fix_{name}" for name in _FIXERS])


def _expand_tabs(source: str) -> str:
    """Replace tabs at the beginning of lines as in Python 2, up to multiples of eight.

    Those in strings of several lines stay.
    """
    return re.sub(
        _INDENTATION,
        lambda found: found[0].expandtabs(8) if found["indent"] else found[0],
        source,
        flags=re.VERBOSE | re.MULTILINE | re.DOTALL,
    )


def _parse(source: str, file_name: str) -> ast.Module | None:
    try:
        return ast.parse(source, file_name)
    except (SyntaxError, ValueError):
        return None
