"""Collects what a function, or a module's top level, consists of: one walk, which every rule reads."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

How = Literal["value", "element", "enter", "part", "import", "define", "other"]
"""How a name gets what it stands for: it is the value, one element of it, what `with` enters, a part of it."""

Body = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
N = TypeVar("N", bound=ast.AST)

SKIPPED = (ast.Constant, ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(slots=True)
class Binding:
    """A place where a name gets its value; `at` is the line and column behind it."""

    how: How
    node: ast.AST
    at: tuple[int, int]


@dataclass(slots=True)
class Facts:
    """What stands in one body, without the bodies of the functions and classes defined in it.

    Attributes:
        body: whose facts these are.
        nodes: its nodes by their type, in the order of the source.
        parents: the node that each one stands in.
        names: where each name is bound.
        outer: names declared `global` or `nonlocal`.
    """

    body: Body
    nodes: dict[type[ast.AST], list[ast.AST]] = field(default_factory=dict)
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    names: dict[str, list[Binding]] = field(default_factory=dict)
    outer: set[str] = field(default_factory=set)
    _reads: dict[str, list[ast.Name]] | None = None
    _bound: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    @property
    def reads(self) -> dict[str, list[ast.Name]]:
        """Where each name is read, in the order of the source."""
        if self._reads is None:
            self._reads = {}
            for node in self.of(ast.Name):
                if isinstance(node.ctx, ast.Load):
                    self._reads.setdefault(node.id, []).append(node)
            for found in self._reads.values():
                found.sort(key=start)
        return self._reads

    def bound(self, name: str) -> list[tuple[int, int]]:
        """The places behind which a name has a new value, in the order of the source."""
        if name not in self._bound:
            self._bound[name] = sorted(binding.at for binding in self.names.get(name, ()))
        return self._bound[name]

    def of(self, kind: type[N]) -> list[N]:
        """The nodes of exactly this type."""
        return self.nodes.get(kind, [])  # type: ignore[return-value]

    def of_any(self, *kinds: type[ast.AST]) -> list[Any]:
        """The nodes of any of these types, type by type."""
        return [node for kind in kinds for node in self.nodes.get(kind, ())]

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, from the inside to the body itself."""
        parents = self.parents
        found = parents.get(node)
        while found is not None:
            yield found
            found = parents.get(found)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that a node belongs to."""
        if isinstance(node, ast.stmt):
            return node
        return next((one for one in self.above(node) if isinstance(one, ast.stmt)), None)

    def awaited(self, node: ast.AST) -> bool:
        """Whether `await` stands before it."""
        return isinstance(self.parents.get(node), ast.Await)


def scan(body: Body) -> Facts:
    """The facts of a body."""
    facts = Facts(body)
    if not isinstance(body, ast.Module):
        for arg in parameters(body.args):
            _bind(facts, arg.arg, "other", arg, (body.lineno, body.col_offset))
    stack: list[ast.AST] = []
    inside: list[Any] = [body.body] if isinstance(body, ast.Lambda) else body.body
    stack.extend(reversed(inside))
    for statement in inside:
        facts.parents[statement] = body
    nodes, parents = facts.nodes, facts.parents
    while stack:
        node: Any = stack.pop()
        kind = type(node)
        nodes.setdefault(kind, []).append(node)
        binder = _BINDERS.get(kind)
        if binder is not None:
            binder(facts, node)
        children: list[ast.AST] = []
        if kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef):
            children = [*node.decorator_list, *_defaults(node)]
        else:
            for name in kind._fields:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    children += [one for one in value if isinstance(one, ast.AST) and not isinstance(one, SKIPPED)]
                elif isinstance(value, ast.AST) and not isinstance(value, SKIPPED):
                    children.append(value)
        for child in children:
            parents[child] = node
        children.reverse()
        stack += children
    return facts


def parameters(arguments: ast.arguments) -> list[ast.arg]:
    """All parameters, those for the rest too."""
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


def _defaults(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, FUNCTIONS):
        return [one for one in (*node.args.defaults, *node.args.kw_defaults) if one is not None]
    return [*node.bases, *(keyword.value for keyword in node.keywords)] if isinstance(node, ast.ClassDef) else []


def targets(node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The places that an assignment to a target writes, each with whether it gets the whole value."""
    if isinstance(node, ast.Tuple | ast.List):
        for one in node.elts:
            yield from ((place, False) for place, _ in targets(one))
    elif isinstance(node, ast.Starred):
        yield from ((place, False) for place, _ in targets(node.value))
    elif isinstance(node, ast.expr):
        yield node, True


def start(node: ast.expr) -> tuple[int, int]:
    """The line and column of an expression."""
    return node.lineno, node.col_offset


def end(node: ast.AST) -> tuple[int, int]:
    """The line and column behind a node."""
    return getattr(node, "end_lineno", 0) or 0, getattr(node, "end_col_offset", 0) or 0


def dotted(node: ast.AST) -> str:
    """A name, or a name with one attribute, as a text; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return ""


def leaves(body: Iterable[ast.stmt]) -> str:
    """How statements leave what stands around them: "leaves" the function, "loop", or "" if they do not."""
    found = ""
    rest: list[ast.AST] = list(body)
    while rest:
        node = rest.pop()
        if isinstance(node, ast.Return | ast.Raise):
            return "leaves"
        if isinstance(node, ast.Break | ast.Continue):
            found = "loop"
        elif not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.expr)):
            rest += ast.iter_child_nodes(node)
    return found


def _bind(facts: Facts, name: str, how: How, node: ast.AST, at: tuple[int, int]) -> None:
    facts.names.setdefault(name, []).append(Binding(how, node, at))


def _bind_targets(facts: Facts, target: ast.AST, how: How, value: ast.AST, at: tuple[int, int]) -> None:
    for place, whole in targets(target):
        if isinstance(place, ast.Name):
            _bind(facts, place.id, how if whole else "part", value, at)


def _assign(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.Assign)
    for target in node.targets:
        _bind_targets(facts, target, "value", node.value, end(node))


def _annotated(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.AnnAssign)
    if node.value is not None:
        _bind_targets(facts, node.target, "value", node.value, end(node))
    elif isinstance(node.target, ast.Name):
        _bind(facts, node.target.id, "other", node, end(node))


def _augmented(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.AugAssign)
    if isinstance(node.target, ast.Name):
        _bind(facts, node.target.id, "other", node, end(node))


def _named(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.NamedExpr)
    _bind_targets(facts, node.target, "value", node.value, end(node))


def _loop(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.For | ast.AsyncFor)
    _bind_targets(facts, node.target, "element", node.iter, end(node.iter))


def _comprehension(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.comprehension)
    _bind_targets(facts, node.target, "element", node.iter, (node.target.lineno, 0))


def _with(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.With | ast.AsyncWith)
    for item in node.items:
        if item.optional_vars is not None:
            _bind_targets(facts, item.optional_vars, "enter", item.context_expr, end(item.optional_vars))


def _handler(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.ExceptHandler)
    if node.name:
        _bind(facts, node.name, "other", node, (node.lineno, node.col_offset))


def _imports(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.Import | ast.ImportFrom)
    for alias in node.names:
        if alias.name != "*":
            name = alias.asname or (alias.name.partition(".")[0] if isinstance(node, ast.Import) else alias.name)
            _bind(facts, name, "import", node, end(node))


def _define(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    _bind(facts, node.name, "define", node, (node.lineno, node.col_offset))


def _declared(facts: Facts, node: ast.AST) -> None:
    assert isinstance(node, ast.Global | ast.Nonlocal)
    facts.outer.update(node.names)


_BINDERS = {
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.NamedExpr: _named,
    ast.For: _loop,
    ast.AsyncFor: _loop,
    ast.comprehension: _comprehension,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.ExceptHandler: _handler,
    ast.Import: _imports,
    ast.ImportFrom: _imports,
    ast.FunctionDef: _define,
    ast.AsyncFunctionDef: _define,
    ast.ClassDef: _define,
    ast.Global: _declared,
    ast.Nonlocal: _declared,
}
