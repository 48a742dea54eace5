"""Finds handlers that can share a thread: those that wait only inside fastwsh's own calls.

Everything else that blocks would also block the other handlers. So the check of a handler's source
looks for proof, and whatever it does not know for certain needs a thread. It is not a sandbox: it
expects a program that does not hide what it does.

`names` owns the meaning of names in a handler, `modules` the knowledge about modules, `loops` that
about loops.
"""

import ast
from typing import Final

from fastwsh.concurrency.loops import Loops
from fastwsh.concurrency.modules import follow, shown_name
from fastwsh.concurrency.names import Names, NeedsThreadError, ScopedVisitor

__all__ = ["why_threads"]

# These block, or use names that are unknown before the handler runs.
_FORBIDDEN_BUILTINS: Final = frozenset(
    {
        *("__build_class__", "__builtins__", "__import__", "__loader__", "__spec__", "breakpoint"),
        *("compile", "copyright", "credits", "eval", "exec", "execfile", "file", "globals", "help"),
        *("input", "license", "locals", "open", "raw_input", "reload"),
    }
)
# Forbidden too, except in calls with a constant name.
_ACCESSORS: Final = frozenset({"delattr", "getattr", "hasattr", "setattr", "vars"})

# These lead from a value to its module, to the connection without fastwsh, or to whatever other
# handlers have left in the app.
_FORBIDDEN_ATTRIBUTES: Final = frozenset(
    {
        *("_request_handler", "app", "ag_frame", "cr_frame", "f_back", "f_builtins", "f_globals"),
        *("f_locals", "gi_frame", "server", "tb_frame"),
    }
)
_HARMLESS_DUNDERS: Final = frozenset(
    {
        *("__author__", "__bool__", "__call__", "__cause__", "__class__", "__contains__"),
        *("__context__", "__delitem__", "__doc__", "__enter__", "__eq__", "__exit__"),
        *("__format__", "__getitem__", "__hash__", "__init__", "__init_subclass__", "__iter__"),
        *("__len__", "__lt__", "__module__", "__name__", "__ne__", "__new__", "__next__"),
        *("__post_init__", "__qualname__", "__repr__", "__reversed__", "__setitem__", "__str__"),
        *("__traceback__", "__version__"),
    }
)

# Most nodes are none of these, and comparing each with the patterns of a `match` takes long.
_CHECKED: Final = frozenset(
    {
        *(ast.AsyncFunctionDef, ast.Name, ast.Attribute, ast.Call, ast.While, ast.For, ast.arg),
    }
)

_ENTRY_POINTS: Final = frozenset(
    {
        "web_socket_do_extra_handshake",
        "web_socket_passive_closing_handshake",
        "web_socket_transfer_data",
    }
)


def why_threads(source: str | ast.Module) -> str | None:
    """Return why a handler with this source needs a thread of its own, or None if it does not.

    Imports the modules that the source imports, if they are known not to block.

    Args:
        source: The handler's text or its syntax tree; for Python 2, that of the translation.

    Returns:
        A phrase for a log line, such as "it imports threading (line 3)". If there are several
        reasons, it is one of them.
    """
    try:
        tree = ast.parse(source) if isinstance(source, str) else source
        _Uses(tree, Names(tree)).visit(tree)
    except NeedsThreadError as reason:
        return str(reason)
    except SyntaxError as error:
        return f"it cannot be parsed (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be parsed ({type(error).__name__})"
    return None


class _Uses(ScopedVisitor):
    """Checks everything that a handler uses."""

    def __init__(self, tree: ast.Module, names: Names) -> None:
        super().__init__(tree, names.scopes)
        self._names = names
        self._loops = Loops(tree, names.of_other_modules())

    def look(self, node: ast.AST) -> bool:
        """Raise NeedsThreadError if something that the node uses may block."""
        if type(node) not in _CHECKED:
            return True
        match node:
            case ast.AsyncFunctionDef(name=name):
                what = "is a" if name in _ENTRY_POINTS else f"has {name}, a"
                raise NeedsThreadError(f"{what} coroutine function", node)
            case ast.Name(ctx=ast.Load()):
                self._use(node, node.id)
            case ast.Attribute():
                self._look_at_attributes(node)
                return False
            case ast.Call():
                self._look_at_call(node)
                return False
            case ast.While() | ast.For() if self._loops.may_stall(node):
                raise NeedsThreadError("loops without waiting", node)
        # The annotation of an argument is visited outside of its function.
        return not isinstance(node, ast.arg)

    def _look_at_attributes(self, node: ast.Attribute) -> None:
        attributes = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        for attribute in attributes:
            if _is_forbidden(attribute):
                raise NeedsThreadError(f"uses {attribute}", node)
        if isinstance(base, ast.Name):
            self._use(node, base.id, *reversed(attributes))
        else:
            self.visit(base)

    def _look_at_call(self, node: ast.Call) -> None:
        parts: list[ast.expr]
        match node:
            case ast.Call(ast.Name(name), [value, ast.Constant(str(attribute)), *rest]) if (
                self._is_accessor(name)
            ):
                context = ast.Store() if name in ("delattr", "setattr") else ast.Load()
                access = ast.copy_location(ast.Attribute(value, attribute, context), node)
                parts = [access, *rest]
            case ast.Call(ast.Name(name), [_, _, *_]) if self._is_accessor(name):
                parts = node.args
            case ast.Call(ast.Name("vars"), [value]) if not isinstance(value, ast.Starred):
                parts = node.args
            case _:
                parts = [node.func, *node.args]
        for part in (*parts, *node.keywords):
            self.visit(part)

    def _use(self, node: ast.Name | ast.Attribute, name: str, *attributes: str) -> None:
        """Check a name together with the attributes that follow it."""
        origins = self._names.origins(name, self.scope)
        if origins is None and name in _FORBIDDEN_BUILTINS | _ACCESSORS:
            raise NeedsThreadError(f"uses {name}", node)
        for origin in origins or ():
            if not isinstance(node.ctx, ast.Load):
                raise NeedsThreadError(f"changes {origin.shown}", node)
            reached = follow(origin.module, [*origin.attributes, *attributes])
            if reached.forbidden:
                raise NeedsThreadError(f"uses {reached.forbidden}", node)
            if reached.module:
                module = shown_name(reached.module)
                raise NeedsThreadError(f"passes the module {module} around", node)

    def _is_accessor(self, name: str) -> bool:
        return name in _ACCESSORS and self._names.origins(name, self.scope) is None


def _is_forbidden(attribute: str) -> bool:
    if attribute.startswith("__") and attribute.endswith("__"):
        return attribute not in _HARMLESS_DUNDERS
    return attribute in _FORBIDDEN_ATTRIBUTES
