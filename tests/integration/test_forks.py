"""Repairs add up: what is forked, resumed and cancelled in turn leaves what the next repair stands on."""

from __future__ import annotations

import pytest
from tests.integration.fork_scripts import ETL, SAGA, Shop

from conftest import Scripts


@pytest.fixture
def etl(scripts: Scripts) -> Shop:
    return Shop(scripts, ETL)


@pytest.fixture
def saga(scripts: Scripts) -> Shop:
    return Shop(scripts, SAGA)


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
    assert saga.json("ps", "--status", "superseded")["runs"][0]["id"] == source
    assert saga("why", source) == 0
    assert made in saga.said


def test_a_step_that_was_under_way_is_found_by_its_name(saga: Shop) -> None:
    """It has no record: the flight record of the process that died says what that was at."""
    source = die(saga)
    assert saga("fork", source, "--from", "nothing") == 2
    assert "restore" in saga.said
    assert saga("fork", source, "--from", "restore") == 0, saga.said
    assert saga.ledger() == ["restore", "remove late", "remove folder"]


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
