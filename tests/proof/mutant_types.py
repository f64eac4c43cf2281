"""Asks the type checker about mutants that no test has noticed: `dev.py test` runs it too, so a commit would not pass.

A mutant is written as a programmer would, in the text of its module, so that nothing is noticed that comes of how a
mutant is made.
"""

from __future__ import annotations

import ast
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.proof.mutants import ROOT, Mutant, change, place_of

LATER = 2_000_000_000
"""When mutants are said to be written, in seconds since 1970: each at another time, so that mypy looks at it."""


class Types:
    """A copy of the sources, in which one module at a time is changed and checked.

    Args:
        folder: where it is; must not exist yet.

    Raises:
        RuntimeError: there are errors without a mutant.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times = itertools.count(LATER)
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(ROOT / "pyproject.toml", folder)
        if (cache := ROOT / ".mypy_cache").is_dir():
            shutil.copytree(cache, folder / ".mypy_cache")
        if error := self._error():
            raise RuntimeError(f"mypy is not content without a mutant: {error}")

    def notices(self, mutant: Mutant, *, unchanged: bool = False) -> str:
        """The first error of a mutant; "" if there is none.

        Args:
            mutant: what is changed.
            unchanged: write the same place anew, and do not change it.
        """
        error = self._error_of(mutant, unchanged=unchanged)
        # To write a place anew may take comments away that mypy reads: what is an error then too says nothing.
        return error if unchanged or not (error and self._error_of(mutant, unchanged=True)) else ""

    def _error_of(self, mutant: Mutant, *, unchanged: bool) -> str:
        path = self._folder / "src" / mutant.path
        text, before = path.read_text(encoding="utf-8"), path.stat()
        try:
            path.write_text(written(text, mutant.place, unchanged=unchanged), encoding="utf-8")
            moment = next(self._times)
            os.utime(path, (moment, moment))
            return self._error()
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _error(self) -> str:
        command = [sys.executable, "-m", "mypy", "--no-error-summary"]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"mypy: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout.partition("\n")[0] if done.returncode else ""


def written(text: str, place: int, *, unchanged: bool = False) -> str:
    """The text of a module with one place changed.

    Args:
        text: of the module.
        place: a mutant's.
        unchanged: write the place anew, and do not change it.
    """
    tree = ast.parse(text)
    node = place_of(tree, place)
    outer: ast.expr | None = None  # positions inside of an f-string are not those in the file
    for each in ast.walk(tree):
        if outer is None and isinstance(each, ast.JoinedStr) and any(node is part for part in ast.walk(each)):
            outer = each
    part = outer or _part(node)
    begin, end = _at(text, part.lineno, part.col_offset), _at(text, part.end_lineno or 0, part.end_col_offset or 0)
    if not unchanged:
        change(node)
        if isinstance(node, ast.Return | ast.Expr):
            node.value = ast.Constant(None)
    now = outer or _part(node)
    if isinstance(now, ast.UnaryOp) and isinstance(now.op, ast.UAdd):
        now = now.operand  # of a `not` that is left out
    new = ast.unparse(ast.fix_missing_locations(now))
    data = text.encode()
    return b"".join(
        (data[:begin], (new if isinstance(now, ast.Constant) else f"({new})").encode(), data[end:])
    ).decode()


def _part(node: ast.AST) -> ast.expr:
    """What is written anew of a node that is changed."""
    part: object = node
    match node:
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            part = test
        case ast.Return(value=value) | ast.Expr(value=value):
            part = value
    assert isinstance(part, ast.expr)
    return part


def _at(text: str, line: int, column: int) -> int:
    """How many bytes of a text lie before a place in it."""
    lines = text.encode().splitlines(keepends=True)
    return sum(map(len, lines[: line - 1])) + column
