"""Handlers of the Python 2 years: their built-in names, their modules and their syntax.

What such a handler needs is worked out from its source, and given to that handler alone: neither
the process's built-in names nor `sys.modules` change, and a handler that needs nothing runs with
the plain ones. Names and modules need no help from outside; syntax is translated if `fissix` is
installed (`pip install fissix`).

What cannot be repaired from outside stays as it is: text and bytes are two types.
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
