"""The syntax trees of source files, parsed once for all tests that look at them."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

MARKS = (ast.expr_context, ast.boolop, ast.operator, ast.unaryop, ast.cmpop)
"""Kinds of nodes that are one object each for all files, and say nothing by themselves: two fifths of all nodes."""


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the file, as `ast.walk` has them, without marks. Tests share them, so they must not be changed."""
    found: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    for node in found:  # which grows
        for name in node._fields:
            below = getattr(node, name, None)
            near = below if isinstance(below, list) else (below,)
            found += [each for each in near if isinstance(each, ast.AST) and not isinstance(each, MARKS)]
    gc.freeze()  # they stay to the end: no collection needs to look through them again and again
    return tuple(found)


def module(path: Path) -> ast.Module:
    """The tree of the file."""
    tree = nodes(path)[0]
    assert isinstance(tree, ast.Module)
    return tree
