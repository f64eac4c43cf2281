"""Repairs add up: a fork sees what was re-driven."""

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


def test_a_fork_sees_what_was_redriven(etl: Shop) -> None:
    """What has consumed the items is made again, what has not keeps its result, and nothing is taken for an edit."""
    assert etl.run("etl") == 0
    source = etl.runs()[0]["id"]
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "--all") == 0
    assert f"perdure fork {source} --from log makes it again" in etl.said, "the run is done, so that has to follow"
    assert etl("why", source) == 0
    assert "does not see 2 re-driven results" in etl.said
    assert f"perdure fork {source} --from log" in etl.said
    etl.ledger()
    assert etl("fork", source, "--from", "last") == 0, etl.said
    assert etl.ledger() == ["load [10, 20, 30, 40]", "last"]
    assert etl.said.startswith("4\n")
    assert etl("why", source) == 0
    assert "re-driven results" not in etl.said
    assert [run["status"] for run in etl.runs()] == ["done", "done"]


def test_a_fork_publishes_again_what_is_made_of_redriven_results(etl: Shop) -> None:
    """What lies before them stays as it is."""
    text = ETL.replace("rows = list(", 'perdure.publish("first", os.getpid()); rows = list(').replace(
        'log("parsed")', 'perdure.publish("rows", rows)'
    )
    etl.script.write_text(text)
    assert etl.run("etl") == 0
    first = etl.json("get", "last", "first")["value"]
    etl.file("fixed").touch()
    assert etl("dlq", "redrive", "--all") == 0
    assert etl("fork", "last", "--from", "last") == 0, etl.said
    assert etl.json("get", "last", "rows")["value"] == [10, 20, 30, 40]
    assert etl.json("get", "last", "first")["value"] == first


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
    redriven = etl.said.split(" resolved")[0].split()[-1]
    etl.ledger()
    assert etl("fork", source, "--from", "log") == 0, etl.said
    assert f"{redriven} re-driven result" in etl.said, "a child run is none"
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
