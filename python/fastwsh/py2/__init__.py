"""Handlers of the Python 2 years: their built-in names, their modules and their syntax.

This package finds out from the source what such a handler needs, and gives it to that handler only:
neither the process's built-in names nor `sys.modules` change, and a handler that needs nothing runs
with the ordinary ones. Names and modules need no other package; syntax is translated if `fissix` is
installed (`pip install fissix`).

Some things cannot be repaired: text and bytes stay two types.
"""

from fastwsh.py2.names import Needs, find_needs, make_builtins
from fastwsh.py2.old_except import find_old_except
from fastwsh.py2.semantics import apply_old_meaning
from fastwsh.py2.syntax import can_translate, is_python2, prints_to_file, translate

__all__ = [
    "Needs",
    "apply_old_meaning",
    "can_translate",
    "find_needs",
    "find_old_except",
    "is_python2",
    "make_builtins",
    "prints_to_file",
    "translate",
]
