"""What an earlier version of perdure has left goes on under this one: resumed, listed, shown, re-driven."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import warm
from conftest import SOURCE, _clean
from looking import looked, only_looks

FILES = Path(__file__).parents[1] / "state_files"
VERSIONS = [path.stem for path in sorted(FILES.glob("version-*.db"), key=lambda path: int(path.stem[8:]))]


class Left:
    """A folder with an older state file, and the script that it is of."""

    def __init__(self, folder: Path, version: str) -> None:
        self.script = Path(shutil.copy(FILES / "orders.py", folder))
        self.state = Path(shutil.copy(FILES / f"{version}.db", folder / "state.db"))
        self.ledger = folder / "ledger"
        self.ledger.touch()

    def run(self, *command: str, expected: int = 0, **env: str) -> str:
        """What a program says on its standard output; all that the steps had done before is forgotten."""
        self.ledger.write_bytes(b"")
        ours = {"PYTHONPATH": str(SOURCE), "PERDURE_STATE": str(self.state), "LEDGER": str(self.ledger)}
        done = warm.run(
            [sys.executable, *command],
            env={**_clean(), **ours, **env},
            cwd=self.script.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        return done.stdout

    def perdure(self, *command: str, expected: int = 0, **env: str) -> str:
        if not only_looks(command):
            return self.run("-m", "perdure", *command, expected=expected, **env)
        done = looked(self.script.parent, *command, PERDURE_STATE=str(self.state), **env)
        assert done.returncode == expected, done.stderr
        return done.stdout

    def steps(self) -> list[str]:
        """What the steps did since the program was started."""
        return self.ledger.read_text().splitlines()


@pytest.fixture(params=VERSIONS)
def left(tmp_path: Path, request: pytest.FixtureRequest) -> Left:
    return Left(tmp_path, request.param)


def test_there_is_a_file_of_every_earlier_version() -> None:
    """Whoever raises the version keeps a file of the one before."""
    from perdure.store.database import SCHEMA_VERSION

    assert [f"version-{number}" for number in range(1, SCHEMA_VERSION)] == VERSIONS


def test_the_killed_run_goes_on(left: Left) -> None:
    """What was completed is not done again, whatever it is called; what was deferred is done at the end."""
    left.run(str(left.script), "killed")
    assert left.steps() == ["pack monday", "charge invoice monday", "close killed monday"]
    left.run(str(left.script), "killed")
    assert "pack monday" in left.steps(), "the next call of the same inputs is a new run"


def test_the_killed_run_is_undone_if_it_fails_now(left: Left) -> None:
    """What can be taken back says the older file."""
    left.script.write_text(
        left.script.read_text().replace('    note(f"pack', '    raise KeyError("x")\n    note(f"pack')
    )
    left.run(str(left.script), "killed", expected=1)
    assert left.steps() == ["refund receipt killed monday"], "what was deferred waits for the final end"


def test_the_failed_run_goes_on(left: Left) -> None:
    """What was undone is made again; what came after that is not held against the script."""
    left.perdure("resume", "failed", expected=1, MENDED="1")
    assert left.steps() == ["charge monday", "refund receipt monday", "refund receipt monday stuck"]


def test_everything_is_listed_and_shown(left: Left) -> None:
    """Every run with its steps, without the notes of what is to be cleaned up; and doctor finds nothing wrong."""
    runs = json.loads(left.perdure("ps", "--json"))["runs"]
    assert sorted((run["workflow"], run["status"]) for run in runs) == [
        ("failed", "failed"),
        ("finished", "done"),
        ("killed", "interrupted"),
        ("letters", "dead"),
    ]
    (failed,) = [run["id"] for run in runs if run["workflow"] == "failed"]
    shown = json.loads(left.perdure("show", failed, "--json"))
    assert [(step["name"], step["status"]) for step in shown["steps"]] == [
        ("charge", "done"),
        ("undo:note", "done"),
        ("undo:refund", "dead"),
        ("undo:refund", "done"),
    ]
    for run in runs:
        left.perdure("show", run["id"])
        left.perdure("why", run["id"])
    assert left.perdure("doctor").endswith("nothing is wrong\n")


def test_letters_are_listed_and_redriven(left: Left) -> None:
    """Of a step and of a clean-up; the one that was resolved stays so."""

    def letters(status: str) -> list[str]:
        found = json.loads(left.perdure("dlq", "ls", "--status", status, "--json"))["letters"]
        return sorted(f"{one['letter']} {one['step']}" for one in found)

    assert letters("parked") == ["1 undo:refund", "3 send", "4 send"]
    assert letters("resolved") == ["2 send"]
    left.perdure("dlq", "redrive", "1", "--script", str(left.script), MENDED="1")
    assert left.steps() == ["refund receipt monday stuck"]
    left.perdure("dlq", "redrive", "3", "4", "--script", str(left.script), MENDED="1")
    assert left.steps() == ["send 3", "send 5"]
    assert (letters("parked"), len(letters("resolved"))) == ([], 4)


def test_a_viewer_comes_first(left: Left) -> None:
    """It leaves the older file as it is, and what comes after it does not."""
    before = left.state.read_bytes()
    left.perdure("ps")
    left.perdure("dlq", "ls")
    assert left.state.read_bytes() == before
    left.run(str(left.script), "killed")
    assert left.state.read_bytes() != before
    assert not [each for each in os.listdir(left.state.parent) if "before-version" in each]
