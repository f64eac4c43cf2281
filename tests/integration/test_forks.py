"""Repairs add up: what is re-driven, forked, resumed and cancelled in turn leaves what the next repair stands on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Scripts

HEAD = """
import os, sys
import perdure
from perdure import defer, idempotency_key, step, workflow

def note(line):
    with open("ledger", "a") as file:
        file.write(f"{line}\\n")
"""

ETL = (
    HEAD
    + """
@step(retry=None)
def parse(x: int) -> int:
    if x % 2 == 0 and not os.path.exists("fixed"):
        raise ValueError(f"bad {x}")
    note(f"parse {x}")
    return x * 10

@step
def log(text: str) -> None:
    note(f"log {text}")

@step
def load(rows: list[int]) -> int:
    note(f"load {rows}")
    return len(rows)

@step(retry=None)
def last() -> None:
    note("last")
    if os.path.exists("die"):
        os._exit(9)

def body() -> int:
    rows = list(parse.map([1, 2, 3, 4]).results)
    log("parsed")
    count = load(rows)
    last()
    return count

@workflow
def etl() -> int:
    return body()

@workflow
def inner() -> int:
    return body()

@workflow
def outer() -> str:
    count = inner()
    log(f"count {count}")
    return f"{count}"

@step(retry=None, on_failure="dead_letter")
def single(x: int) -> int:
    if not os.path.exists("fixed"):
        raise ValueError("bad")
    return x

@workflow
def one() -> str:
    found = single(5)
    log(f"{found}" if isinstance(found, int) else "dead")
    return f"{found}" if isinstance(found, int) else "dead"

if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
"""
)

SAGA = (
    HEAD
    + """
@step
def restart(name: str) -> None:
    note(f"undo {name}")

@step
def remove(name: str) -> None:
    note(f"remove {name}")

@step(undo=restart)
def stop(name: str) -> str:
    note(f"stop {name}")
    return name

@step(retry=None)
def dump() -> int:
    note("dump")
    return 1

@step(retry=None)
def restore(n: int) -> str:
    note("restore")
    if os.path.exists("die"):
        os._exit(9)
    if os.path.exists("fail"):
        raise ValueError("no")
    return "restored"

@workflow
def migrate() -> str:
    stop("a")
    defer(remove, "folder")
    n = dump()
    stop("b")
    defer(remove, "late")
    return restore(n)

if __name__ == "__main__":
    print(migrate())
"""
)


class Shop:
    """A folder with a script, the commands, and the ledger that its steps write."""

    def __init__(self, scripts: Scripts, text: str) -> None:
        self.scripts = scripts
        self.script = scripts.write(text)
        self.starter = scripts.write("from perdure.cli import main\nimport sys\nsys.exit(main())\n", "command.py")
        self.said = ""

    def run(self, *args: str) -> int:
        done = self.scripts.run(self.script, *args)
        self.said = done.stdout + done.stderr
        return done.returncode

    def __call__(self, *args: str) -> int:
        done = self.scripts.run(self.starter, *args)
        self.said = done.stdout + done.stderr
        return done.returncode

    def json(self, *args: str) -> Any:
        done = self.scripts.run(self.starter, *args, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def runs(self) -> list[Any]:
        found: list[Any] = self.json("ps")
        return found

    def file(self, name: str) -> Path:
        return self.scripts.folder / name

    def ledger(self) -> list[str]:
        """What was done since the last time."""
        path = self.file("ledger")
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines


@pytest.fixture
def etl(scripts: Scripts) -> Shop:
    return Shop(scripts, ETL)


@pytest.fixture
def saga(scripts: Scripts) -> Shop:
    return Shop(scripts, SAGA)


# -- redriven, then forked --------------------------------------------------------------------------------------------


def test_a_fork_sees_what_was_redriven(etl: Shop) -> None:
    """What has consumed the items is made again, what has not keeps its result, and nothing is taken for an edit."""
    assert etl.run("etl") == 0
    source = etl.runs()[0]["id"]
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "--all") == 0
    assert f"perdure fork {source} --from log makes it again" in etl.said, "the run is done, so that has to follow"
    etl.ledger()
    assert etl("fork", source, "--from", "last") == 0, etl.said
    assert etl.ledger() == ["load [10, 20, 30, 40]", "last"]
    assert etl.said.startswith("4\n")
    assert [run["status"] for run in etl.runs()] == ["done", "done"]


def test_a_fork_sees_an_edited_letter_that_was_redriven(etl: Shop) -> None:
    """The record keeps the input by which the map finds it."""
    assert etl.run("etl") == 0
    assert etl("dlq", "edit", "1", "--set", "x=7") == 0
    assert etl("dlq", "redrive", "1") == 0
    etl.ledger()
    assert etl("fork", "last", "--from", "load") == 3, "the other letter is parked still"
    assert etl.ledger() == ["load [10, 70, 30]", "last"]


def test_a_single_step_that_was_redriven(etl: Shop) -> None:
    """A letter of a call that is no item of a map."""
    assert etl.run("one") == 0
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "--all") == 0
    etl.ledger()
    assert etl("fork", "last", "--from", "log") == 0
    assert etl.ledger() == ["log 5"]


def test_a_letter_of_a_child_run(etl: Shop) -> None:
    """The child is forked with its parent, so that the parent's fork has its new result."""
    assert etl.run("outer") == 0
    source = etl.runs()[0]["id"]
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "--all") == 0
    assert f"perdure fork {source} --from log" in etl.said, "the top level is what can be forked"
    etl.ledger()
    assert etl("fork", source, "--from", "log") == 0, etl.said
    assert etl.ledger() == ["load [10, 20, 30, 40]", "log count 4"]


def test_letters_are_parked_in_one_run_only(etl: Shop) -> None:
    """One that the fork has taken over is the fork's, under its number and its key; none can be re-driven twice."""
    keyed = ETL.replace('note(f"parse {x}")', 'note(f"parse {x} {idempotency_key()}")').replace(
        'raise ValueError(f"bad {x}")', 'note(f"bad {x} {idempotency_key()}"); raise ValueError(f"bad {x}")'
    )
    etl.script.write_text(keyed)
    assert etl.run("etl") == 0
    key = next(line.split()[2] for line in etl.ledger() if line.startswith("bad 2"))
    assert etl("fork", "last", "--from", "load") == 3
    made, source = (run["id"] for run in etl.runs())
    parked = etl.json("dlq", "ls")["letters"]
    assert sorted((one["letter"], one["run"]) for one in parked) == [(1, made), (2, made)]
    assert len(etl.json("dlq", "show", "1")["attempts"]) == 1
    etl.file("fixed").touch()
    etl.ledger()
    assert etl("dlq", "redrive", "--all") == 0
    assert etl.ledger()[0] == f"parse 2 {key}"
    assert etl("fork", source, "--from", "last") == 0, "a run that was done may be forked again"
    assert etl.ledger() == ["load [10, 20, 30, 40]", "last"]


def test_letters_of_calls_that_are_made_again_are_superseded(etl: Shop) -> None:
    """Otherwise the call would be made by the fork and by a redrive."""
    assert etl.run("etl") == 0
    etl.file("fixed").touch()
    assert etl("fork", "last", "--from", "parse") == 0
    etl.ledger()
    assert etl("dlq", "redrive", "1") == 1
    assert "dead letter 1 is superseded" in etl.said
    assert etl("dlq", "redrive", "--all") == 0
    assert etl.ledger() == []


def test_redriving_a_letter_of_an_unfinished_run(etl: Shop) -> None:
    """The command says whether resuming the run sees the result or the run has gone past it, and that is so."""
    etl.file("die").touch()
    etl.script.write_text(
        ETL.replace('note(f"log {text}")', 'note(f"log {text}"); os.path.exists("die") and os._exit(9)')
    )
    assert etl.run("etl") == 9
    source = etl.runs()[0]["id"]
    etl.script.write_text(ETL.replace("x % 2 == 0", "x == 4"))
    assert etl("dlq", "redrive", "1") == 0
    assert f"run {source} sees it when it is resumed: perdure resume {source}" in etl.said
    etl.ledger()
    assert etl("resume", source) == 9, "it dies in the last step now"
    assert etl.ledger() == ["log parsed", "load [10, 20, 30]", "last"]
    etl.file("die").unlink()
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "2") == 0
    assert f"run {source} has gone on since" in etl.said
    etl.ledger()
    assert etl("fork", source, "--from", "#7") == 0
    assert etl.ledger() == ["load [10, 20, 30, 40]", "last"]


# -- forked, then something else --------------------------------------------------------------------------------------


def die(saga: Shop) -> str:
    """A run that has died in its last step; its id."""
    saga.file("die").touch()
    assert saga.run() == 9
    saga.file("die").unlink()
    saga.ledger()
    (run,) = saga.runs()
    return str(run["id"])


def test_the_source_of_a_fork_cannot_take_back_what_that_stands_on(saga: Shop) -> None:
    """Cancelled, resumed and forked again it is refused, with the id of the fork; nothing is undone."""
    source = die(saga)
    assert saga("fork", source, "--from", "#8") == 0
    made = saga.runs()[0]["id"]
    assert saga.ledger() == ["restore", "remove late", "remove folder"]
    for command in (["cancel", source], ["resume", source], ["fork", source, "--from", "dump"]):
        assert saga(*command) == 1
        assert f"run {source} is superseded by its fork {made}" in saga.said
    assert saga.ledger() == []
    fork, run = saga.runs()
    assert (fork["status"], fork["forked_from"]) == ("done", source)
    assert (run["status"], run["superseded_by"]) == ("superseded", made)
    assert saga.json("ps", "--status", "superseded")[0]["id"] == source
    assert saga("why", source) == 0
    assert made in saga.said


def test_the_script_goes_on_with_the_fork(saga: Shop) -> None:
    """The newest run that stands for the inputs is the fork, so two runs never do the same work side by side."""
    source = die(saga)
    assert saga("fork", source, "--from", "#8", "--no-run") == 0
    assert saga.run() == 0
    assert saga.ledger() == ["restore", "remove late", "remove folder"]
    assert [run["status"] for run in saga.runs()] == ["done", "superseded"]


def test_a_fork_that_is_cancelled_undoes_what_the_lineage_has_done(saga: Shop) -> None:
    """Also what the source did behind the point from which it was forked, the last first, each once."""
    source = die(saga)
    assert saga("fork", source, "--from", "dump", "--no-run") == 0
    assert "1 call with undo= that" in saga.said
    made = saga.runs()[0]["id"]
    assert saga("cancel", made) == 0
    assert saga.ledger() == ["remove late", "undo b", "remove folder", "undo a"]
    assert saga("cancel", made) == 1
    assert saga("cancel", source) == 1
    assert saga.ledger() == []


def test_a_fork_that_fails_undoes_and_makes_anew(saga: Shop) -> None:
    """It is a run like any other: undone at its failure, resumed, and what was deferred waits for its end."""
    source = die(saga)
    saga.file("fail").touch()
    assert saga("fork", source, "--from", "dump") == 1
    assert saga.ledger() == ["dump", "stop b", "restore", "undo b", "undo b", "undo a"]
    saga.file("fail").unlink()
    assert saga("resume", "last") == 0
    assert saga.ledger() == ["stop a", "stop b", "restore", "remove late", "remove late", "remove folder"]


def test_a_fork_of_a_fork(saga: Shop) -> None:
    """One run answers for all: the newest. What the first one made behind the second point is undone with it."""
    source = die(saga)
    saga.file("die").touch()
    assert saga("fork", source, "--from", "dump") == 9
    saga.file("die").unlink()
    first = saga.runs()[0]["id"]
    saga.ledger()
    point = f"#{saga.json('show', first)['steps'][-1]['seq'] + 1}"
    assert saga("fork", first, "--from", point, "--no-run") == 0
    second = saga.runs()[0]["id"]
    for run in (source, first):
        assert saga("cancel", run) == 1
    behind = [step["name"] for step in saga.json("show", second)["steps"] if step["behind"]]
    assert behind == ["stop", "defer remove"], "of the first fork's source, which made both again"
    assert saga("cancel", second) == 0
    undone = [line for line in saga.ledger() if line.startswith("undo")]
    assert undone == ["undo b", "undo b", "undo a"]


def test_what_a_run_that_was_done_did_is_not_undone_by_its_fork(saga: Shop) -> None:
    """After success nothing is undone; the fork undoes what is its own."""
    assert saga.run() == 0
    saga.ledger()
    saga.file("fail").touch()
    assert saga("fork", "last", "--from", "#6") == 1
    fork, source = saga.runs()
    assert saga.ledger() == ["restore"]
    assert saga("cancel", fork["id"]) == 0
    assert "undo a" not in saga.ledger()
    assert source["status"] == "done"
    assert saga("resume", source["id"]) == 0, "its result is there"


def test_an_id_stands_for_the_newest_fork(saga: Shop) -> None:
    """The caller that named the run with an id goes on with its fork, and has the fork's result."""
    saga.script.write_text(SAGA.replace("print(migrate())", 'print(migrate.with_options(id="monday")())'))
    saga.file("die").touch()
    assert saga.run() == 9
    saga.file("die").unlink()
    assert saga("fork", "monday", "--from", "#8", "--no-run") == 0
    saga.ledger()
    assert saga.run() == 0
    assert saga.ledger() == ["restore", "remove late", "remove folder"]
    assert saga.run() == 0
    assert saga.ledger() == []


def test_a_run_that_is_executed_is_not_forked(saga: Shop) -> None:
    """Its process would go on beside the fork, on the same effects."""
    saga.script.write_text(
        SAGA.replace('note("restore")', 'note("restore"); print("in", flush=True); sys.stdin.read()')
    )
    process = saga.scripts.start(saga.script)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "in\n"
    (run,) = saga.runs()
    assert saga("fork", run["id"], "--from", "dump") == 1
    assert "is executed by pid" in saga.said
    process.communicate()
    assert process.returncode == 0


# -- deferred ---------------------------------------------------------------------------------------------------------


def test_a_child_that_has_failed_for_good_is_cleaned_up_with_its_parent(scripts: Scripts) -> None:
    """Its deferred calls wait while the parent may go on with it, and are made once, at the parent's final end."""
    shop = Shop(
        scripts,
        HEAD
        + """
@step
def remove(name: str) -> None:
    note(f"remove {name}")

@step(retry=None)
def work() -> None:
    raise ValueError("no")

@step(retry=None)
def after() -> None:
    if os.path.exists("fail"):
        raise KeyError("late")

@workflow
def inner() -> None:
    defer(remove, "inner")
    work()

@workflow
def outer() -> str:
    defer(remove, "outer")
    try:
        inner()
    except ValueError:
        pass
    after()
    return "done"

if __name__ == "__main__":
    print(outer())
""",
    )
    shop.file("fail").touch()
    assert shop.run() == 1
    assert shop.ledger() == []
    shop.file("fail").unlink()
    assert shop.run() == 0
    assert shop.ledger() == ["remove inner", "remove outer"]
    (child,) = [run for run in shop.json("ps", "--all") if run["child"]]
    assert child["status"] == "failed"


def test_a_run_that_is_parked_keeps_what_it_needs(scripts: Scripts) -> None:
    """It is gone on with when a person says so; then its deferred calls are made, once."""
    shop = Shop(scripts, SAGA.replace("@workflow\n", "@workflow(park_after=1)\n"))
    shop.file("fail").touch()
    assert shop.run() == 1
    assert shop.runs()[0]["status"] == "parked"
    assert [line for line in shop.ledger() if "remove" in line] == []
    shop.file("fail").unlink()
    assert shop("dlq", "redrive", "--all") == 0
    assert [line for line in shop.ledger() if "remove" in line] == ["remove late", "remove folder"]
