"""Whether a script may define a workflow of a name, found in its source alone: nothing of it is loaded."""

from __future__ import annotations

import ast
import os
from functools import lru_cache


def may_define(path: str, name: str) -> bool:
    """May the script still have a workflow of that name? Only if it surely has none, the answer is no.

    It may by a function of that name, wherever it stands (a method is called by its class and itself), by the name as a
    text, by `workflow(function)` of a function from elsewhere, and by a name that is made when it runs.

    Args:
        path: of the script; one that cannot be read, or is no Python, may have anything.
        name: of the workflow.
    """
    try:
        return _may_define(path, os.stat(path).st_mtime_ns, name)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return True


@lru_cache(64)
def _may_define(path: str, changed: int, name: str) -> bool:
    with open(path, "rb") as file:
        tree = ast.parse(file.read())
    short = name.rpartition(".")[2]
    return any(_defines(node, name, short) for node in ast.walk(tree))


def _defines(node: ast.AST, name: str, short: str) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name == short
        case ast.Constant():
            return bool(node.value == name)
        case ast.keyword(arg="name"):
            return not isinstance(node.value, ast.Constant)
        case ast.Call():
            return _last(node.func) == "workflow" and any(_last(one) == short for one in node.args)
    return False


def _last(node: ast.AST) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Lambda():
            return "<lambda>"
    return ""
