"""Who has a named lock, as other processes and `perdure ps` see it, and what a block inside of a block means."""

from __future__ import annotations

import os
from typing import Any

import pytest

from conftest import Opened
from perdure.core.execution.run_effects import End, Locked, Start, Taken
from perdure.core.records import RunRecord
from perdure.errors import LockLost, StateCorrupt
from perdure.store.locks import Asker
from perdure.store.runs import Store

ME = Asker(1)


def begin(store: Store, key: int, lock: str = "nightly") -> RunRecord:
    names = {"script": "s.py", "path": "/s.py", "workflow": "w", "fresh": f"w-{key}"}
    start = Start(**names, key=key.to_bytes(16, "big"), input=b"", lock=lock)
    taken = store.journal.write((), store.begin(start, 1000.0))
    assert isinstance(taken, Taken)
    return taken.run


def end(store: Store, run: RunRecord) -> None:
    store.journal.write((), store.end(End(run, "done", b"x"), 1000.0))
    store.let_go(run)


def enter(store: Store, who: Asker = ME, name: str = "nightly") -> Any:
    return store.journal.write((), store.enter(name, who, 1000.0))


def leave(store: Store, name: str = "nightly") -> bool:
    """Leave a block; was it the outermost one?"""
    operation = store.locks.exit(name)
    if operation is not None:
        store.journal.write((), operation)
    return operation is not None


def held(store: Store) -> list[tuple[str, str | None]]:
    """The locks that living processes have, and the run that each is for."""
    return [(one.name, one.run and one.run.id) for one in store.journal.read(store.locks.held)]


def taken(store: Store, rid: int = 99, name: str = "nightly") -> Locked | None:
    found: Locked | None = store.journal.read(lambda db: store.locks.taken(db, name, rid))
    return found


def die(store: Store) -> None:
    """The kernel closes what a dead process had open; its lock file stays."""
    assert store.holder._liveness._descriptor is not None
    os.close(store.holder._liveness._descriptor)
    store.holder._liveness._descriptor = None


def test_the_locks_of_living_processes_are_listed(process: Opened) -> None:
    """With the run that each is for; what was let go, and what a dead process had, is not."""
    mine, other, viewer = process(), process(), process()
    assert held(viewer) == []
    run = begin(mine, 1)
    enter(other, name="weekly")
    assert held(viewer) == [("nightly", run.id), ("weekly", None)]
    end(mine, run)
    assert held(viewer) == [("weekly", None)]
    die(other)
    assert held(viewer) == []


def test_a_lock_is_taken_from_outside_by_a_living_process_or_a_suspended_run(process: Opened) -> None:
    """Not by the run itself that asks, nor by one that is over or whose process is dead."""
    mine, viewer = process(), process()
    assert taken(viewer) is None
    run = begin(mine, 1)
    found = taken(viewer)
    assert found is not None
    assert found.by is not None
    assert found.run is not None
    assert found.run.id == run.id
    assert taken(viewer, run.rid) is None

    mine.journal.write((), lambda db: mine.locks.suspend(db, run.rid))
    assert taken(viewer) is None  # in the file, it is no process's, and the run is not suspended yet
    mine.journal.write((), lambda db: mine.put_run(db, mine.run_in(db, run.rid), status="suspended", holder=None))
    found = taken(viewer)
    assert found is not None
    assert found.by is None
    assert found.run is not None
    assert held(viewer) == []


def test_a_lock_that_was_let_go_is_nobodys(process: Opened) -> None:
    """Its row stays, for the fence."""
    mine, viewer = process(), process()
    enter(mine)
    leave(mine)
    assert taken(viewer) is None
    assert enter(viewer) == 2


def test_a_second_run_of_a_process_keeps_the_fence(process: Opened) -> None:
    """The row names the run that came last; the lock is one, and free when both are over."""
    mine, viewer = process(), process()
    first, second = begin(mine, 1), begin(mine, 2)
    assert held(viewer) == [("nightly", second.id)]
    end(mine, second)
    assert mine.locks.any
    assert taken(viewer) is not None
    end(mine, first)
    assert not mine.locks.any
    assert enter(viewer) == 2


def test_a_block_in_a_block_is_the_same_block(process: Opened) -> None:
    """Of the same thread and task, or of a task of the thread; the lock goes with the outermost one."""
    mine, other = process(), process()
    fence = enter(mine)
    assert mine.locks.again("nightly", Asker(1, "task")) == fence
    assert mine.locks.again("nightly", Asker(2)) is None
    assert mine.locks.again("weekly", ME) is None
    assert not leave(mine)
    assert isinstance(enter(other), Locked)
    assert leave(mine)
    assert enter(other) == fence + 1
    assert mine.locks.again("nightly", ME) is None


def test_a_task_does_not_share_with_another_of_its_thread(process: Opened) -> None:
    """Each has its own block."""
    mine = process()
    fence = enter(mine, Asker(1, "one"))
    assert mine.locks.again("nightly", Asker(1, "one")) == fence
    assert mine.locks.again("nightly", Asker(1, "two")) is None
    assert isinstance(enter(mine, Asker(1, "two")), Locked)


def test_a_block_knows_whether_it_still_has_its_lock(process: Opened) -> None:
    """Under its own fence only, and not when another process has it, or nobody ever had."""
    mine, other = process(), process()

    def has(store: Store, fence: int, name: str = "nightly") -> bool:
        return bool(store.journal.read(store.locks.confirm(name, fence)))

    fence = enter(mine)
    assert has(mine, fence)
    assert not has(mine, fence + 1)
    assert not has(mine, fence, "weekly")
    assert not has(other, fence)
    die(mine)
    enter(other)
    assert not has(mine, fence)
    with pytest.raises(LockLost):
        leave(mine)
    assert not mine.locks.any
    assert has(other, fence + 1)


def test_a_block_that_could_not_be_left_in_the_file_is_over_in_the_process(process: Opened) -> None:
    """Otherwise the process would lock itself out for good."""
    mine = process()
    fence = enter(mine)
    mine.locks.abandon("nightly")
    assert not mine.locks.any
    assert enter(mine, Asker(2)) == fence + 1


def test_a_run_that_shares_its_lock_with_nobody(process: Opened) -> None:
    """A worker's runs are kept apart, though they are of one process; those above a run are no others."""
    mine = process()
    run = begin(mine, 1)

    def obstacle(who: Asker, rid: int) -> Locked | None:
        found: Locked | None = mine.journal.read(lambda db: mine.locks.obstacle(db, "nightly", who, rid=rid))
        return found

    assert obstacle(ME, 99) is None
    assert obstacle(Asker(1, alone=True), 99) is not None
    assert obstacle(Asker(1, alone=True), run.rid) is None
    assert obstacle(Asker(1, runs=[run.rid], alone=True), 99) is None
    mine.locks.forget(run.rid)
    assert obstacle(Asker(1, alone=True), 99) is None


def test_leaving_one_lock_leaves_the_others(process: Opened) -> None:
    """Runs with locks of other names go on, and a process that is not known in the file frees nothing."""
    mine, viewer = process(), process()
    first, second = begin(mine, 1), begin(mine, 2, "weekly")
    end(mine, first)
    assert held(viewer) == [("weekly", second.id)]


def test_a_process_that_was_introduced_in_vain_is_introduced_again(process: Opened) -> None:
    """What was rolled back is in no file: the next transaction has to say again who it is."""
    store, other = process(), process()

    def fails(connection: Any) -> None:
        store.holder.hid(connection, 1000.0)
        raise LookupError

    with pytest.raises(LookupError):
        store.journal.write((), fails)
    assert store.holder.known is None
    hid = store.journal.write((), lambda connection: store.holder.hid(connection, 1000.0))
    assert other.journal.read(lambda connection: other.holder.living(connection, hid)) is not None
    assert store.holder.is_me(hid)
    assert not other.holder.is_me(hid)
    with pytest.raises(StateCorrupt):
        other.journal.read(lambda connection: other.holder.living(connection, hid + 1))


def test_a_lock_that_could_not_be_taken_is_as_it_was(process: Opened) -> None:
    """A transaction that was rolled back takes none, for a block or for a run."""
    store = process()

    def fails(connection: Any) -> None:
        assert isinstance(store.enter("nightly", ME, 1000.0)(connection), int)
        store.locks.join(connection, "weekly", 7, 1000.0)
        raise LookupError

    with pytest.raises(LookupError):
        store.journal.write((), fails)
    assert held(store) == []
    assert store.locks.again("nightly", ME) is None
    assert enter(store) == 1
    assert enter(store, name="weekly") == 1
