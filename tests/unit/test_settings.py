"""Settings: the most specific wins, and what is wrong is refused with the place where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure import step
from perdure.config import settings
from perdure.errors import OptionError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH", "STEP_TIMEOUT_MS", "PERDURE_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    settings.forget_files()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.touch()
    return path


def test_perdure_state_wins_over_the_name_of_the_source_pattern(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERDURE_STATE, then WORKFLOW_STATE_PATH, then pyproject.toml, then the folder of the script."""
    assert settings.state_path(str(script)) == script.parent / ".perdure" / "state.db"
    (script.parent / "pyproject.toml").write_text('[tool.perdure]\nstate = "kept/here.db"\n')
    settings.forget_files()
    assert settings.state_path(str(script)) == script.parent / "kept" / "here.db"
    monkeypatch.setenv("WORKFLOW_STATE_PATH", "/a/b.db")
    assert settings.state_path(str(script)) == Path("/a/b.db")
    monkeypatch.setenv("PERDURE_STATE", "/c/d.db")
    assert settings.state_path(str(script)) == Path("/c/d.db")


def test_the_default_timeout_of_steps(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 minutes as a net; what the environment or pyproject.toml says counts as asked for."""
    assert settings.step_timeout(str(script)) == (600.0, False)
    (script.parent / "pyproject.toml").write_text('[tool.perdure]\nstep_timeout = "30s"\n')
    settings.forget_files()
    assert settings.step_timeout(str(script)) == (30.0, True)
    monkeypatch.setenv("STEP_TIMEOUT_MS", "1500")
    assert settings.step_timeout(str(script)) == (1.5, True)


@pytest.mark.parametrize("value", ["soon", "0", "-5", "nan"])
def test_a_wrong_timeout_in_the_environment_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and shows a right value."""
    monkeypatch.setenv("STEP_TIMEOUT_MS", value)
    with pytest.raises(OptionError, match=r"STEP_TIMEOUT_MS[\s\S]*STEP_TIMEOUT_MS=20000"):
        step(len, name="len")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.perdure]\nstat = 'x'\n", "unknown setting 'stat'"),
        ("[tool.perdure\n", "is not valid TOML"),
        (f"[tool.perdure]\nstate = {'[' * 3000}", "is not valid TOML: it is nested too deeply"),
        ("tool.perdure = 5\n", "is 5, and a table is needed"),
        ("[tool.perdure]\nstep_timeout = 'soon'\n", "step_timeout in pyproject.toml"),
    ],
)
def test_a_wrong_pyproject_is_refused(script: Path, text: str, said: str) -> None:
    """The error names the file or the setting; nothing is guessed."""
    (script.parent / "pyproject.toml").write_text(text)
    with pytest.raises(OptionError, match=said):
        settings.step_timeout(str(script))
