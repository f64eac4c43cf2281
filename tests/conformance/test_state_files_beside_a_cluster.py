"""What commands say where a cluster is set: of runs that it has not, and of state files, which it has not either."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.conftest import Server

from perdure.cli import main

NOWHERE = "temporal://127.0.0.1:1/default"


class Typed:
    """Commands in a folder of the test's own, with a cluster set."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, command: str) -> tuple[int, str]:
        """The exit code, and all that was said."""
        try:
            code = main(command.split())
        except SystemExit as end:
            code = int(end.code or 0)
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A terminal in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH"):
        monkeypatch.delenv(name, raising=False)
    return Typed(capsys)


def test_commands_of_state_files(typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They name the cluster whose runs are not in a state file, also beside one; `doctor` says that it is away."""
    monkeypatch.setenv("PERDURE_ENGINE", NOWHERE)
    for command in ("workers", "prune --older 1d", "ui --no-open"):
        code, said = typed(command)
        assert (code, "there is no state file" in said, f"cluster, {NOWHERE}, whose runs" in said) == (2, True, True)
    state = tmp_path / "other.db"
    assert NOWHERE not in typed(f"workers --state {state}")[1]
    code, said = typed("doctor")
    assert code == 1
    assert f"wrong    engine       {NOWHERE}: [engine] no Temporal cluster answers at 127.0.0.1:1" in said


def test_runs_that_it_has_not(server: Server, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown run is looked for at the address of the cluster; `doctor` says that it answers."""
    monkeypatch.setenv("PERDURE_ENGINE", server.url())
    place = f"127.0.0.1:{server.port}"
    for command in ("show zz", "why zz", "cancel zz", "resume zz", "signal zz e", "dlq ls --run zz"):
        code, said = typed(command)
        assert code != 0
        assert f"there is no run 'zz' on {place}" in said
    code, said = typed("doctor")
    assert (code, f"{server.url()} answers" in said) == (0, True)
