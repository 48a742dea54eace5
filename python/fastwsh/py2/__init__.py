"""Handlers of the Python 2 years: their built-in names, their modules and their syntax.

This package finds out from the source what such a handler needs, and gives it to that handler only:
neither the process's built-in names nor `sys.modules` change, and a handler that needs nothing runs
with the ordinary ones. Names and modules need no other package; syntax is translated if `fissix` is
installed (`pip install fissix`).

Some things cannot be repaired: text and bytes stay two types.

The modules that look at syntax trees are imported when a handler needs them, as most need nothing.
"""

from fastwsh.py2.names import Needs, find_needs, make_builtins

__all__ = ["Needs", "find_needs", "make_builtins"]
