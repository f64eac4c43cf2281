"""Commands for many runs, and for programs: what is meant is what is listed, and an error is data too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from listed_runs import Listed

from perdure.cli import main


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Listed]:
    made = Listed(tmp_path / "state.db")
    yield made
    made.store.close()


def test_a_dry_run_names_the_runs_that_would_be_cancelled(listed: Listed, capsys: pytest.CaptureFixture[str]) -> None:
    """By status, workflow and text; those that have ended are none of them, and all stand as before."""
    for id, status, workflow in (
        ("a", "failed", "sell"),
        ("b", "running", "sell"),
        ("c", "suspended", "sell"),
        ("d", "done", "sell"),
        ("e", "failed", "bill"),
        ("f", "parked", "sell"),
    ):
        listed.run(id, status, workflow)
    state = ("--state", str(listed.store.path))

    def meant(*options: str) -> list[str]:
        assert main(["cancel", "--all", "--dry-run", *options, *state]) == 0
        return [line.split()[0] for line in capsys.readouterr().err.splitlines() if "(" in line]

    assert meant() == ["a", "b", "e"]
    assert meant("--workflow", "bill") == ["e"]
    assert meant("--status", "suspended", "--status", "parked") == ["c", "f"]
    assert meant("--text", "nothing of that") == []
    assert main(["cancel", "a", "--dry-run", *state]) == 2
    assert "--all" in capsys.readouterr().err
    assert {listed.store.run(id).status for id in "aef"} == {"failed", "parked"}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["show", "nothing"], "not-found"), (["ps", "--stauts", "done"], "usage"), (["ps", "--watch"], "bad-option")],
)
def test_an_error_is_json_too(listed: Listed, capsys: pytest.CaptureFixture[str], words: list[str], code: str) -> None:
    """With --json: its code, what is wrong and what to do, on standard output; people still get it as text."""
    assert main([*words, "--json", "--state", str(listed.store.path)]) == 2
    told = capsys.readouterr()
    error = json.loads(told.out)["error"]
    assert set(error) == {"code", "what", "hint", "notes"}
    assert error["code"] == code
    assert error["what"] in told.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command and its options are in what a shell is given."""
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("prune", "resume", "older", "accept-changes"))
