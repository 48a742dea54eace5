"""Finds the meaning of names in a handler: a variable, an import, or a built-in name.

Python decides this by the scope in which a name is bound, not by the last binding. So does this
module.
"""

import ast
from collections.abc import Collection, Iterator
from typing import NamedTuple

from fastwsh.concurrency.modules import (
    follow,
    is_harmless,
    is_pywebsocket,
    public_names,
    real_name,
    shown_name,
)
from fastwsh.syntax_tree import children, walk

__all__ = ["Names", "NeedsThreadError", "Origin", "Scope", "ScopedVisitor"]

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_DECLARATIONS = (ast.Global, ast.Nonlocal)

# Most nodes are none of these, and comparing each with the patterns of a `match` takes long.
_COMPREHENSIONS = frozenset({ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp})
_SCOPED = _COMPREHENSIONS | {ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef}
_BINDING = frozenset(
    {
        *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.arg, ast.Name),
        *(ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping, ast.Import),
        ast.ImportFrom,
    }
)


class NeedsThreadError(Exception):
    """A handler needs a thread of its own; `str()` says why, as a phrase for a log line."""

    def __init__(self, what: str, node: ast.stmt | ast.expr) -> None:
        super().__init__(f"it {what} (line {node.lineno})")


class Origin(NamedTuple):
    """What an import binds to a name.

    Attributes:
        module: A module, by its real name.
        attributes: The attributes of it, if not the module itself.
    """

    module: str
    attributes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """A description for people."""
        return ".".join((shown_name(self.module), *self.attributes))


class Scope:
    """The names that a function, class, comprehension or the handler's module binds.

    Attributes:
        parent: The scope around it, or None for the module.
        is_class: Whether it is the scope of a class.
        runs_later: Whether it is within a function, so that its code runs after the loading.
        globals: Names that belong to the module instead.
        nonlocals: Names that belong to a function around it instead.
        variables: Names that it certainly binds.
        imports: Names that it may bind by importing, and everything that they may be bound to.
    """

    def __init__(self, node: ast.AST, parent: "Scope | None") -> None:
        self.parent = parent
        self.is_class = isinstance(node, ast.ClassDef)
        self.runs_later: bool = isinstance(node, _Function | ast.Lambda) or (
            parent is not None and parent.runs_later
        )
        # This includes those of inner functions, which is on the safe side.
        self._declares: bool = (
            any(isinstance(n, _DECLARATIONS) for n in walk(node))
            if parent is None
            else parent._declares
        )
        inner = list(walk(node)) if parent and self._declares else []
        self.globals = {name for n in inner if isinstance(n, ast.Global) for name in n.names}
        self.nonlocals = {name for n in inner if isinstance(n, ast.Nonlocal) for name in n.names}
        self.variables: set[str] = set()
        self.imports: dict[str, list[Origin]] = {}


class ScopedVisitor:
    """Visits every node of a handler; `scope` is the scope for the names of the node.

    Args:
        tree: The handler.
        scopes: Its scopes by their nodes; missing ones are added.
    """

    def __init__(self, tree: ast.Module, scopes: dict[ast.AST, Scope]) -> None:
        self.module = scopes.setdefault(tree, Scope(tree, None))
        self.scopes = scopes
        self.scope = self.module

    def look(self, node: ast.AST) -> bool:
        """Handle a node; return whether to visit the nodes in it."""
        raise NotImplementedError

    def visit(self, node: ast.AST) -> None:
        """Visit a node and all nodes in it."""
        if not self.look(node):
            return
        outside, inside = _parts(node)
        for part in outside:
            self.visit(part)
        if inside:
            outer = self.scope
            if node not in self.scopes:
                self.scopes[node] = Scope(node, outer)
            self.scope = self.scopes[node]
            for part in inside:
                self.visit(part)
            self.scope = outer


def _parts(node: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """Return the parts that are evaluated outside and inside of the node's own scope."""
    if type(node) not in _SCOPED:
        return children(node), []
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            named += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
            outside: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults]
            outside += [argument.annotation for argument in named]
            if isinstance(node, ast.Lambda):
                return [part for part in outside if part], [*named, node.body]
            outside += [*node.decorator_list, node.returns, *getattr(node, "type_params", ())]
            return [part for part in outside if part], [*named, *node.body]
        case ast.ClassDef():
            parameters = getattr(node, "type_params", ())
            return [*node.decorator_list, *node.bases, *node.keywords, *parameters], [*node.body]
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            first, *others = node.generators
            elements = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            return [first.iter], [first.target, *first.ifs, *others, *elements]
        case _:
            return children(node), []


class Names(ScopedVisitor):
    """Finds the meaning of the names of a handler.

    Args:
        tree: The handler.

    Raises:
        NeedsThreadError: It imports something that may block.
    """

    def __init__(self, tree: ast.Module) -> None:
        super().__init__(tree, {})
        self._deleted: set[str] = set()
        self.visit(tree)
        # A name that is bound only under a condition may also be the built-in one.
        bound = {name for statement in tree.body for name in _bound_by(statement)}
        self.module.variables = bound - self._deleted

    def origins(self, name: str, scope: Scope) -> list[Origin] | None:
        """Return what imports bind a name to, nothing for a variable, None for a built-in name."""
        found: Scope | None = self.module if name in scope.globals else scope
        while found:
            if name in found.imports:
                return found.imports[name]
            # Functions of a class do not see the names that the class binds, and these may not be
            # bound yet. The latter is also true of the module while it is loaded.
            certain = scope.runs_later if found is self.module else not found.is_class
            if certain and name in found.variables:
                return []
            found = found.parent
        return None

    def of_other_modules(self) -> Collection[str]:
        """Return the names that may come from a module that is not pywebsocket's."""
        return {
            name
            for scope in self.scopes.values()
            for name, origins in scope.imports.items()
            if not all(is_pywebsocket(origin.module) for origin in origins)
        }

    def look(self, node: ast.AST) -> bool:
        """Bind the names that a node binds."""
        if type(node) not in _BINDING:
            return True
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._bind(node.name)
            case ast.arg(arg=name):
                self._bind(name)
                return False
            case ast.Name(id=name, ctx=ast.Store()):
                self._bind(name)
            case ast.Name(id=name, ctx=ast.Del()):
                self._deleted.add(name)
            case ast.ExceptHandler(name=name) | ast.MatchAs(name=name) | ast.MatchStar(name=name):
                self._bind(name)
            case ast.MatchMapping(rest=name):
                self._bind(name)
            case ast.Import():
                self._import_modules(node)
            case ast.ImportFrom():
                self._import_from(node)
        return True

    def _import_modules(self, node: ast.Import) -> None:
        for item in node.names:
            if not is_harmless(item.name):
                raise NeedsThreadError(f"imports {item.name}", node)
            bound = item.name if item.asname else item.name.partition(".")[0]
            self._import(item.asname or bound, Origin(real_name(bound)), node)

    def _import_from(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            raise NeedsThreadError("has a relative import", node)
        if not is_harmless(node.module):
            raise NeedsThreadError(f"imports {node.module}", node)
        module = real_name(node.module)
        for item in node.names:
            if item.name != "*":
                reached = follow(module, [item.name])
                if reached.forbidden:
                    raise NeedsThreadError(f"imports {reached.forbidden}", node)
                self._import(item.asname or item.name, Origin(module, (item.name,)), node)
            elif is_pywebsocket(module):
                for name in public_names(module):
                    self._import(name, Origin(module, (name,)), node)
            else:
                raise NeedsThreadError(f"imports everything from {node.module}", node)

    def _bind(self, name: str | None) -> None:
        if name and name not in self.scope.globals | self.scope.nonlocals:
            self.scope.variables.add(name)

    def _import(self, name: str, origin: Origin, node: ast.stmt) -> None:
        scope = self.module if name in self.scope.globals else self.scope
        if scope.is_class or name in scope.nonlocals:
            # It can be reached there without this name.
            raise NeedsThreadError(f"imports {origin.shown} within a class or function", node)
        scope.imports.setdefault(name, []).append(origin)


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
