"""Questions that several rules ask of a syntax tree."""

from __future__ import annotations

import ast
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from perdure.check.project import Function, Module
from perdure.check.reach import Place
from perdure.check.scan import FUNCTIONS, end, start

BROAD = frozenset({"builtins.Exception", "builtins.BaseException"})


def used_as(place: Place, node: ast.expr) -> tuple[ast.AST, ast.AST | None]:
    """An expression with the `await` and the parentheses around it, and what it stands in."""
    parent = place.facts.parents.get(node)
    while isinstance(parent, ast.Await | ast.Starred):
        node, parent = parent, place.facts.parents.get(parent)
    return node, parent


def assigned_name(node: ast.AST, parent: ast.AST | None) -> str:
    """The name that gets a value; "" if it gets no name."""
    target: ast.AST | None = None
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1:
        target = parent.targets[0]
    elif isinstance(parent, ast.AnnAssign | ast.NamedExpr):
        target = parent.target
    elif isinstance(parent, ast.withitem) and parent.context_expr is node:
        target = parent.optional_vars
    return target.id if isinstance(target, ast.Name) else ""


def loads(place: Place, name: str, behind: ast.AST) -> list[ast.Name]:
    """Where a name is read with the value that it gets at a place: until it gets another one."""
    places, reads = place.facts.bound(name), place.facts.reads.get(name, [])
    first = end(behind)
    following = bisect_right(places, first)
    last = places[following] if following < len(places) else (1 << 30, 0)
    return reads[bisect_left(reads, first, key=start) : bisect_left(reads, last, key=start)]


def broad(place: Place, handler: ast.ExceptHandler) -> bool:
    """Whether it catches any error."""
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(place.text(kind) in BROAD for kind in kinds)


def catches_stop(place: Place, handler: ast.ExceptHandler) -> bool:
    """Whether it catches what is no Exception too."""
    return handler.type is None or place.text(handler.type) == "builtins.BaseException"


def inside(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes of statements, but for functions and classes that they define."""
    rest: list[ast.AST] = list(body)
    while rest:
        node = rest.pop()
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            rest += ast.iter_child_nodes(node)


def keyword(node: ast.Call, *names: str) -> ast.expr | None:
    """The value of the first of these keywords that a call has."""
    return next((one.value for one in node.keywords if one.arg in names), None)


def spread(node: ast.Call) -> bool:
    """Whether a call has arguments that the source does not show: *args, **options."""
    return any(one.arg is None for one in node.keywords) or any(isinstance(arg, ast.Starred) for arg in node.args)


def is_none(node: ast.AST | None) -> bool:
    """Whether an expression is None, written out."""
    return isinstance(node, ast.Constant) and node.value is None


def constant_text(place: Place, node: ast.AST | None, depth: int = 0) -> str:
    """The text that an expression is, or begins with; followed through names."""
    if node is None or depth > 4:
        return ""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(constant_text(place, part, depth + 1) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return constant_text(place, node.value, depth + 1) or "{}"
    if isinstance(node, ast.BinOp):
        return constant_text(place, node.left, depth + 1) + constant_text(place, node.right, depth + 1)
    if isinstance(node, ast.Call) and (node.args or isinstance(node.func, ast.Attribute)):
        inner = (
            node.func.value
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant)
            else None
        )
        return constant_text(place, inner or (node.args[0] if node.args else None), depth + 1)
    if isinstance(node, ast.Name):
        for facts in (place.facts, place.module.facts):
            for binding in facts.names.get(node.id, ()):
                if binding.how == "value":
                    found = constant_text(place, binding.node, depth + 1)
                    if found:
                        return found
    return ""


def source(module: Module, node: ast.AST | None) -> str:
    """The lines of a node."""
    if node is None:
        return ""
    first, last = getattr(node, "lineno", 1), getattr(node, "end_lineno", 1)
    decorators = getattr(node, "decorator_list", ())
    first = min([first, *(one.lineno for one in decorators)])
    return "\n".join(module.lines[first - 1 : last])


def root(node: ast.AST) -> ast.AST:
    """What a chain of attributes, calls and items begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Await):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node


def bound(owner: Function, option: str) -> bool:
    """Whether a step or workflow sets an option to something but None, or may do so unseen."""
    value = owner.options.get(option)
    return owner.opaque if value is None else not is_none(value)


def retries(owner: Function) -> bool:
    """Whether a step is tried again."""
    return not is_none(owner.options.get("retry"))


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern is found, whatever the case."""
    return re.search(pattern, text, re.IGNORECASE) is not None
