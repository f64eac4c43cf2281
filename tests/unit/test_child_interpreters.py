"""One module builds the commands that start a Python: it is on its guard against the working directory."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from syntax import nodes

PACKAGE = Path(__file__).parents[2] / "src" / "perdure"
PLACE = PACKAGE / "config" / "interpreter.py"
PYTHONS = ("sys.executable", "self.python", "'python'", "'python3'")


def commands(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Every list or tuple in a file that begins with an interpreter, as its words."""
    for node in nodes(path):
        first = node.elts[0] if isinstance(node, ast.List | ast.Tuple) and node.elts else None
        if isinstance(first, ast.Attribute | ast.Constant) and ast.unparse(first) in PYTHONS:
            yield node.lineno, [ast.unparse(each) for each in node.elts]


def test_only_one_module_builds_commands_that_start_a_python() -> None:
    """Elsewhere such a command would have to say itself that it is on its guard, as the watchdog does."""
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if path != PLACE
        for line, words in commands(path)
        if not (path.match("watchdog/process.py") and "'-P'" in words)
    }
    assert found == set()
