"""Finds the names and modules of Python 2 that a handler uses, and provides them.

A handler gets only names that it uses and that would be missing. If it asks whether a name exists
(`try: unicode`, `except NameError:`), it knows Python 3, and gets the true answer.
"""

import ast
import builtins
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any, Final, NamedTuple

from fastwsh.py2 import modules, old_builtins, semantics

__all__ = ["Needs", "find_needs", "make_builtins"]

_BUILTINS: Final[Mapping[str, Any]] = {
    name: getattr(old_builtins, name)
    for name in old_builtins.__all__
    if not hasattr(builtins, name)
} | semantics.FUNCTIONS

# The exceptions of a `try` with a body that asks whether something exists.
_IMPORT_PROBES: Final = frozenset({"ImportError", "ModuleNotFoundError"})
_NAME_PROBES: Final = frozenset({"NameError"})
_ATTRIBUTE_PROBES: Final = frozenset({"AttributeError"})
# `except:` and these count only if the body does nothing else.
_ANYTHING: Final = frozenset({"BaseException", "Exception"})


# Instructions that may read a global variable.
_READS: Final = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


class Needs(NamedTuple):
    """The names of Python 2 that a handler uses.

    Attributes:
        builtins: Built-in names.
        substitutes: Modules that exist under another name, or not at all.
        extended: Modules that exist and lack something that the handler takes from them.
    """

    builtins: frozenset[str] = frozenset()
    substitutes: frozenset[str] = frozenset()
    extended: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.builtins or self.substitutes or self.extended)


def find_needs(tree: ast.Module, code: CodeType) -> Needs:
    """Find out what a handler needs.

    Args:
        tree: The syntax tree of its source.
        code: The code object of that.
    """
    used = _names_in(code)
    if not _may_need_anything(used):
        return Needs()
    uses = _Uses()
    uses.visit(tree)
    old = used & _BUILTINS.keys()
    return Needs(
        frozenset((old & _free_names(code)) - uses.probed_names if old else ()),
        frozenset(uses.modules & modules.SUBSTITUTES),
        frozenset(
            module
            for module, name in uses.taken()
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


def _may_need_anything(names: set[str]) -> bool:
    """Tell whether a closer look is worthwhile; most handlers are Python 3 and need nothing."""
    if names & (_BUILTINS.keys() | modules.SUBSTITUTES | {"__import__"}):
        return True
    return any(
        module in names and not names.isdisjoint(additions)
        for module, additions in modules.ADDITIONS.items()
    )


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


class _Uses(ast.NodeVisitor):
    """Collects which modules are imported and what is taken from them."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.probed_names: set[str] = set()
        self._names_of_modules: dict[str, str] = {}
        self._imported_from: set[tuple[str, str]] = set()
        self._attributes: set[tuple[str, str]] = set()
        self._caught: frozenset[str] = frozenset()

    def taken(self) -> Iterator[tuple[str, str]]:
        """Yield the pairs of a module and a name that is taken from it."""
        yield from self._imported_from
        for variable, name in self._attributes:
            if variable in self._names_of_modules:
                yield self._names_of_modules[variable], name

    def visit_Try(self, node: ast.Try) -> None:
        caught = self._caught
        self._caught = caught | _caught_by(node)
        for statement in node.body:
            self.visit(statement)
        self._caught = caught
        for rest in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(rest)

    def visit_Import(self, node: ast.Import) -> None:
        if not self._caught & _IMPORT_PROBES:
            for item in node.names:
                self._import(item.name, item.asname)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level == 0 and node.module is not None and not self._caught & _IMPORT_PROBES:
            self.modules.add(node.module)
            for item in node.names:
                names = modules.ADDITIONS.get(node.module, ()) if item.name == "*" else (item.name,)
                self._imported_from.update((node.module, name) for name in names)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name("__import__"), args=[ast.Constant(str(name)), *_]):
                self._import(name, None)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and not self._caught & _ATTRIBUTE_PROBES:
            self._attributes.add((node.value.id, node.attr))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if self._caught & _NAME_PROBES:
            self.probed_names.add(node.id)

    def _import(self, name: str, variable: str | None) -> None:
        self.modules.add(name)
        root = name.partition(".")[0]
        if variable is None:
            self._names_of_modules[root] = root
        elif name == root:
            self._names_of_modules[variable] = name


def _caught_by(node: ast.Try) -> frozenset[str]:
    """Return the exceptions by which the body of a `try` learns that something is missing."""
    caught = set()
    for handler in node.handlers:
        if handler.type is None:
            caught.add("BaseException")
        else:
            caught.update(item.id for item in ast.walk(handler.type) if isinstance(item, ast.Name))
    if caught & _ANYTHING and all(map(_only_asks, node.body)):
        caught |= _IMPORT_PROBES | _NAME_PROBES | _ATTRIBUTE_PROBES
    return frozenset(caught)


def _only_asks(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(ast.Name() | ast.Attribute()):
            return True
        case ast.Assign(value=ast.Name() | ast.Attribute()):
            return True
        case _:
            return False


def _free_names(module: CodeType) -> set[str]:
    """Return the names that are read as global variables and that the source never binds."""
    import dis  # noqa: PLC0415 (for handlers of Python 2 only)

    bound, read = set(), set()
    codes = [module]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        used: dict[str, set[Any]] = {}
        for step in dis.get_instructions(code):
            used.setdefault(step.opname, set()).add(step.argval)
        of_scope = used.get("STORE_NAME", set())
        if code is module:
            bound |= of_scope
            of_scope = set()
        bound |= used.get("STORE_GLOBAL", set())
        for opname in _READS:
            # a class reads its own names so as well
            read |= used.get(opname, set()) - of_scope
    return read - bound
