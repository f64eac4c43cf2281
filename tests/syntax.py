"""The syntax trees of source files, parsed once for all tests that look at them."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the file. Tests share them, so they must not be changed."""
    found = tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    gc.freeze()  # they stay to the end: no collection needs to look through them again and again
    return found


def module(path: Path) -> ast.Module:
    """The tree of the file."""
    tree = nodes(path)[0]
    assert isinstance(tree, ast.Module)
    return tree
