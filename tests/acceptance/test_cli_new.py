"""`perdure new`: a skeleton that runs as it is, passes the checkers, goes on after a kill, and overwrites nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import warm

SOURCE = Path(__file__).parents[2] / "src"


def run(folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PERDURE_", "WORKFLOW_", "STEP_TIMEOUT", "ALERT_"))
    }
    return warm.run(
        [sys.executable, *command],
        cwd=folder,
        env={**clean, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


def new(folder: Path, name: str = "my_workflow.py") -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "perdure", "new", name)


def test_it_runs_as_it_is(tmp_path: Path) -> None:
    """As a script, twice, and by the command; the file's name is the workflow's."""
    assert new(tmp_path).returncode == 0
    for command in (["my_workflow.py"], ["my_workflow.py"], ["-m", "perdure", "run", "my_workflow.py"]):
        done = run(tmp_path, *command)
        assert done.returncode == 0, done.stderr
        assert "5 items done, 0 dead letters" in done.stdout
    listed = run(tmp_path, "-m", "perdure", "ps", "--file", "my_workflow.py").stdout
    assert listed.count("my_workflow") >= 3


def test_it_goes_on_after_a_failure(tmp_path: Path) -> None:
    """What was done before is not done again."""
    new(tmp_path)
    script = tmp_path / "my_workflow.py"
    text = script.read_text()
    broken = text.replace("    items = fetch_items(day)\n", "    items = fetch_items(day)\n    raise SystemExit(7)\n")
    counted = broken.replace('    return [Item(f"{day}', '    print("fetched")\n    return [Item(f"{day}')
    assert len({text, broken, counted}) == 3
    script.write_text(counted)
    assert run(tmp_path, "my_workflow.py").returncode == 7
    script.write_text(counted.replace("    raise SystemExit(7)\n", ""))
    again = run(tmp_path, "my_workflow.py")
    assert again.stdout == "5 items done, 0 dead letters\n", again.stderr


def test_ruff_has_nothing_to_say(tmp_path: Path) -> None:
    """The linter and the formatter, with their own defaults and with perdure's. `dev.py` looks at the types."""
    new(tmp_path)
    new(tmp_path, "import_the_orders_of_a_rather_long_day.py")
    files = ["my_workflow.py", "import_the_orders_of_a_rather_long_day.py"]
    pyproject = SOURCE.parent / "pyproject.toml"
    checks = [
        ["check", "--isolated", *files],
        ["check", "--config", str(pyproject), *files],
        ["format", "--isolated", "--check", files[0]],
        ["format", "--config", str(pyproject), "--check", *files],
    ]
    for check in checks:
        done = run(tmp_path, "-m", "ruff", *check)
        assert done.returncode == 0, f"{check}\n{done.stdout}{done.stderr}"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Not a file, not a folder, not a link that leads nowhere."""
    (tmp_path / "mine.py").write_text("mine")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "link.py").symlink_to("nowhere.py")
    for name in ("mine.py", "folder.py", "link.py"):
        done = new(tmp_path, name)
        assert done.returncode == 2
        assert "exists already; nothing was written" in done.stderr
    assert (tmp_path / "mine.py").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.py", "link.py", "mine.py"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("my-workflow.py", "perdure new my_workflow.py"),
        ("My Flow", "perdure new my_flow.py"),
        ("2nd.py", "perdure new workflow_2nd.py"),
        ("class.py", "perdure new workflow_class.py"),
        (".py", "perdure new my_workflow.py"),
        ("notes.txt", "perdure new notes_txt.py"),
        ("json.py", "perdure new json_workflow.py"),
        ("__init__.py", "perdure new init.py"),
        ("perdure.py", "perdure new perdure_workflow.py"),
        ("absent/flow.py", "mkdir -p absent"),
    ],
)
def test_names_that_would_not_do_are_refused(tmp_path: Path, name: str, says: str) -> None:
    """What cannot be imported, what would be imported in place of something else, and a folder that is not there."""
    done = new(tmp_path, name)
    assert done.returncode == 2
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["step.py", "process_item.py", "Item.py", "print.py"])
def test_a_name_that_the_template_uses_itself(tmp_path: Path, name: str) -> None:
    """The workflow gets another, and the script runs."""
    assert new(tmp_path, name).returncode == 0
    done = run(tmp_path, name)
    assert "5 items done" in done.stdout, done.stderr


def test_the_template_gives_only_the_names_that_are_looked_out_for() -> None:
    """A workflow named like something else in the file would take its place."""
    from perdure import skill
    from perdure.operations.new import TAKEN

    text = skill.files()["assets/template.py"].decode()
    given = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    given |= {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert given - {"my_workflow"} == TAKEN
