"""Finds handlers that keep connections in variables of their module.

Each worker has such variables for itself, so what is sent to all connections in them reaches only
those of one worker. Looks at the source alone, follows a connection through names, calls of the
module's own functions and objects that are made of it, and rather misses one than blames wrongly.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from fastwsh.loading import source

__all__ = ["find", "warnings"]

# Methods of containers that keep an argument.
_KEEPING: Final = frozenset(
    {"add", "append", "appendleft", "extend", "insert", "put", "put_nowait", "setdefault", "update"}
)
# What of a connection stands for it.
_PARTS: Final = frozenset({"connection", "ws_stream"})
# Parameters with these names are taken for connections.
_NAMES: Final = frozenset({"request", "ws_stream", "websocket"})
# The functions of a handler whose first parameter is the request.
_HANDLERS: Final = frozenset(
    {
        "web_socket_do_extra_handshake",
        "web_socket_passive_closing_handshake",
        "web_socket_transfer_data",
    }
)
# Functions that return something through which the connection can be reached.
_HOLDERS: Final = frozenset({"WeakMethod", "dict", "frozenset", "list", "partial", "ref", "set"})

_T = TypeVar("_T", bound=ast.AST)

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


def warnings(files: Iterable[str], encoding: str | None, count: int) -> list[str]:
    """Return a sentence for each place where handlers keep connections.

    Args:
        files: The handlers.
        encoding: Of their source.
        count: How many workers there are.
    """
    sentences = []
    for path in files:
        try:
            tree = ast.parse(source.read(path, encoding))
        except (source.LoadError, SyntaxError, ValueError, RecursionError):
            continue  # it is reported elsewhere, or it is Python 2
        sentences += [
            f"{path}:{line} keeps connections in {name}, and each of the {count} workers has its "
            "own: what is sent to them reaches one worker's alone; publish it to a topic "
            "(fastwsh.topics), or use one worker"
            for line, name in find(tree)
        ]
    return sentences


def find(tree: ast.Module) -> list[tuple[int, str]]:
    """Return the lines that keep a connection in a variable of the module, with its name."""
    module = _Module(tree)
    found: dict[str, int] = {}
    for function in module.functions:
        for line, name in _kept(function, module):
            found[name] = min(line, found.get(name, line))
    return sorted((line, name) for name, line in found.items())


class _Module:
    """The functions and variables of a module, and which parameters are connections."""

    def __init__(self, tree: ast.Module) -> None:
        self.functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
        self.classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        self.variables = {name for node in _statements(tree) for name in _assigned(node)}
        # classes of which the module keeps an object, whose attributes are as its variables
        self.kept_methods = {
            method
            for node in tree.body
            if isinstance(node, ast.ClassDef) and node.name in self._instantiated(tree)
            for method in node.body
            if isinstance(method, _FUNCTIONS)
        }
        self.connections: dict[_Function, set[str]] = {
            function: {name for name in _parameters(function) if name in _NAMES}
            | set(_parameters(function)[:1] if function.name in _HANDLERS else ())
            for function in self.functions
        }
        while self._follow_calls():
            pass

    def _instantiated(self, tree: ast.Module) -> set[str]:
        return {
            value.func.id
            for node in _statements(tree)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(value := node.value, ast.Call)
            and isinstance(value.func, ast.Name)
        }

    def _follow_calls(self) -> bool:
        """Mark parameters that get a connection; return whether there was a new one."""
        by_name: dict[str, list[_Function]] = {}
        for function in self.functions:
            by_name.setdefault(function.name, []).append(function)
        changed = False
        for caller in self.functions:
            known = _connections_in(caller, self)
            for call in _nodes(caller, ast.Call):
                name = call.func.attr if isinstance(call.func, ast.Attribute) else _id(call.func)
                for called in by_name.get(name, ()):
                    names = _parameters(called)
                    if isinstance(call.func, ast.Attribute) and names[:1] == ["self"]:
                        names = names[1:]
                    given = {
                        parameter
                        for parameter, argument in zip(names, call.args, strict=False)
                        if _is_connection(argument, known, self)
                    }
                    changed |= not given <= self.connections[called]
                    self.connections[called] |= given
        return changed


def _connections_in(function: _Function, module: _Module) -> set[str]:
    """Return the names in a function that are connections, or objects made of one."""
    known = set(module.connections[function])
    before = -1
    while before != len(known):
        before = len(known)
        for node in _nodes(function, ast.Assign):
            if _is_connection(node.value, known, module):
                known.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return known


def _kept(function: _Function, module: _Module) -> Iterator[tuple[int, str]]:
    """Yield where a function keeps a connection."""
    known = _connections_in(function, module)
    own = {name for node in ast.walk(function) for name in _assigned(node)} | set(
        _parameters(function)
    )
    shared = {name for node in _nodes(function, ast.Global) for name in node.names}
    variables = (module.variables - own) | shared

    def is_shared(container: ast.expr) -> bool:
        root, is_attribute = container, False
        while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
            if isinstance(root, ast.Attribute) and root.attr == "state":
                return "app" in ast.unparse(root.value)
            is_attribute |= isinstance(root, ast.Attribute)
            root = root.func if isinstance(root, ast.Call) else root.value
        name = _id(root)
        is_own_object = name == "self" and is_attribute and function in module.kept_methods
        return name in variables or is_own_object

    for node in ast.walk(function):
        for line, container, values in _stores(node):
            if is_shared(container) and any(_is_connection(v, known, module) for v in values):
                yield line, ast.unparse(container)


def _stores(node: ast.AST) -> Iterator[tuple[int, ast.expr, list[ast.expr]]]:
    """Yield the line, the container and the values of what a statement stores."""
    match node:
        case ast.Call(func=ast.Attribute(value=container, attr=method), args=values):
            if method in _KEEPING:
                yield node.lineno, container, values
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Subscript):
                    yield node.lineno, target.value, [value, target.slice]
                elif isinstance(target, ast.Name | ast.Attribute):
                    yield node.lineno, target, [value]
        case ast.AugAssign(target=target, value=value):
            yield node.lineno, target, [value]


def _is_connection(value: ast.expr, known: set[str], module: _Module) -> bool:
    match value:
        case ast.Name(id=name):
            return name in known
        case ast.Attribute(value=inner, attr=attribute):
            return attribute in _PARTS and _is_connection(inner, known, module)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            return any(_is_connection(item, known, module) for item in items)
        case ast.Dict(keys=keys, values=values):
            return any(
                item is not None and _is_connection(item, known, module)
                for item in (*keys, *values)
            )
        case ast.Call(func=function, args=arguments):
            name = function.attr if isinstance(function, ast.Attribute) else _id(function)
            return (name in _HOLDERS or name in module.classes) and any(
                _is_connection(argument, known, module) for argument in arguments
            )
    return False


def _parameters(function: _Function) -> list[str]:
    given = function.args
    return [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


def _nodes(function: _Function, kind: type[_T]) -> Iterator[_T]:
    return (node for node in ast.walk(function) if isinstance(node, kind))


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements that run when the module is imported."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            yield node
            waiting += ast.iter_child_nodes(node)


def _assigned(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement sets."""
    match node:
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _id(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
