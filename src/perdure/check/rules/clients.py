"""Where a client was made: its options say whether it has a timeout, and whether it tries again."""

from __future__ import annotations

import ast

from perdure.check.names import Instance
from perdure.check.project import Function
from perdure.check.reach import Place
from perdure.check.rules.shapes import keyword


def constructor(place: Place, node: ast.AST) -> ast.Call | None:
    """The call that made the client which a chain of attributes begins with."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Await):
        if isinstance(node, ast.Call):
            if keyword(node, "max_retries") is not None or place.text(node).count("()") == 1:
                return node
            node = node.func
            continue
        inner = node.value
        if isinstance(node, ast.Attribute) and isinstance(inner, ast.Name):
            made = _attribute(place, inner, node.attr)
            if made is not None:
                return made
        node = inner
    if not isinstance(node, ast.Name):
        return None
    scopes = [place.facts, place.module.facts]
    if place.function.parent is not None:
        scopes.insert(1, place.function.parent.facts)
    for facts in scopes:
        for binding in reversed(facts.names.get(node.id, ())):
            made = binding.node if isinstance(binding.node, ast.Call) else None
            if binding.how in ("value", "enter") and made is not None:
                return _followed(place, made)
    return None


def _followed(place: Place, made: ast.Call) -> ast.Call:
    """Through a helper that returns a client."""
    called = place.value(made.func)
    if isinstance(called, Function):
        for node in called.facts.of(ast.Return):
            if isinstance(node.value, ast.Call):
                return node.value
    return made


def _attribute(place: Place, base: ast.Name, name: str) -> ast.Call | None:
    value = place.value(base)
    if isinstance(value, Instance):
        for given, _ in value.cls.attributes.get(name, ()):
            if isinstance(given, ast.Call):
                return given
    return None
