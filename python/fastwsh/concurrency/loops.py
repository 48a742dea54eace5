"""Finds loops of a handler that may run for ever without waiting.

In a shared thread, a loop that waits by polling for something that another handler does keeps that
handler from doing it. A loop is accepted if every path through its body waits inside fastwsh,
leaves the loop, or changes step by step what ends the loop.
"""

import ast
import enum
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from fastwsh.syntax_tree import children, walk

__all__ = ["Loops"]

# The methods and functions of pywebsocket that wait, or let others go on, or raise.
_WAITS: Final = frozenset(
    {
        *("_read", "_receive_frame", "_receive_frame_as_frame_object", "_send_pong", "_write"),
        *("close_connection", "read", "receive", "receive_bytes", "receive_filtered_frame"),
        *("receive_message", "send_message", "send_ping", "send_pong", "write"),
    }
)

# Fastwsh's own calls do not raise these because the connection has ended.
_HARMLESS_EXCEPTIONS: Final = frozenset(
    {
        *("AssertionError", "IndexError", "JSONDecodeError", "KeyError", "LookupError"),
        *("StopIteration", "TypeError", "UnicodeDecodeError", "UnicodeEncodeError"),
        *("UnicodeError", "UnsupportedFrameException", "ValueError", "ZeroDivisionError"),
        *("binascii.Error", "struct.error", "zlib.error"),
    }
)

_CHANGING_METHODS: Final = frozenset(
    {
        *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
        *("popleft", "readline", "remove", "update"),
    }
)
_ENDLESS_ITERATORS: Final = frozenset({"count", "cycle", "iter", "repeat"})

_Loop = ast.While | ast.For
_Body = Sequence[ast.stmt]
_Leave = ast.Raise | ast.Return | ast.Break | ast.Continue


class _Outcome(enum.Enum):
    """How the paths through some statements end.

    "Waits" includes leaving the loop, and bringing it nearer to its end.
    """

    WAITS = enum.auto()  # every path waits
    GOES_ON = enum.auto()  # a path may reach the next statement without a wait
    SKIPS = enum.auto()  # a path may jump over the next statements without a wait


class _Exits(NamedTuple):
    """What counts like a wait: leaving the loop or function, or a step towards that."""

    by_return: bool
    by_break: bool = False
    by_value: Collection[tuple[str, bool]] = ()
    by_change: Collection[str] = ()


class Loops:
    """Checks the loops of one handler.

    Args:
        tree: The handler.
        other_modules: The names of modules that are not pywebsocket's: their functions do not wait
            inside fastwsh, whatever their names are.
    """

    def __init__(self, tree: ast.Module, other_modules: Collection[str]) -> None:
        self._other_modules = other_modules
        self._functions: dict[str, list[ast.FunctionDef]] = {}
        aliases: dict[str, bool] = {}
        for node in walk(tree):
            if isinstance(node, ast.FunctionDef):
                self._functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.Assign):
                waits = isinstance(node.value, ast.Attribute) and node.value.attr in _WAITS
                for name in (target.id for target in node.targets if isinstance(target, ast.Name)):
                    aliases[name] = waits and aliases.get(name, True)
        self._waits_called = _WAITS | {name for name, waits in aliases.items() if waits}
        self._waiting_functions: dict[str, bool] = {}

    def may_stall(self, loop: _Loop) -> bool:
        """Tell whether a loop may go round for ever without waiting."""
        changes = _deciding_changes(loop)
        values: Collection[tuple[str, bool]] = ()
        if isinstance(loop, ast.While):
            accepted = any(self._waits(operand, changes) for operand in _operands(loop.test))
            values = frozenset(_final_values(loop.test))
        else:
            accepted = not _is_endless(loop.iter) or self._waits_to_iterate(loop.iter)
            accepted = accepted or not changes.isdisjoint(_targets(loop.target))
        exits = _Exits(by_return=True, by_break=True, by_value=values, by_change=changes)
        return not accepted and self._run(loop.body, exits) is not _Outcome.WAITS

    def _run(self, body: _Body, exits: _Exits) -> _Outcome:
        for statement in body:
            outcome = self._step(statement, exits)
            if outcome is not _Outcome.GOES_ON:
                return outcome
        return _Outcome.GOES_ON

    def _step(self, statement: ast.stmt, exits: _Exits) -> _Outcome:
        match statement:
            case ast.FunctionDef() | ast.ClassDef():
                return _Outcome.GOES_ON
            case ast.If(test=test, body=body, orelse=orelse):
                branches = [self._run(body, exits), self._run(orelse, exits)]
                return self._any_of(branches, [test], exits)
            case ast.While() | ast.For():
                return self._step_loop(statement, exits)
            case ast.With(items=items, body=body):
                outcomes = [self._run(body, exits)]
                managers = [item.context_expr for item in items]
                if any(_called(manager) == "suppress" for manager in managers):
                    outcomes.append(_Outcome.GOES_ON)
                return self._any_of(outcomes, managers, exits)
            case ast.Try() | ast.TryStar():
                return self._step_try(statement, exits)
            case ast.Match(subject=subject, cases=cases):
                # Perhaps no case matches.
                outcomes = [_Outcome.GOES_ON, *(self._run(case.body, exits) for case in cases)]
                return self._any_of(outcomes, [subject], exits)
            case ast.Raise() | ast.Return() | ast.Break() | ast.Continue():
                leaves = _leaves(statement, exits) or self._waits(statement)
                return _Outcome.WAITS if leaves else _Outcome.SKIPS
            case ast.Assign([ast.Name(name)], ast.Constant(value)):
                leaves = (name, bool(value)) in exits.by_value
                return _Outcome.WAITS if leaves else _Outcome.GOES_ON
            case _:
                return self._any_of([_Outcome.GOES_ON], [statement], exits)

    def _any_of(
        self, outcomes: Collection[_Outcome], before: Iterable[ast.AST], exits: _Exits
    ) -> _Outcome:
        """Combine the outcomes of alternatives, which follow what is evaluated before."""
        if any(self._waits(node, exits.by_change) for node in before):
            return _Outcome.WAITS
        if all(outcome is _Outcome.WAITS for outcome in outcomes):
            return _Outcome.WAITS
        return _Outcome.SKIPS if _Outcome.SKIPS in outcomes else _Outcome.GOES_ON

    def _step_loop(self, loop: _Loop, exits: _Exits) -> _Outcome:
        if isinstance(loop, ast.While):
            waits = self._waits(loop.test, exits.by_change)
            runs = isinstance(loop.test, ast.Constant) and bool(loop.test.value)
        else:
            waits = self._waits(loop.iter) or self._waits_to_iterate(loop.iter)
            runs = _called(loop.iter) == "range" or _is_endless(loop.iter)
        inside = _Exits(exits.by_return, by_change=exits.by_change)
        if waits or (runs and self._run(loop.body, inside) is _Outcome.WAITS):
            return _Outcome.WAITS
        returns = any(isinstance(node, ast.Return) for node in walk(loop))
        return _Outcome.SKIPS if returns and not exits.by_return else _Outcome.GOES_ON

    def _step_try(self, statement: ast.Try | ast.TryStar, exits: _Exits) -> _Outcome:
        in_the_end = self._run(statement.finalbody, exits)
        if in_the_end is not _Outcome.GOES_ON:
            return in_the_end
        # Code that catches the end of the connection and goes on will not wait any more. Other
        # exceptions come after the wait, if the wait is the first statement.
        waits_first = self._step(statement.body[0], exits) is _Outcome.WAITS
        outcomes = [
            self._run(handler.body, exits)
            for handler in statement.handlers
            if not (waits_first and _is_harmless(handler.type))
        ]
        outcomes.append(self._run([*statement.body, *statement.orelse], exits))
        return self._any_of(outcomes, [], exits)

    def _waits(self, node: ast.AST | None, changes: Collection[str] = ()) -> bool:
        """Tell whether evaluating an expression always includes a wait, or one of the changes."""
        match node:
            case None | ast.Lambda():
                return False
            case ast.BoolOp(values=[first, *_]):
                return self._waits(first, changes)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                branches = self._waits(body, changes) and self._waits(orelse, changes)
                return branches or self._waits(test, changes)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                return self._waits(node.generators[0].iter, changes)
            case ast.Call() if self._is_wait(node):
                return True
        if any(name in changes for name, _ in _changes_by(node)):
            return True
        return any(self._waits(child, changes) for child in children(node))

    def _is_wait(self, call: ast.Call) -> bool:
        name = _called(call)
        if name in self._functions:
            return self._is_waiting_function(name)
        root = _dotted(call.func).partition(".")[0]
        return name in self._waits_called and root not in self._other_modules

    def _is_waiting_function(self, name: str) -> bool:
        if name not in self._waiting_functions:
            # A function that calls itself proves nothing by that.
            self._waiting_functions[name] = False
            self._waiting_functions[name] = all(
                self._run(function.body, _Exits(by_return=False)) is _Outcome.WAITS
                and not any(isinstance(n, ast.Yield | ast.YieldFrom) for n in walk(function))
                for function in self._functions[name]
            )
        return self._waiting_functions[name]

    def _waits_to_iterate(self, iterable: ast.expr) -> bool:
        """Tell whether it is `iter(request.ws_stream.receive_message, None)`, or the like."""
        match iterable:
            case ast.Call(func=ast.Name("iter"), args=[function, _]):
                return self._is_wait(ast.Call(function, [], []))
        return False


def _leaves(statement: _Leave, exits: _Exits) -> bool:
    match statement:
        case ast.Raise():
            return True
        case ast.Return():
            return exits.by_return
        case ast.Break():
            return exits.by_break
    return False


def _operands(test: ast.expr) -> list[ast.expr]:
    """Return what must be true for the loop to go on."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [operand for value in test.values for operand in _operands(value)]
    return [test]


def _final_values(test: ast.expr) -> Iterator[tuple[str, bool]]:
    """Yield the variables that end the loop, and their values then."""
    for operand in _operands(test):
        match operand:
            case ast.Name(name):
                yield name, False
            case ast.UnaryOp(ast.Not(), ast.Name(name)):
                yield name, True


def _deciding_changes(loop: _Loop) -> set[str]:
    """Return the variables that a loop changes step by step until that ends it."""
    changes = [change for node in _own_nodes(loop) for change in _changes_by(node)]
    changed = {name for name, _ in changes}
    # A value from something that does not change may stay the same for ever.
    steps = {name for name, value in changes if value is None or changed & _names(value)}
    out = _ways_out(loop.body, steps) or set()
    return out | _ways_to(loop.test, False, steps) if isinstance(loop, ast.While) else out


def _ways_out(body: _Body, steps: set[str]) -> set[str] | None:
    """Return which steps lead to a statement that leaves, or None if they do not."""
    found: set[str] = set()
    for statement in body:
        match statement:
            case ast.Break() | ast.Return() | ast.Raise():
                return found
            case ast.If(test=test, body=then, orelse=orelse):
                for truth, branch in ((True, then), (False, orelse)):
                    out = _ways_out(branch, steps)
                    if out is not None and (to_branch := _ways_to(test, truth, steps)):
                        found |= to_branch | out
            case ast.With(body=inner):
                found |= _ways_out(inner, steps) or set()
            case ast.Try() | ast.TryStar():
                found |= _ways_out([*statement.body, *statement.orelse], steps) or set()
                if any(_ways_out(h.body, steps) is not None for h in statement.handlers):
                    # The end is an exception, so nothing follows.
                    nodes = (node for part in statement.body for node in _own_nodes(part))
                    found |= {name for node in nodes for name, _ in _changes_by(node)} & steps
    return found or None


def _ways_to(test: ast.expr, truth: bool, steps: set[str]) -> set[str]:
    """Return which steps bring a test to that result."""
    match test:
        case ast.UnaryOp(ast.Not(), operand):
            return _ways_to(operand, not truth, steps)
        case ast.BoolOp(op, operands):
            ways = [_ways_to(operand, truth, steps) for operand in operands]
            one_is_enough = isinstance(op, ast.Or) is truth
            return set().union(*ways) if one_is_enough or all(ways) else set()
    return steps & _names(test)


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in a node, without those of functions in it."""
    yield node
    for child in children(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own_nodes(child)


def _changes_by(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the variables that a node sets, with the new values unless these depend on the old."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in _targets(target))
        case ast.NamedExpr(target=target, value=value):
            yield target.id, value
        case ast.AugAssign(target=target) | ast.For(target=target):
            yield from ((name, None) for name in _targets(target))
        case ast.Delete(targets=targets):
            yield from ((name, None) for target in targets for name in _targets(target))
        case ast.Call(func=ast.Name("next"), args=[changed, *_]):
            yield from ((name, None) for name in _targets(changed))
        case ast.Call(func=ast.Attribute(changed, method)) if method in _CHANGING_METHODS:
            yield from ((name, None) for name in _targets(changed))


def _targets(target: ast.expr) -> Iterator[str]:
    match target:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _targets(part)
        case ast.Starred(value=value) | ast.Subscript(value=value):
            yield from _targets(value)
        case _ if name := _dotted(target):
            yield name


def _names(node: ast.AST) -> set[str]:
    """Return the variables in a node and the attributes of variables, in dotted form."""
    return {_dotted(part) for part in walk(node)} - {""}


def _dotted(node: ast.AST) -> str:
    """Return a variable, or an attribute of one, in dotted form; nothing for anything else."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            base = _dotted(value)
            return f"{base}.{attribute}" if base else ""
    return ""


def _called(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(name) | ast.Attribute(attr=name)):
            return name
    return ""


def _is_endless(iterable: ast.expr) -> bool:
    match iterable:
        case ast.Call(func=ast.Name("iter"), args=[_]):
            return False
    return _called(iterable) in _ENDLESS_ITERATORS


def _is_harmless(caught: ast.expr | None) -> bool:
    match caught:
        case None:
            return False
        case ast.Tuple(elts=elements):
            return all(map(_is_harmless, elements))
    name = _dotted(caught)
    return name in _HARMLESS_EXCEPTIONS or name.rpartition(".")[2] in _HARMLESS_EXCEPTIONS
