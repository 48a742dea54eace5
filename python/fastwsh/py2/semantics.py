"""The meaning in Python 2 of code that is valid in both: division, rounding, sorting, metaclasses.

Only handlers in Python 2 syntax are changed. A handler that Python 3 can parse is Python 3.
"""

import ast
from typing import Final

__all__ = ["apply_old_meaning"]


def apply_old_meaning(tree: ast.Module) -> ast.Module:
    """Change the tree of a handler in Python 2 syntax so that it keeps its meaning."""
    divides = not any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(item.name == "division" for item in node.names)
        for node in ast.walk(tree)
    )
    bound = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    } | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
    }
    changed = _Meaning(divides, bound).visit(tree)
    return ast.fix_missing_locations(changed)  # type: ignore[no-any-return]


class _Meaning(ast.NodeTransformer):
    """Calls the functions above."""

    def __init__(self, divides: bool, bound: set[str]) -> None:
        self._divides = divides
        self._bound = bound

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if self._divides and isinstance(node.op, ast.Div):
            return _call("<divide>", node, node.left, node.right)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.AugAssign(op=ast.Div(), target=target) if self._divides:
                # evaluated twice, which makes no difference for names
                if all(isinstance(part, _PLAIN) for part in ast.walk(target)):
                    value = ast.parse(ast.unparse(target), mode="eval").body
                    divided = _call("<divide>", node, value, node.value)
                    return ast.copy_location(ast.Assign([target], divided), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Name(("round" | "sorted") as name) if name not in self._bound:
                node.func = _name(f"<{name}>", node)
            # the translator has turned `unicode` into `str`
            case ast.Name("str") if len(node.args) > 1 and "str" not in self._bound:
                node.func = _name("<decode>", node)
            case ast.Attribute(attr="sort"):
                if node.args or any(word.arg == "cmp" for word in node.keywords):
                    node.args.insert(0, node.func)
                    node.func = _name("<sort>", node)
            case ast.Attribute(value=ast.Attribute(attr="headers_in"), attr="getheader"):
                node.func.attr = "get"
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        for statement in node.body:
            match statement:
                case ast.Assign([ast.Name("__metaclass__")], value) if not node.keywords:
                    node.keywords.append(ast.keyword("metaclass", value))
        return node


_PLAIN: Final = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.expr_context)


def _name(name: str, node: ast.AST) -> ast.Name:
    return ast.copy_location(ast.Name(name, ast.Load()), node)


def _call(name: str, node: ast.AST, *args: ast.expr) -> ast.Call:
    call = ast.Call(_name(name, node), list(args), [])
    return ast.copy_location(call, node)
