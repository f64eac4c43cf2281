"""What a call of a workflow finds: its own unfinished run, one that another process has, one that has ended, none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from conftest import Opened
from perdure.core.execution.run_effects import Asleep, End, Finished, Held, Locked, Other, Start, Superseded, Taken
from perdure.core.records import RunRecord
from perdure.errors import LockLost, OptionError, RunError, StateCorrupt
from perdure.store import bell, stop_notes, workflow_defaults
from perdure.store.runs import Store

NOW = 1000.0
NAMES = {"script": "s.py", "path": "/none/s.py", "workflow": "w", "input": b""}


def ask(store: Store, key: int = 1, now: float = NOW, **more: Any) -> Any:
    given = {**NAMES, "fresh": f"w-{key}", "key": key.to_bytes(16, "big"), **more}
    return store.journal.write((), store.begin(Start(**given), now))


def take(store: Store, key: int = 1, now: float = NOW, **more: Any) -> RunRecord:
    answer = ask(store, key, now, **more)
    assert isinstance(answer, Taken), answer
    return answer.run


def change(store: Store, run: RunRecord, **changed: Any) -> None:
    store.journal.write((), lambda db: store.put_run(db, store.run_in(db, run.rid), **changed) and None)


def leave(store: Store, run: RunRecord, **changed: Any) -> None:
    store.release(run, NOW)
    change(store, run, **changed)


def end(store: Store, run: RunRecord, status: Any = "done", output: bytes | None = b"x") -> None:
    store.journal.write((), store.end(End(run, status, output), NOW))
    store.let_go(run)


def test_a_first_call_makes_a_run(process: Opened) -> None:
    """With all that was asked for, under the id that was given or one of its own."""
    store = process()
    answer = ask(store, path="/here/s.py", input=b"in", line=b"line")
    run = answer.run
    assert (answer.resumed, answer.died) == (False, None)
    assert (run.id, run.script, run.path, run.workflow, run.input) == ("w-1", "s.py", "/here/s.py", "w", b"in")
    assert (run.status, run.holder, run.parent, run.named) == ("running", store.holder.known, None, False)
    assert (run.created, run.started, run.timed_from, run.ended, run.epoch) == (NOW, NOW, NOW, None, 0)
    named = take(store, 2, id="mine", named=True)
    assert (named.id, named.named, named.rid) == ("mine", True, run.rid + 1)
    assert store.run("mine") == named


def test_the_same_call_goes_on_with_its_unfinished_run(process: Opened) -> None:
    """From where the script is now; other inputs, another workflow or another script are other runs."""
    store = process()
    run = take(store)
    store.release(run, NOW)
    stop_notes.put(store.path, run.id, b"why")
    answer = ask(store, now=NOW + 5, path="/there/s.py", fresh="w-new")
    again = answer.run
    assert (answer.resumed, again.rid, again.id, again.path) == (True, run.rid, "w-1", "/there/s.py")
    assert (again.created, again.started, again.timed_from) == (NOW, NOW + 5, NOW)
    assert stop_notes.get(store.path, run.id) is None
    others = (take(store, 2), take(store, workflow="v", fresh="v-1"), take(store, script="t.py", fresh="t-1"))
    assert len({run.rid, *(other.rid for other in others)}) == 4


def test_a_run_that_is_under_way_is_not_taken_twice(process: Opened) -> None:
    """By this process or by another one; what a dead one had is taken over."""
    store, other = process(), process()
    run = take(store)
    mine, theirs = ask(store), ask(other)
    assert isinstance(mine, Held)
    assert isinstance(theirs, Held)
    assert (mine.by, mine.run.rid, mine.last) == (None, run.rid, None)
    assert theirs.by is not None
    assert (theirs.by.token, theirs.by.pid) == (store.holder.token, os.getpid())
    assert store.holder._liveness._descriptor is not None
    os.close(store.holder._liveness._descriptor)
    store.holder._liveness._descriptor = None
    answer = ask(other)
    assert isinstance(answer, Taken)
    assert (answer.resumed, answer.died, answer.run.holder) == (True, os.getpid(), other.holder.known)
    with pytest.raises(LockLost, match=r"run w-1 was taken over|lock file"):
        end(store, run)


@pytest.mark.parametrize("status", ["done", "failed", "cancelled", "parked"])
def test_a_run_that_has_ended_is_begun_anew_without_an_id(process: Opened, status: str) -> None:
    """One that failed is gone on with; under its own id what has ended has ended."""
    store = process()
    end(store, take(store, id="mine", named=True), status, None if status == "cancelled" else b"x")
    answer = ask(store, id="mine", named=True, now=NOW + 5)
    if status == "failed":
        assert isinstance(answer, Taken)
        assert (answer.resumed, answer.run.output, answer.run.ended) == (True, None, None)
        assert answer.run.timed_from == NOW + 5
    else:
        assert isinstance(answer, Finished)
        assert answer.run.status == status
    end(store, take(store, 2), status, None if status == "cancelled" else b"x")
    assert (take(store, 2, fresh="again").id == "again") is (status != "failed")


def test_an_id_stands_for_one_workflow_and_its_inputs(process: Opened) -> None:
    """Whatever has become of it."""
    store = process()
    run = take(store, id="mine", named=True)
    for more in ({"key": 2}, {"workflow": "v"}):
        answer = ask(store, more.pop("key", 1), id="mine", named=True, **more)  # type: ignore[arg-type]
        assert isinstance(answer, Other)
        assert answer.run.rid == run.rid
    answer = ask(store, rid=run.rid)
    assert isinstance(answer, Held), "by its number it is itself, whatever the inputs are"
    assert isinstance(ask(store, 7, rid=run.rid), Held)


def test_a_run_that_is_run_once_stands_for_all_calls(process: Opened) -> None:
    """Done, it is the answer; a run that waits for itself is refused."""
    store = process()
    parent, first = take(store, 5), take(store, once=True)
    end(store, first)
    answer = ask(store, once=True, fresh="w-2")
    assert isinstance(answer, Finished)
    assert answer.run.id == first.id
    assert isinstance(ask(store, fresh="w-2"), Taken)
    child = take(store, 6, once=True, parent=parent.rid, id="w-5.1")
    with pytest.raises(RunError, match="calls its own workflow with its own inputs"):
        ask(store, 6, once=True, parent=child.rid, id="w-5.1.1")
    end(store, child)
    elsewhere = ask(store, 6, once=True, parent=first.rid, id="other.1")
    assert isinstance(elsewhere, Finished)
    assert (elsewhere.run.id, elsewhere.run.parent) == ("w-5.1", None), "it is not its first caller's alone any more"


def test_a_suspended_run_is_taken_when_it_is_due(process: Opened, tmp_path: Path) -> None:
    """Soon, or when its script was edited; by its number at any time, and with endless patience."""
    store = process()
    run = take(store)
    leave(store, run, status="suspended", wake=NOW + 100.0)
    assert isinstance(ask(store), Asleep)
    assert isinstance(ask(store, patience=99.9), Asleep)
    for more in ({"patience": 100.0}, {"patience": float("inf")}, {"rid": run.rid}, {"now": NOW + 40.0}):
        assert take(store, **more).rid == run.rid  # type: ignore[arg-type]
        leave(store, run, status="suspended", wake=NOW + 100.0)
    script = tmp_path / "s.py"
    script.touch()
    os.utime(script, (NOW + 39.0, NOW + 39.0))
    assert isinstance(ask(store, path=str(script)), Asleep)
    os.utime(script, (NOW + 41.0, NOW + 41.0))
    assert take(store, path=str(script)).wake is None
    leave(store, run, status="suspended", wake=None)
    assert isinstance(ask(store), Asleep)


def test_a_lock_that_another_run_has_is_in_the_way(process: Opened) -> None:
    """Of a new run and of one that is gone on with; nothing is made or taken then."""
    store, other = process(), process()
    left = take(store, 2, lock="nightly")
    store.release(left, NOW)
    holder = take(other, 1, lock="nightly")
    for key in (2, 3):
        answer = ask(store, key, lock="nightly")
        assert isinstance(answer, Locked)
        assert (answer.name, answer.run and answer.run.id) == ("nightly", holder.id)
    assert len(store.runs()) == 2
    assert take(store, 3).id == "w-3"


def test_a_fork_stands_for_its_source(process: Opened) -> None:
    """By the inputs and by the id it is the newest one; by the number of the source that is said."""
    store = process()
    source, fork = take(store), take(store, 1, id="fork")
    store.release(source, NOW)
    store.release(fork, NOW)
    change(store, source, status="failed", output=b"x", superseded_by=fork.rid)
    answer = ask(store, rid=source.rid)
    assert isinstance(answer, Superseded)
    assert (answer.run.id, answer.by.id) == ("w-1", "fork")
    assert take(store, id="w-1").id == "fork"


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [("key", b"x" * 16, True), ("workflow", "v", False), ("script", "t.py", False)],
)
def test_a_run_whose_columns_were_changed_is_not_made_anew(
    process: Opened, column: str, value: object, found: bool
) -> None:
    """Unless nothing of it is found any more: then only a look at every row knows."""
    store = process()
    store.release(take(store), NOW)
    store.journal.write((), lambda db: db.execute(f"UPDATE run SET {column} = ?", (value,)) and None)
    if found:
        assert take(store, fresh="again").id == "again"
    else:
        with pytest.raises(StateCorrupt):
            ask(store, fresh="again")


def test_what_rings_for_those_who_wait(process: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """How a run stands, and that nobody has it any more; once it is committed, and nothing that was taken back."""
    store, rung = process(), list[str]()
    monkeypatch.setattr(bell, "ring", lambda path, suffix=bell.SUFFIX: rung.append(suffix))

    def said() -> list[str]:
        found = [*rung]
        rung.clear()
        return found

    run = take(store)
    assert said() == []
    change(store, run, path="/elsewhere/s.py")
    change(store, run)
    assert said() == []
    store.release(run, NOW)
    assert said() == [bell.ENDS]
    change(store, run, status="suspended", wake=NOW)
    assert said() == [bell.ENDS]
    run = take(store)
    assert said() == [bell.ENDS]

    def taken_back(db: apsw.Connection) -> None:
        store.put_run(db, store.run_in(db, run.rid), status="suspended", holder=None, wake=NOW)
        raise KeyError

    with pytest.raises(KeyError):
        store.journal.write((), taken_back)
    assert said() == []
    change(store, run, path="/s.py")
    assert said() == []
    end(store, run)
    assert said() == [bell.ENDS]


def test_a_run_that_was_taken_in_vain_is_free(process: Opened) -> None:
    """The transaction was taken back: neither the run nor its lock is held. One that is gone on with is held anew."""
    store, other = process(), process()
    start = Start(**NAMES, fresh="w-1", key=(1).to_bytes(16, "big"), lock="nightly")  # type: ignore[arg-type]

    def in_vain(db: apsw.Connection) -> None:
        assert isinstance(store.begin(start, NOW)(db), Taken)
        raise KeyError

    with pytest.raises(KeyError):
        store.journal.write((), in_vain)
    assert not store.has_taken()
    run = take(store, lock="nightly")
    for left in ({}, {"status": "failed", "ended": NOW, "output": b"x"}):
        assert store.has_taken()
        assert isinstance(ask(store), Held)
        assert isinstance(ask(other, 2, lock="nightly"), Locked)
        leave(store, run, **left)
        assert not store.has_taken()
        free = take(other, 2, lock="nightly")
        other.release(free, NOW)
        run = take(store, lock="nightly")


def test_a_moment_that_no_date_shows_is_not_written(process: Opened) -> None:
    """Of a wait, whichever way the run comes to it; it stays as it was."""
    store = process()
    run = take(store)
    for wake in (1e15, -1e15):
        with pytest.raises(OptionError, match="run w-1 is to go on at a time that no date can show"):
            change(store, run, wake=wake)
    assert store.run("w-1") == run


def test_the_defaults_of_a_workflow_are_kept_with_its_first_run(process: Opened) -> None:
    """Of the start that brings some; others leave them as they are."""
    store = process()
    for defaults in ({"n": b"a digest"}, None):
        take(store, 1 if defaults else 2, defaults=defaults)
        assert workflow_defaults.known(store.journal, store.path, "s.py", "w") == {"n": b"a digest"}
