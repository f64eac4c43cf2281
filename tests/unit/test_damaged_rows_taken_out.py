"""A run that is to be ended although rows of it are damaged: those are taken out, named and kept; nothing else is."""

from __future__ import annotations

import os
from typing import Any

import pytest

import perdure
from conftest import Died, Machine
from perdure import step, workflow
from perdure.core.records import RunRecord
from perdure.errors import AlreadyRunning, NotFound, RunError, StateCorrupt
from perdure.store import damaged_run, dead_letters
from perdure.store.runs import Store

NOW = 2_000_000_000.0
DOUBT = "; a call whose record is damaged is not undone, and may have been done: look with the service"


@step
def refund() -> None: ...


@step(name="charge", undo=refund)
def charge() -> None: ...


@step(name="wrong", retry=None)
def wrong(n: int) -> None:
    raise ValueError(n)


@workflow(name="part")
def part() -> None:
    charge()


@workflow(name="flow")
def flow() -> None:
    with perdure.budget(tokens=100):
        charge()
        perdure.publish("state", 1)
        wrong.map([1])
        part()
    raise Died


@pytest.fixture
def store(machine: Machine) -> Store:
    """The state file of a run that a dead process has left."""
    with pytest.raises(Died):
        flow()
    machine.boot()
    return machine.engine.store


def damage(store: Store, statement: str, *values: Any) -> None:
    """Edit the file from outside."""
    store.journal.write((), lambda at: at.execute(statement, values) and None)


def top(store: Store) -> RunRecord:
    (run,) = (one for one in store.runs() if one.parent is None)
    return run


def rows(store: Store) -> dict[str, list[Any]]:
    """All that the tables of runs hold, but for the note."""
    tables = ("step", "attempt", "function", "dead_letter", "published", "budget", "session", "batch", "command_line")
    statement = "SELECT * FROM {} WHERE run IS NOT NULL"
    return {
        table: store.journal.read(
            lambda at, table=table: [
                row for row in at.execute(statement.format(table)).fetchall() if "perdure.noted" not in row
            ]
        )
        for table in tables
    }


def taken_out(store: Store, id: str) -> str:
    found: str = store.journal.write((), damaged_run.take_out(store, id, NOW))
    return found


def test_nothing_is_taken_out_of_a_run_that_is_intact(store: Store) -> None:
    """Nor is its end asked for."""
    before, run = rows(store), top(store)
    assert all(before[table] for table in ("step", "attempt", "function", "dead_letter", "published"))
    assert taken_out(store, run.id) == ""
    assert (rows(store), top(store).stop) == (before, None)


@pytest.mark.parametrize(
    ("statement", "name", "gone", "doubt"),
    [
        ("UPDATE function SET qualname = 'x' WHERE name = 'charge' AND run = 1", "the function of charge", 1, False),
        ("UPDATE step SET ms = ms + 1 WHERE run = 1 AND kind = 'undo'", "record #", 1, True),
        ("UPDATE step SET ms = ms + 1 WHERE run = 2 AND name = 'charge'", "record #1 (charge) of {child}", 2, True),
        ("UPDATE attempt SET ms = ms + 1", "an attempt of wrong", 1, False),
        ("UPDATE dead_letter SET redriven = 1", "dead letter 1", 1, True),
        ("UPDATE published SET stamp = stamp + 1", "a published value", 1, False),
    ],
)
def test_what_is_damaged_is_taken_out_and_named(
    store: Store, statement: str, name: str | None, gone: int, doubt: bool
) -> None:
    """Every other row stays; the end of the run is asked for; and a call is in doubt where what was done is lost."""
    child = next(one for one in store.runs(children=True) if one.parent is not None)
    damage(store, statement)
    before = rows(store)
    text = taken_out(store, top(store).id)
    assert text.startswith("damaged, and given up: ")
    if name is not None:
        assert name.format(child=child.id) in text
    assert text.endswith(DOUBT) is doubt
    left = rows(store)
    assert sum(map(len, before.values())) - sum(map(len, left.values())) == gone
    assert all(set(left[table]) <= set(before[table]) for table in left)
    assert top(store).stop == NOW
    assert store.check() == []
    assert taken_out(store, top(store).id) == "", "nothing is left to be taken out"


def test_a_note_of_an_undo_goes_with_the_record_of_its_call(store: Store) -> None:
    """It says nothing without it; that of the other call stays."""
    damage(store, "UPDATE step SET ms = ms + 1 WHERE run = 1 AND name = 'charge'")
    text = taken_out(store, top(store).id)
    assert text == f"damaged, and given up: record #1 (charge){DOUBT}"
    kinds = store.journal.read(lambda at: at.execute("SELECT run FROM step WHERE kind = 'undo'").fetchall())
    assert kinds == [(2,)]


def test_a_letter_of_a_record_that_is_lost_is_none(store: Store) -> None:
    """Nobody could re-drive it."""
    damage(store, "UPDATE step SET ms = ms + 1 WHERE status = 'dead'")
    assert "dead letter 1" in taken_out(store, top(store).id)
    assert list(dead_letters.find(store, dead_letters.Filter())) == []


def test_more_than_is_shown_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line stays short."""
    monkeypatch.setattr(damaged_run, "SHOWN", 2)
    damage(store, "UPDATE step SET ms = ms + 1 WHERE run = 1")
    assert taken_out(store, top(store).id).startswith("damaged, and given up: record #1 (charge), record #")
    assert "more; a call" in "".join(
        str(row) for row in store.journal.read(lambda at: at.execute("SELECT error FROM attempt").fetchall())
    )


@pytest.mark.parametrize("column", ["created", "started"])
def test_a_run_whose_own_row_is_damaged_is_taken_as_it_stands(store: Store, column: str) -> None:
    """A time that cannot be is that of now; its inputs are lost to whoever would make something of them."""
    run = top(store)
    damage(store, f"UPDATE run SET {column} = 9e99 WHERE rid = 1")
    assert taken_out(store, run.id) == f"damaged, and given up: its own row, which is taken as it stands{DOUBT}"
    now = top(store)
    assert (getattr(now, column), now.stop, now.status) == (NOW, NOW, "running")
    assert store.check() == []
    with pytest.raises(RunError, match=f"the inputs of run {run.id} are lost"):
        store.journal.read(lambda at: damaged_run.refuse_damaged(at, now))


def test_a_child_run_whose_row_is_damaged_belongs_to_whose_id_it_bears(store: Store) -> None:
    """Also if it says that it has no parent; the inputs of the run above it are not lost."""
    run = top(store)
    child = next(one for one in store.runs(children=True) if one.parent is not None)
    damage(store, "UPDATE run SET parent = NULL, workflow = 'x' WHERE rid = 2")
    assert f"the row of {child.id}" in taken_out(store, run.id)
    again = next(one for one in store.runs(children=True) if one.rid == 2)
    assert (again.parent, again.workflow) == (1, "x")
    store.journal.read(lambda at: damaged_run.refuse_damaged(at, run))


def test_what_cannot_be_true_is_not_taken_for_a_run(store: Store) -> None:
    """Nothing is changed then."""
    before = rows(store)
    damage(store, "PRAGMA ignore_check_constraints = ON")
    damage(store, "UPDATE run SET status = 'done' WHERE rid = 1")  # without a result
    damage(store, "PRAGMA ignore_check_constraints = OFF")
    with pytest.raises(StateCorrupt, match="cannot be true"):
        taken_out(store, "flow-0000000001")
    assert rows(store) == before


def test_which_run_a_call_may_have_met_damage_in(store: Store) -> None:
    """One that is damaged comes first; else the unfinished run of these inputs; else none."""
    run = top(store)
    asked = run.key, run.workflow, run.script
    assert damaged_run.meant(store, *asked) == run.id
    assert damaged_run.meant(store, bytes(16), *asked[1:]) is None
    damage(store, "UPDATE run SET epoch = 9 WHERE rid = 1")
    assert damaged_run.meant(store, bytes(16), *asked[1:]) == run.id
    assert damaged_run.meant(store, bytes(16), "other", "other.py") is None


def test_a_run_that_is_not_there_or_is_executed(store: Store) -> None:
    """Whoever executes it is named, and asked to end it first."""
    with pytest.raises(NotFound):
        taken_out(store, "other-1")
    other = Store(store.path)
    hid = other.journal.write((), lambda at: other.holder.hid(at, NOW))
    store.journal.write((), lambda at: store.put_run(at, store.run_in(at, 1), holder=hid) and None)
    damage(store, "UPDATE step SET ms = ms + 1 WHERE name = 'charge'")
    before = rows(store)
    with pytest.raises(AlreadyRunning, match=f"is executed by pid {os.getpid()} on "):
        taken_out(store, "flow-0000000001")
    assert rows(store) == before
    other.close()


def test_a_process_of_which_nothing_is_known_any_more_is_taken_for_dead(store: Store) -> None:
    """What it writes is refused from then on."""
    damage(store, "UPDATE run SET holder = 99 WHERE rid = 1")
    text = taken_out(store, "flow-0000000001")
    assert "its own row" in text
    assert "the process that had it" in text
    assert top(store).holder is None
