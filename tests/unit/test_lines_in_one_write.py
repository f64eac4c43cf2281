"""Lines of perdure's on standard error that run into those of other threads and processes."""

from __future__ import annotations

import ast
import io
import sys
from pathlib import Path

import pytest

from perdure.config.stderr_line import say
from syntax import nodes

SOURCE = Path(__file__).parents[2] / "src" / "perdure"
OF_COMMANDS = {"cli", "demo", "crashtest"}
"""What prints to the terminal of one person, from one thread."""


def test_a_line_and_its_end_are_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that gets its turn between two writes would put its line into the middle of another."""
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Stream())
    say("perdure: run r failed")
    assert written == ["perdure: run r failed\n"]
    monkeypatch.setattr(sys, "stderr", None)
    say("nowhere")


def test_nothing_else_prints_to_standard_error() -> None:
    """`print` writes the text and its end apart: what runs and workers say goes through `say`."""
    found = []
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in OF_COMMANDS:
            continue
        for node in nodes(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                where = [ast.unparse(each.value) for each in node.keywords if each.arg == "file"]
                found += [f"{path}:{node.lineno}"] * (where == ["sys.stderr"])
    assert found == []
