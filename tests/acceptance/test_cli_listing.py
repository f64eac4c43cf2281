"""`perdure ps`, `show`, `resume` and `fork`: what happened can be seen, and gone on with, without opening the file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure.cli import main
from perdure.engines.local import engine

FLOW = """
from dataclasses import dataclass
from pathlib import Path
from perdure import Retry, step, workflow

HERE = Path(__file__).parent

@dataclass
class Order:
    id: str
    cents: int

def note(text):
    with (HERE / "ledger").open("a") as ledger:
        ledger.write(text + "\\n")

@step
def orders(day: str) -> list[Order]:
    note("orders")
    return [Order("a", 100), Order("b", -1)]

@step(retry=Retry(attempts=2, delay=0, jitter=0, on=ValueError))
def charge(order: Order) -> int:
    note(f"charge {order.id}")
    if order.cents < 0:
        raise ValueError(f"no money\\x1b[31m in {order.id}")
    return order.cents

@step(retry=Retry(attempts=2, delay=0, jitter=0))
def report(first: Order, total: int) -> str:
    note("report")
    if not (HERE / "mended").exists():
        raise ConnectionError("the printer is off")
    return f"{first.id} {total}"

@workflow
def part(day: str) -> int:
    return sum(charge.map(orders(day)).results)

@workflow
def nightly(first: Order) -> str:
    return report(first, part("monday"))

def nightly_of(cents):
    return nightly(Order("first", cents))
"""


class Shell:
    """A terminal in a folder with the script: runs commands in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.err = ""

    def __call__(self, *args: str) -> tuple[int, str]:
        code = main(args)
        out, self.err = self._capsys.readouterr()
        return code, out

    def json(self, *args: str) -> Any:
        code, out = self(*args, "--json")
        assert code in (0, 1, 3), self.err
        return json.loads(out)

    def ledger(self) -> list[str]:
        return (self.folder / "ledger").read_text().split("\n")[:-1]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    before, modules = dict(os.environ), set(sys.modules)
    for name in ("PERDURE_STATE", "WORKFLOW_STATE_PATH"):
        os.environ.pop(name, None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "flow.py").write_text(FLOW)
    yield Shell(tmp_path, capsys)
    engine.close_all()
    os.environ.clear()
    os.environ.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("flow"):
            del sys.modules[name]


@pytest.fixture
def failed(shell: Shell) -> str:
    """The id of a run that has failed at its last step, behind a child run with a dead letter."""
    assert shell("run", "flow.py:nightly", "--first.id", "x", "--first.cents", "5")[0] == 1
    # What other commands look at is written by then; they are processes of their own, which pin nothing.
    os.environ.pop("PERDURE_STATE")
    (run,) = shell.json("ps")["runs"]
    return str(run["id"])


def test_ps_says_how_every_run_stands(shell: Shell, failed: str) -> None:
    """One line a run, newest first, children only if asked for; the filters filter; JSON has stable names."""
    code, out = shell("ps")
    heading, line, error = out.splitlines()
    assert code == 0
    assert heading.split() == ["RUN", "WORKFLOW", "STATUS", "STEPS", "STARTED", "TOOK", "LAST", "STEP"]
    assert line.startswith(f"{failed}  nightly   failed, 1 dead letter")
    assert error == "    ConnectionError: the printer is off"
    child, parent = shell.json("ps", "--all")["runs"][0], shell.json("ps", "--all")["runs"][1]
    assert (parent["id"], child["child"], child["status"], child["workflow"]) == (failed, True, "dead", "part")
    assert set(parent) == {
        "id", "workflow", "status", "pid", "host", "steps", "dead_letters", "created", "started", "ended", "seconds",
        "forked_from", "superseded_by", "waits", "wake", "inputs", "error", "counted",
        "last_step", "script", "child",
    }  # fmt: skip
    for args, number in (
        (["--status", "failed"], 1),
        (["--status", "done"], 0),
        (["--status", "dead", "--all"], 1),
        (["--status", "interrupted"], 0),
        (["--workflow", "part"], 0),
        (["--workflow", "part", "--all"], 1),
        (["--limit", "0"], 1),
    ):
        assert len(shell.json("ps", *args)["runs"]) == number, args


def test_show_tells_the_whole_story_of_a_run(shell: Shell, failed: str) -> None:
    """Inputs, the error, each step with its inputs, result and attempts, what was tried and not completed, child runs;
    what a terminal would act on is escaped."""
    code, out = shell("show", "last")
    assert code == 0
    for text in (
        "workflow  nightly(Order(cents=5, id='x'))",
        "status    failed",
        "error     ConnectionError: the printer is off",
        "#1  part('monday')",
        "-> 100",
        "report(Order(cents=5, id='x'), 100)  not completed",
        "attempt 2 failed after",
        "child runs",
        "done, 1 dead letter",
    ):
        assert text in out
    assert "Traceback" not in out
    assert "Traceback" in shell("show", failed[:-2], "--verbose")[1]
    child = next(run["id"] for run in shell.json("ps", "--all")["runs"] if run["child"])
    _, out = shell("show", child, "--step", "charge")
    assert "child of  " + failed in out
    assert "charge(Order(cents=-1, id='b'))  dead letter" in out
    assert "\x1b" not in out
    assert r"no money\x1b[31m in b" in out
    assert "orders(" not in out
    _, out = shell("show", child, "--limit", "1")
    assert "2 earlier steps are left out" in out


def test_show_gives_programs_plain_data(shell: Shell, failed: str) -> None:
    """Inputs and results are trees, not text; errors have type, message and traceback."""
    shown = shell.json("show", failed)
    assert shown["inputs"] == [{"id": "x", "cents": 5}]
    assert shown["error"]["type"] == "ConnectionError"
    assert [(step["seq"], step["name"], step["status"], step["result"]) for step in shown["steps"]] == [
        (1, "part", "done", 100)
    ]
    (unfinished,) = shown["open"]
    assert [attempt["number"] for attempt in unfinished["failures"]] == [1, 2]
    assert "printer" in unfinished["failures"][0]["error"]["traceback"]


def test_what_is_not_there_is_said_with_what_was_meant(shell: Shell, failed: str) -> None:
    """An unknown run, an ambiguous one, an unknown step, no state file: exit code 2 and a hint."""
    assert shell("show", failed[:-1] + "~")[0] == 2
    assert f"did you mean '{failed}'" in shell.err
    assert shell("show", failed, "--step", "chargee")[0] == 2
    assert "name one of: part, report" in shell.err
    assert shell("fork", failed, "--from", "prat", "--no-run")[0] == 2
    assert "did you mean 'part'?" in shell.err
    (shell.folder / "sub").mkdir()
    os.chdir(shell.folder / "sub")
    assert shell("ps")[0] == 2
    assert "--file SCRIPT" in shell.err
    assert shell("ps", "--file", "../flow.py")[0] == 0
    assert shell("ps", "--state", "../.perdure/state.db")[0] == 0


def test_resume_goes_on_with_the_recorded_inputs(shell: Shell, failed: str) -> None:
    """Without being told the arguments again, and without doing a finished step again. A run that is done gives its
    result; a child run goes on with its parent."""
    assert shell("resume", failed)[0] == 1
    (shell.folder / "mended").touch()
    code, out = shell("resume", failed)
    assert (code, out) == (3, "'x 100'\n")
    assert shell.ledger() == ["orders", "charge a", "charge b", "charge b", *["report"] * 5]
    (shell.folder / "flow.py").unlink()
    code, out = shell("resume", failed)
    assert (code, out) == (3, "'x 100'\n")
    assert "is done" in shell.err
    assert len(shell.ledger()) == 9


def test_resume_says_where_a_script_has_gone_and_takes_its_new_place(shell: Shell, failed: str) -> None:
    """The script may have moved; a child run goes on with its parent only."""
    child = next(run["id"] for run in shell.json("ps", "--all")["runs"] if run["child"])
    assert shell("fork", child, "--from", "orders")[0] == 2
    assert "child run" in shell.err
    (shell.folder / "flow.py").rename(shell.folder / "flow_moved.py")
    (shell.folder / "mended").touch()
    assert shell("resume", failed)[0] == 2
    assert f"perdure resume {failed} FILE" in shell.err
    assert shell("resume", failed, "flow_moved.py")[0] == 3


def edit(shell: Shell, change: Callable[[str], str]) -> None:
    path = shell.folder / "flow.py"
    path.write_text(change(path.read_text()))
    del sys.modules["flow"]


def test_drift_names_commands_that_work(shell: Shell, failed: str) -> None:
    """An edit that calls a completed step with other inputs stops the run before anything is executed; both ways out
    that the error names do what they say."""
    edit(shell, lambda text: text.replace('part("monday")', 'part("tuesday")'))
    (shell.folder / "mended").touch()
    before = shell.ledger()
    assert shell("resume", failed)[0] == 1
    assert "[code-drift]" in shell.err
    assert f"perdure resume {failed} --accept-changes" in shell.err
    assert f"perdure fork {failed} --from part" in shell.err
    assert shell.ledger() == before

    assert shell("resume", failed, "--accept-changes")[0] == 3
    saved = shell.ledger()
    code, copy = shell("fork", failed, "--from", "part", "--no-run")
    assert code == 0
    assert shell.json("show", copy.strip())["steps"] == []
    assert shell.ledger() == saved
    assert shell("resume", copy.strip())[0] == 3
    assert shell.ledger() == [*before, *["orders", "charge a", "charge b", "charge b", "report"] * 2]


def test_fork_runs_a_copy_from_a_step_on(shell: Shell, failed: str) -> None:
    """What came before the step is kept, the step and what follows is made again; what the source did stays as it was,
    and its dead letters are the copy's. A step can be named by the number that `show` gives it.
    """
    (shell.folder / "mended").touch()
    assert shell("resume", failed)[0] == 3
    before = shell.json("show", failed)
    made = shell.json("fork", failed, "--from", "#2")
    assert (made["status"], made["result"]) == ("done", "x 100")
    assert shell.ledger()[-2:] == ["report", "report"]
    after = shell.json("show", failed)
    assert (after["steps"], after["result"]) == (before["steps"], before["result"])
    assert (after["run"]["status"], after["run"]["superseded_by"]) == ("done", made["run"])
    assert [shell.json("show", made["run"])[key] for key in ("run", "children")] == [
        {**shell.json("ps", "--limit", "1")["runs"][0], "status": "dead", "forked_from": failed},
        before["children"],
    ]
    assert [run["id"] for run in shell.json("ps")["runs"]] == [made["run"], failed]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_log_json_is_for_all_that_runs_something(shell: Shell, failed: str) -> None:
    """`resume`, `fork` and `dlq redrive`: standard error is lines of JSON and nothing else, logs and prints alike."""
    import logging

    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level

    def lines(*args: str) -> list[dict[str, Any]]:
        shell(*args, "--log-json")
        os.environ.pop("PERDURE_STATE", None)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        return json_lines(shell.err)

    said = lines("resume", failed)
    assert any(line["message"].startswith("step 'report' failed at attempt") for line in said)
    assert any(line["logger"] == "stderr" and "failed; 1 step saved" in line["message"] for line in said)
    said = lines("fork", failed, "--from", "part")
    assert any(line["logger"] == "stderr" and "is a copy of" in line["message"] for line in said)
    said = lines("dlq", "redrive", "2")  # the fork has made the call of the first letter again
    assert any("letter 2 failed again" in line["message"] for line in said)
    assert any(line["message"].startswith("step 'charge' failed at attempt") for line in said)
