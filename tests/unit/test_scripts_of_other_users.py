"""A state file names the script of a run; what it names is executed, so another user's is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.core.execution.spec import spec_of
from perdure.core.records import RunRecord
from perdure.errors import UsageError
from perdure.operations.scripts import workflow_of

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
        workflow_of(run_of(script))
    assert str(script) in refused.value.what
    assert "FILE" in refused.value.hint
    assert not script.with_name("executed").exists()
    assert spec_of(workflow_of(run_of(script), script)).name == "job"
    assert script.with_name("executed").exists()


def test_a_script_of_our_own(script: Path) -> None:
    """It is loaded as ever."""
    assert spec_of(workflow_of(run_of(script))).name == "job"
