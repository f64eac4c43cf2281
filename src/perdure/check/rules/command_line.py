"""Variables of a module that come from the command line, in steps and workflows: inputs that no run knows of."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from perdure.check.project import Function, Module
from perdure.check.reach import Place
from perdure.check.rules.globals import is_global

_PARSING = frozenset({"parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args"})

_DEEPEST = 6
"""Variables and functions that one comes through."""


def command_line_in_global(place: Place) -> None:
    """A step or workflow that reads a variable made of `sys.argv`, of a parser's arguments or of `input()`."""
    seen: set[str] = set()
    for node in place.facts.of(ast.Name):
        if not isinstance(node.ctx, ast.Load) or node.id in seen or not is_global(place, node.id):
            continue
        seen.add(node.id)
        source = _source_of(node.id, place.module, place, 0)
        if source:
            text = f"{place.who} reads '{node.id}', which comes from {source} and is no input of the run"
            place.found("command-line-in-global", node, text)


def _source_of(name: str, module: Module, place: Place, depth: int) -> str:
    if depth > _DEEPEST:
        return ""
    for binding in module.facts.names.get(name, ()):
        node = binding.node
        if isinstance(node, ast.ImportFrom):
            there = place.names.imported_from(node, module)
            original = next((one.name for one in node.names if (one.asname or one.name) == name), "")
            if isinstance(there, Module) and there is not module:
                return _source_of(original, there, place, depth + 1)
        elif isinstance(node, ast.expr):
            found = _source_in(node, module, None, place, depth)
            if found:
                return found
    return ""


def _source_in(node: ast.expr, module: Module, function: Function | None, place: Place, depth: int) -> str:
    for one in _parts(node, module, function, place):
        if isinstance(one, ast.Call):
            if isinstance(one.func, ast.Attribute) and one.func.attr in _PARSING and not one.args:
                return f"{one.func.attr}()"
            value = place.names.value(one.func, module, function)
            if value == "builtins.input":
                return "input()"
            if isinstance(value, Function) and not value.kind and depth < _DEEPEST:
                for returned in value.facts.of(ast.Return):
                    inside = returned.value and _source_in(returned.value, value.module, value, place, depth + 1)
                    if inside:
                        return inside
        elif isinstance(one, ast.Attribute | ast.Name) and place.names.value(one, module, function) == "sys.argv":
            return "sys.argv"
        elif isinstance(one, ast.Name) and function is None and isinstance(one.ctx, ast.Load):
            found = _source_of(one.id, module, place, depth + 1)
            if found:
                return found
    return ""


def _parts(node: ast.AST, module: Module, function: Function | None, place: Place) -> Iterator[ast.AST]:
    """The node and what is in it; without `sys.argv[0]`, and without functions that are called later."""
    if isinstance(node, ast.Lambda):
        return
    match node:
        case ast.Subscript(value=base, slice=ast.Constant(value=0)) if (
            place.names.value(base, module, function) == "sys.argv"
        ):
            return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _parts(child, module, function, place)
