"""`perdure run`: arguments from the signature, its own help, and results on standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from run_flow import SOURCE, perdure, with_flow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_flow(tmp_path)


def test_arguments_are_typed_by_the_signature(folder: Path) -> None:
    """Each parameter gets a value of its annotated type; a parameter of the workflow goes before an option of perdure's
    with the same name, which is still there before the file's name."""
    done = perdure(
        folder, "run", "--id", "named", "flow.py:typed", "2026-11-23", "3.10", "a.txt", "b.txt", "--colour", "blue",
        "--dry", "--mode", "fast", "--customer.name", "Ada", "--at", '{"x": 3}', "--id", "7",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert eval(done.stdout) == (
        "(datetime.date(2026, 11, 23), Decimal('3.10'), [PosixPath('a.txt'), PosixPath('b.txt')], "
        "<Colour.BLUE: 'blue'>, True, 'fast', Customer(name='Ada', age=30), Point(x=3), 7)"
    )
    listed = json.loads(perdure(folder, "ps", "--json").stdout)["runs"]
    assert [run["id"] for run in listed] == ["named"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["flow.py:typed", "yesterday", "1", "a"], "unable to convert"),
        (["flow.py:fragile"], "DAY is missing"),
        (["flow.py:fragile", "monday", "--nope"], "--nope"),
        (["flow.py"], "perdure run flow.py:fragile    Two steps"),
        (["flow.py:fragil", "x"], "did you mean 'fragile'?"),
        (["gone.py"], "gone.py"),
        (["--nope", "flow.py"], "--nope"),
        ([], "no script is named"),
    ],
)
def test_a_wrong_command_runs_nothing_and_says_what_is_wrong(folder: Path, args: list[str], said: str) -> None:
    """Exit code 2, no traceback, no state file."""
    wrong = perdure(folder, "run", *args)
    assert wrong.returncode == 2
    assert said in wrong.stderr + wrong.stdout
    assert "Traceback" not in wrong.stderr
    assert not (folder / ".perdure").exists()


def test_help_shows_the_workflows_own_page(folder: Path) -> None:
    """Docstring, parameters with their descriptions and choices, and perdure's options; nothing runs."""
    shown = perdure(folder, "run", "flow.py:typed", "--help")
    assert shown.returncode == 0
    for text in ("Take everything.", "the day to be charged.", "--colour", "red, blue", "--json", "--state"):
        assert text in shown.stdout
    assert not (folder / ".perdure").exists()


def test_dead_letters_are_an_exit_code_of_their_own(folder: Path) -> None:
    """3, also when the result is asked for again; with --json standard output is one line, whatever is printed."""
    done = perdure(folder, "run", "flow.py:batch", "--id", "b", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["dead_letters"] == 1
    assert "looking at 3" in done.stderr
    assert "1 dead letter, see: perdure dlq ls --run b" in done.stderr
    again = perdure(folder, "run", "flow.py:batch", "--id", "b")
    assert (again.returncode, again.stdout) == (3, "3\n")
    assert "done before" in again.stderr


def test_importing_perdure_does_not_import_the_command_line() -> None:
    """Scripts that run by themselves do not pay for Cyclopts and Rich."""
    code = "import sys, perdure; print({'cyclopts', 'rich', 'perdure.cli', 'perdure.operations'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_no_result_prints_nothing(tmp_path: Path) -> None:
    """A workflow that returns None says nothing on standard output; with --json it says null."""
    script = """
    from perdure import workflow

    @workflow
    def nothing(*words: str) -> None:
        pass
    """
    (tmp_path / "nothing.py").write_text(textwrap.dedent(script))
    assert perdure(tmp_path, "run", "nothing.py", "a", "b").stdout == ""
    assert json.loads(perdure(tmp_path, "run", "nothing.py", "--json").stdout)["result"] is None
