"""A run that its process leaves is anybody's again, says why it was left, and is on hold again if it was for that."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Opened
from perdure.core.execution.run_effects import End, Start, Taken
from perdure.core.policies.verdicts import Stop, pack_stop
from perdure.core.records import RunRecord
from perdure.errors import NotFound, StateIO
from perdure.store import stop_notes
from perdure.store.runs import Store

NOW = 1000.0
WHY = Stop(NOW, b"error", b"verdict")


def asked(key: int = 1, **more: Any) -> Start:
    names = {"script": "s.py", "path": "/s.py", "workflow": "w", "fresh": f"w-{key}"}
    return Start(**names, key=key.to_bytes(16, "big"), input=b"", **more)


def begin(store: Store, key: int = 1, **more: Any) -> RunRecord:
    taken = store.journal.write((), store.begin(asked(key, **more), NOW))
    assert isinstance(taken, Taken)
    return taken.run


def change(store: Store, run: RunRecord, **changed: Any) -> None:
    store.journal.write((), lambda db: store.put_run(db, store.run_in(db, run.rid), **changed) and None)


def test_a_run_that_was_left_is_taken_by_the_next(process: Opened) -> None:
    """It says why, until it is taken again; who has left it has no run any more."""
    store, other = process(), process()
    run = begin(store)
    assert store.has_taken()
    store.release(run, NOW + 1, WHY)
    left = other.run(run.id)
    assert (left.status, left.holder, left.stopped) == ("running", None, pack_stop(WHY))
    assert not store.has_taken()
    assert begin(other).rid == run.rid
    assert store.run(run.id).holder == other.holder.known
    other.release(run, NOW + 2)
    assert store.run(run.id).stopped is None


def test_a_run_may_be_kept_until_it_is_given_back(process: Opened) -> None:
    """The file says on that this process has it."""
    store = process()
    run = begin(store)
    store.release(run, NOW + 1, WHY, keep=True)
    left = store.run(run.id)
    assert (left.holder, left.stopped) == (store.holder.known, pack_stop(WHY))
    assert not store.has_taken()


@pytest.mark.parametrize(
    ("code", "keep", "held"),
    [("drift", False, True), ("drift", True, False), ("other", False, False), ("", False, False)],
)
def test_a_run_that_was_on_hold_for_an_error_is_again(process: Opened, code: str, keep: bool, held: bool) -> None:
    """If the same one has stopped it, and it is left for others to see."""
    store = process()
    run = begin(store)
    store.release(run, NOW)
    change(store, run, hold="edited drift: the inputs differ")
    assert begin(store).rid == run.rid
    change(store, run, hold=None)
    store.release(run, NOW + 1, WHY, code=code, keep=keep)
    left = store.run(run.id)
    found = (left.status, left.wake, left.hold)
    assert found == (("suspended", NOW + 1, "edited drift: the inputs differ") if held else ("running", None, None))


def test_what_another_process_has_taken_stays_its_own(process: Opened) -> None:
    """Who leaves it then changes nothing of it."""
    store, other = process(), process()
    run = begin(store)
    change(store, run, holder=None)
    assert begin(other).rid == run.rid
    before = store.run(run.id)
    store.release(run, NOW + 1, WHY)
    assert store.run(run.id) == before


@pytest.mark.parametrize("leave", ["release", "not_ended"])
def test_why_is_said_beside_a_file_that_cannot_be_written(
    process: Opened, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    """And the process lets it go all the same; if not even that can be written, the process itself knows."""
    store = process()
    for number in range(2):
        run = begin(store, number)
        with monkeypatch.context() as patch:

            def fails(*_: Any) -> Any:
                raise StateIO("the disk is broken", "check it")

            patch.setattr(store.journal, "write", fails)
            if number:
                patch.setattr(stop_notes, "put", lambda *_: False)
            store.release(run, NOW + 1, WHY) if leave == "release" else store.not_ended(run, WHY)
        assert stop_notes.get(store.path, run.id) == (None if number else pack_stop(WHY))
        assert store._unsaid == ({run.id: pack_stop(WHY)} if number else {})
        assert not store.has_taken()


def test_a_process_knows_what_it_has_taken_for_a_call(process: Opened) -> None:
    """By the id, by workflow and inputs, or by its number; with its children, the deepest first."""
    store = process()
    root, other = begin(store), begin(store, 2)
    child = begin(store, 3, id="child", parent=root.rid)
    assert [run.rid for run in store.taken_for(asked(1))] == [child.rid, root.rid]
    assert [run.rid for run in store.taken_for(asked(9, id=root.id))] == [child.rid, root.rid]
    assert [run.rid for run in store.taken_for(asked(1, id="another"))] == []
    assert [run.rid for run in store.taken_for(asked(9, rid=child.rid))] == [child.rid]
    assert [run.rid for run in store.taken_for(asked(2))] == [other.rid]
    assert store.taken_for(asked(9)) == []


def test_the_end_of_a_run_is_asked_for_once(process: Opened) -> None:
    """The first moment counts; what has ended is not asked, and a dead process is not told."""
    store, other = process(), process()
    run = begin(store)
    before, by = other.ask_to_stop(run.id, NOW + 1)
    assert (before.stop, by is not None and by.token) == (None, store.holder.token)
    assert other.ask_to_stop(run.id, NOW + 2)[0].stop == NOW + 1
    assert store.run(run.id).stop == NOW + 1
    done = begin(store, 2)
    store.journal.write((), store.end(End(done, "done", b"x"), NOW))
    store.let_go(done)
    assert other.ask_to_stop(done.id, NOW + 1)[1] is None
    assert store.run(done.id).stop is None
    left = begin(store, 3)
    store.release(left, NOW)
    assert other.ask_to_stop(left.id, NOW + 1)[1] is None
    assert store.run(left.id).stop == NOW + 1
    with pytest.raises(NotFound):
        other.ask_to_stop("none", NOW)
