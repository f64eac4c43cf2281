"""`# perdure: repeatable REASON`: where a script accepts that an effect happens once more after a crash."""

from __future__ import annotations

import ast
import re

_COMMENT = re.compile(r"#\s*perdure:\s*repeatable\s+\S")


def accepts_repetition(text: str, line: int) -> bool:
    """Does such a comment stand at that line of a source, above it, or at the head of its function?"""
    if "repeatable" not in text:
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    lines, looked_at = text.splitlines(), {line, line - 1}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            looked_at |= set(range(first - 1, node.body[0].lineno))
    return any(0 < each <= len(lines) and _COMMENT.search(lines[each - 1]) for each in looked_at)
