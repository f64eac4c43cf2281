"""`perdure resume --all`: yesterday's unfinished runs are found and gone on with, whatever becomes of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_flow import perdure, python

FLOW = """
import os, sys
from perdure import step, workflow

def note(text: str) -> None:
    with open("ledger", "a") as ledger:
        ledger.write(text + "\\n")

@step
def first(day: str) -> str:
    note(f"first {day}")
    return day

@step(retry=None)
def second(day: str) -> str:
    if not os.path.exists("repaired"):
        raise RuntimeError("the bank said no")
    note(f"second {day}")
    return day

@workflow
def nightly(day: str) -> str:
    first(day)
    if day == "tuesday" and os.path.exists("repaired"):
        sys.exit(7)
    if day == "wednesday" and os.path.exists("repaired"):
        os.kill(os.getpid(), 9)
    return second(day)

@workflow
def weekly(day: str) -> str:
    return second(first(day))
"""


RUNS = """
from perdure.cli import main

for day in ("monday", "tuesday", "wednesday", "thursday"):
    assert main(["run", "--id", day, "flow.py:nightly", day]) == 1
assert main(["run", "--id", "week", "flow.py:weekly", "40"]) == 1
"""


def yesterday(folder: Path) -> Path:
    """Leave runs there that have failed."""
    (folder / "flow.py").write_text(FLOW)
    made = python(folder, "-c", RUNS)
    assert made.returncode == 0, made.stderr
    (folder / "ledger").unlink()
    (folder / "repaired").touch()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Runs that have failed."""
    return yesterday(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, for commands that are to change nothing."""
    return yesterday(tmp_path_factory.mktemp("untouched"))


def ledger(folder: Path) -> list[str]:
    path = folder / "ledger"
    return path.read_text().splitlines() if path.exists() else []


def test_each_goes_on_whatever_becomes_of_the_others(folder: Path) -> None:
    """One exits, one is killed; the others are done, the oldest first, and no completed step is executed again."""
    done = perdure(folder, "resume", "--all", "--json")
    assert done.returncode == 1, done.stderr
    assert ledger(folder) == ["second monday", "second thursday", "second 40"]
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["run"], each["result"]) for each in ends if each["status"] == "done"] == [
        ("monday", "monday"), ("thursday", "thursday"), ("week", "40"),
    ]  # fmt: skip
    assert "5 runs: 3 done, 2 interrupted" in done.stderr.splitlines()[-1]
    listed = {run["id"]: run["status"] for run in json.loads(perdure(folder, "ps", "--json").stdout)["runs"]}
    assert listed["tuesday"] == listed["wednesday"] == "interrupted"
    assert perdure(folder, "resume", "--all", "--status", "failed").stderr == "no unfinished run is to be resumed\n"


def test_only_some_are_chosen(folder: Path) -> None:
    """By workflow, by script, by how long they have not moved."""
    assert perdure(folder, "resume", "--all", "--older", "1h").stderr == "no unfinished run is to be resumed\n"
    (folder / "other.py").write_text(FLOW)
    assert perdure(folder, "resume", "--all", "other.py").stderr == "no unfinished run is to be resumed\n"
    assert ledger(folder) == []
    done = perdure(folder, "resume", "--all", "flow.py", "--workflow", "weekly", "--older", "0s")
    assert (done.returncode, done.stdout, ledger(folder)) == (0, "'40'\n", ["second 40"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "no run is named"),
        (["monday", "--older", "1h"], "add --all"),
        (["--all", "gone.py"], "there is no script gone.py"),
        (["--all", "--older", "soon"], "--older"),
        (["--all", "flow.py", "flow.py"], "--all takes one script"),
    ],
)
def test_a_wrong_command_resumes_nothing(untouched: Path, args: list[str], said: str) -> None:
    """Exit code 2, and what to do."""
    wrong = perdure(untouched, "resume", *args)
    assert (wrong.returncode, ledger(untouched)) == (2, [])
    assert said in wrong.stderr
