"""What a handler of Python 2 uses: modules, what it takes from them, and built-in names.

Most handlers are Python 3, and `names` does not import this for them.
"""

import ast
import dis
from collections.abc import Iterator
from types import CodeType
from typing import Any, Final, NamedTuple

from fastwsh.py2 import modules

__all__ = ["Uses", "find_uses", "free_names"]

# The exceptions of a `try` with a body that asks whether something exists.
_IMPORT_PROBES: Final = frozenset({"ImportError", "ModuleNotFoundError"})
_NAME_PROBES: Final = frozenset({"NameError"})
_ATTRIBUTE_PROBES: Final = frozenset({"AttributeError"})
# `except:` and these count only if the body does nothing else.
_ANYTHING: Final = frozenset({"BaseException", "Exception"})


# Instructions that may read a global variable.
_READS: Final = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


class Uses(NamedTuple):
    """What a handler uses.

    Attributes:
        modules: The modules that it imports.
        taken: Pairs of a module and a name that it takes from it.
        probed_names: Names of which it asks whether they exist.
    """

    modules: set[str]
    taken: set[tuple[str, str]]
    probed_names: set[str]


def find_uses(tree: ast.Module) -> Uses:
    """Return what the handler with this syntax tree uses."""
    visitor = _Visitor()
    visitor.visit(tree)
    return Uses(visitor.modules, set(visitor.taken()), visitor.probed_names)


class _Visitor(ast.NodeVisitor):
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


def free_names(module: CodeType) -> set[str]:
    """Return the names that are read as global variables and that the source never binds."""
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
