"""`except Error, name:` of Python 2, which from Python 3.14 on is no syntax error (PEP 758).

Python 3.14 reads two classes. In code of Python 2 the second one is a variable that nothing has
set.
"""

import ast
import builtins
import sys
from collections.abc import Iterator

__all__ = ["find_old_except"]


def find_old_except(tree: ast.Module) -> ast.expr | None:
    """Return the variable of the first `except Error, name:` of Python 2, or None."""
    # before 3.14 it was a syntax error
    pairs = list(_pairs(tree)) if sys.version_info >= (3, 14) else []
    if not pairs:
        return None
    classes, variables = _names(tree)
    for first, second in pairs:
        if isinstance(first, ast.Tuple) or _is_variable(second, classes, variables):
            return second
    return None


def _pairs(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(tree):
        match node:
            case ast.ExceptHandler(type=ast.Tuple([first, second]) as caught):
                # with parentheses, the tuple begins before its first element
                if (caught.lineno, caught.col_offset) == (first.lineno, first.col_offset):
                    yield first, second


def _names(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Return the names that are probably classes (of imports and classes), and all others."""
    classes, variables = set(), set()
    for node in ast.walk(tree):
        match node:
            case ast.alias(name, other):
                classes.add(other or name.partition(".")[0])
            case ast.ClassDef(name):
                classes.add(name)
            case ast.Name(name, ast.Store()) | ast.arg(name):
                variables.add(name)
    return classes, variables


def _is_variable(node: ast.expr, classes: set[str], variables: set[str]) -> bool:
    """Tell whether this, after a comma, is the variable to which Python 2 assigns the exception."""
    match node:
        case ast.Name(name):
            if name in classes or isinstance(getattr(builtins, name, None), type):
                return False
            # `Failure = OSError` makes a class of that name, `error = None` none
            is_set = name in variables or "*" in classes
            return not (is_set and name[0].isupper())
        case ast.Attribute(value=ast.Name("self")) | ast.Subscript() | ast.Tuple() | ast.List():
            return True
    return False
