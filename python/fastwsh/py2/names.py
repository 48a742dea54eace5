"""Finds the names and modules of Python 2 that a handler uses, and provides them.

A handler gets only names that it uses and that would be missing. If it asks whether a name exists
(`try: unicode`, `except NameError:`), it knows Python 3, and gets the true answer.
"""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
from types import CodeType

from fastwsh.py2 import modules, old_builtins, old_functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Mapping
    from typing import Any, Final

__all__ = ["Needs", "find_needs", "make_builtins"]

_BUILTINS: Final[Mapping[str, Any]] = {
    name: getattr(old_builtins, name)
    for name in old_builtins.__all__
    if not hasattr(builtins, name)
} | old_functions.FUNCTIONS


class Needs:
    """The names of Python 2 that a handler uses.

    Attributes:
        builtins: Built-in names.
        substitutes: Modules that exist under another name, or not at all.
        extended: Modules that exist and lack something that the handler takes from them.
    """

    def __init__(
        self,
        builtins: frozenset[str] = frozenset(),
        substitutes: frozenset[str] = frozenset(),
        extended: frozenset[str] = frozenset(),
    ) -> None:
        self.builtins = builtins
        self.substitutes = substitutes
        self.extended = extended

    def __bool__(self) -> bool:
        return bool(self.builtins or self.substitutes or self.extended)


def find_needs(code: CodeType, parse: Callable[[], ast.Module], source: str | None = None) -> Needs:
    """Find out what a handler needs.

    Args:
        code: Its code object.
        parse: Returns the syntax tree of its source; called if the code is not enough to tell.
        source: The text that the code was compiled from, unless it was translated before.
    """
    used = _names_in(code)
    if not _may_need_anything(used, source):
        return Needs()
    from fastwsh.py2.uses import find_uses, free_names  # noqa: PLC0415 (most are Python 3)

    uses = find_uses(parse())
    old = used & _BUILTINS.keys()
    return Needs(
        frozenset((old & free_names(code)) - uses.probed_names if old else ()),
        frozenset(uses.modules & modules.SUBSTITUTES),
        frozenset(
            module
            for module, name in uses.taken
            if name in modules.ADDITIONS.get(module, ()) and module not in modules.SUBSTITUTES
        ),
    )


def _names_in(code: CodeType) -> set[str]:
    """Return the names of global variables, attributes and modules in the code."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _names_in(constant)
    return found


def _may_need_anything(names: set[str], source: str | None) -> bool:
    """Tell whether a closer look is worthwhile; most handlers are Python 3 and need nothing."""
    old = names & (_BUILTINS.keys() | modules.SUBSTITUTES | {"__import__"})
    if source is not None:
        old = {name for name in old if not _is_only_attribute(name, source)}
    return bool(old) or any(
        module in names and not names.isdisjoint(additions)
        for module, additions in modules.ADDITIONS.items()
    )


def _is_only_attribute(name: str, source: str) -> bool:
    """Tell whether a name always follows a dot, as `urlparse` in `urllib.parse.urlparse(uri)`."""
    return re.search(rf"(?<![\w.]){name}\b", source) is None


def make_builtins(needs: Needs) -> dict[str, Any]:
    """Make the built-in names of one handler: those of the process, and those that it needs."""
    return {
        **vars(builtins),
        **{name: _BUILTINS[name] for name in needs.builtins},
        "__import__": _make_import(needs),
    }


def _make_import(needs: Needs) -> Callable[..., Any]:
    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 (as the built-in one names it)
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        """Import a module, also by its old name. One of that name on `sys.path` comes first."""
        if level == 0 and name in needs.substitutes:
            if name not in sys.modules and importlib.util.find_spec(name) is None:
                return modules.substitute(name)
            if name in modules.ADDITIONS:
                return modules.extended(name)
        found = builtins.__import__(name, globals, locals, fromlist, level)
        root, _, submodule = name.partition(".")
        if level == 0 and root in needs.extended and not (submodule and fromlist):
            return modules.extended(root)
        return found

    return import_
