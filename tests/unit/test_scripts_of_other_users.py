"""A state file names the script of a run; what it names is executed, so another user's is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.config.script_loader import load_script
from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.errors import NotFound, UsageError
from perdure.operations.location import Location
from perdure.operations.scripts import split_target, workflow_of

OTHER = 65534
SCRIPT = """
from pathlib import Path
from perdure import workflow

Path(__file__).with_name("executed").touch()

@workflow
def job() -> int:
    return 1
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PERDURE_SHARED", raising=False)
    path = tmp_path / "named_by_a_state_file.py"
    path.write_text(SCRIPT)
    return path


def run_of(script: Path) -> RunRecord:
    return RunRecord(
        1, "job-1", script.name, str(script), "job", b"", False, None, "failed", None, 0, b"", None, 0.0, 0.0, None, 0
    )


def beside(script: Path) -> Location:
    return Location(script.with_name("state.db"), "--state")


def owned_by_another(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives files to other users")
    os.chown(path, OTHER, OTHER)


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize("change", [owned_by_another, writable_by_all])
def test_a_script_that_another_user_can_write(change: object, script: Path) -> None:
    """It is named and refused before it is loaded; who names it in the command has it loaded."""
    change(script)  # type: ignore[operator]
    with pytest.raises(UsageError) as refused:
        workflow_of(run_of(script), beside(script))
    assert str(script) in refused.value.what
    assert "FILE" in refused.value.hint
    assert not script.with_name("executed").exists()
    assert spec_of(workflow_of(run_of(script), beside(script), script)).name == "job"
    assert script.with_name("executed").exists()


def test_a_script_of_our_own(script: Path) -> None:
    """It is loaded as ever."""
    assert spec_of(workflow_of(run_of(script), beside(script))).name == "job"


@pytest.mark.parametrize("project", [False, True])
def test_a_script_that_lies_elsewhere(project: bool, script: Path, tmp_path: Path) -> None:
    """It is refused unless it is named, before anything of it is executed; in the project of the state it is loaded."""
    there = Location(tmp_path / "kept" / "here" / ".perdure" / "state.db", "--state")
    if project:
        (tmp_path / "pyproject.toml").touch()
        there.path.parent.mkdir(parents=True)
        assert spec_of(workflow_of(run_of(script), there)).name == "job"
        return
    with pytest.raises(UsageError) as refused:
        workflow_of(run_of(script), there)
    assert "outside" in refused.value.what
    assert not script.with_name("executed").exists()
    assert spec_of(workflow_of(run_of(script), there, script)).name == "job"


def test_what_is_loaded_is_named_first(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Once, on standard error; not what the user has named."""
    run = run_of(script)
    workflow_of(run, beside(script), script)
    assert capfd.readouterr().err == ""
    workflow_of(run, beside(script))
    workflow_of(run, beside(script))
    assert capfd.readouterr().err == f"perdure: loads {script}, the script of run job-1\n"


def test_a_script_that_cannot_be_looked_for_is_named() -> None:
    """Whatever the system says of it: a folder without permission, a name that is too long."""
    path = "x" * 300 + ".py"
    assert split_target(f"{path}:nightly") == (Path(path), "nightly")
    with pytest.raises(NotFound, match="cannot be looked for: File name too long"):
        load_script(path)
