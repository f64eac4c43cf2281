"""Named locks, decided: two stores on one file are two processes, as far as the file and its locks can tell."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Opened
from perdure import step, workflow
from perdure.api.lock import lock
from perdure.core.execution.run_effects import Begin, End, Held, Locked, Start, Taken
from perdure.core.records import Row, sealed_row
from perdure.engines.temporal.unsupported import refuse_locks
from perdure.errors import LockLost, OptionError
from perdure.store.forks import fork
from perdure.store.locks import asker
from perdure.store.runs import Store


def start(key: int = 0, lock: str | None = "nightly") -> Start:
    names = {"script": "s.py", "path": "/s.py", "workflow": "w", "fresh": f"w-{key}"}
    return Start(**names, key=key.to_bytes(16, "big"), input=b"", lock=lock)


def begin(store: Store, start: Start, now: float = 1000.0) -> object:
    return store.journal.write((), store.begin(start, now))


def end(store: Store, taken: object, status: str = "done") -> None:
    assert isinstance(taken, Taken)
    try:
        store.journal.write((), store.end(End(taken.run, status, b"x"), 1000.0))
    finally:
        store.let_go(taken.run)


def enter(store: Store, name: str = "nightly", now: float = 1000.0) -> object:
    return store.journal.write((), store.enter(name, asker(), now))


def leave(store: Store, name: str = "nightly") -> None:
    operation = store.locks.exit(name)
    if operation is not None:
        store.journal.write((), operation)


def row(taken: object, seq: int = 1) -> Row:
    assert isinstance(taken, Taken)
    return sealed_row((taken.run.rid, seq, "work", bytes(16), seq, "done", b"in", b"out", 0.0, 0, 1, 0, "step"))


def die(store: Store) -> None:
    """The kernel closes what a dead process had open; its lock file stays."""
    import os

    assert store.holder._liveness._descriptor is not None
    os.close(store.holder._liveness._descriptor)
    store.holder._liveness._descriptor = None


def test_runs_of_one_process_share_a_lock(process: Opened) -> None:
    """Others are kept out until the last of them has ended."""
    mine, other = process(), process()
    first, second = begin(mine, start(1)), begin(mine, start(2))
    assert isinstance(begin(other, start(3)), Locked)
    end(mine, first)
    found = begin(other, start(3))
    assert isinstance(found, Locked)
    assert found.by is not None
    assert found.run is not None
    end(mine, second, "failed")
    assert isinstance(begin(other, start(3)), Taken)


def test_a_run_without_the_lock_is_not_kept_out(process: Opened) -> None:
    """Nor one with another."""
    mine, other = process(), process()
    begin(mine, start(1))
    assert isinstance(begin(other, start(2, None)), Taken)
    assert isinstance(begin(other, start(3, "weekly")), Taken)


def test_a_run_that_is_kept_out_is_not_made(process: Opened) -> None:
    """Nothing is left of it in the file."""
    mine, other = process(), process()
    begin(mine, start(1))
    begin(other, start(2))
    assert len(other.runs()) == 1


def test_the_fence_grows_with_each_acquisition(process: Opened) -> None:
    """Whoever acquires: blocks and runs, of living and of dead processes."""
    mine, other = process(), process()
    assert enter(mine) == 1
    leave(mine)
    taken = begin(other, start(1))
    end(other, taken)
    assert enter(other) == 3
    die(other)
    assert enter(mine) == 4


@pytest.mark.parametrize("now", [0.0, 1000.0, 4e9])
def test_the_clock_does_not_matter(process: Opened, now: float) -> None:
    """It may jump as it likes: a living holder keeps its lock, a dead one has lost it."""
    mine, other = process(), process()
    enter(mine, now=1000.0)
    assert isinstance(enter(other, now=now), Locked)
    assert isinstance(begin(other, start(1), now=now), Locked)
    die(mine)
    assert enter(other, now=now) == 2


def test_a_holder_that_lost_its_lock_cannot_write(process: Opened, tmp_path: Path) -> None:
    """Its lock file was removed, somebody took the lock: nothing that it writes is saved, though its run is its own."""
    mine, other = process(), process()
    taken = begin(mine, start(1))
    mine.journal.write((row(taken),))
    shutil.rmtree(tmp_path / "state.db-locks")
    assert isinstance(begin(other, start(2)), Taken)
    with pytest.raises(LockLost):
        mine.journal.write((row(taken, 2),))
    with pytest.raises(LockLost):
        mine.journal.write((row(taken, 2), row(taken, 3)))
    with pytest.raises(LockLost):
        end(mine, taken)
    assert isinstance(taken, Taken)
    assert [seq for seq, *_ in other.index(taken.run.rid)] == [1]
    assert other.run(taken.run.id).status == "running"


def test_a_holder_that_lost_its_run_cannot_write(process: Opened, tmp_path: Path) -> None:
    """Not while the other has it, nor when that one has ended it."""
    mine, other = process(), process()
    taken = begin(mine, start(1, None))
    shutil.rmtree(tmp_path / "state.db-locks")
    again = begin(other, start(1, None))
    with pytest.raises(LockLost):
        mine.journal.write((row(taken),))
    end(other, again)
    with pytest.raises(LockLost):
        mine.journal.write((row(taken),))
    with pytest.raises(LockLost):
        end(mine, taken)


def test_nothing_is_taken_with_a_lock_file_that_nobody_sees(process: Opened, tmp_path: Path) -> None:
    """Neither a run nor a lock; a process that holds nothing makes itself a new one, and goes on."""
    mine, other = process(), process()
    taken = begin(mine, start(1))
    shutil.rmtree(tmp_path / "state.db-locks")
    for attempt in (lambda: begin(mine, start(2)), lambda: enter(mine, "else")):
        with pytest.raises(LockLost):
            attempt()
    end(mine, taken)
    assert isinstance(begin(mine, start(2)), Taken)
    assert isinstance(begin(other, start(3)), Locked)


def test_a_rolled_back_transaction_took_no_lock(process: Opened) -> None:
    """What is in memory goes back with it."""
    mine, other = process(), process()
    begin(mine, start(9, None))  # introduces the process

    class Nope(BaseException):
        pass

    def fail(operation: Callable[..., object]) -> Callable[..., object]:
        def both(connection: object) -> None:
            operation(connection)
            raise Nope

        return both

    for operation in (mine.begin(start(1), 0.0), mine.enter("nightly", asker(), 0.0)):
        with pytest.raises(Nope):
            mine.journal.write((), fail(operation))
    again = begin(mine, start(4))
    assert isinstance(again, Taken), "no block of this process has it"
    end(mine, again)
    assert isinstance(begin(other, start(2)), Taken)
    assert isinstance(begin(mine, start(3)), Locked)


def test_a_fork_of_a_run_can_be_made_by_a_process_that_runs_others(process: Opened) -> None:
    """The fence lets it write to what it has made."""
    mine = process()
    taken = begin(mine, start(1))
    mine.journal.write((row(taken),))
    end(mine, taken)
    assert isinstance(taken, Taken)
    mine.journal.write((), fork(mine, taken.run, "copy", 2, 0.0, lambda *call: "none"))
    assert [seq for seq, *_ in mine.index(mine.run("copy").rid)] == [1]
    assert mine.run("copy").holder is None


def test_a_block_is_kept_apart_from_runs_of_its_process(process: Opened) -> None:
    """Unless it is inside of one of them, or inside of a child of one."""
    mine = process()
    taken = begin(mine, start(1))
    assert isinstance(taken, Taken)
    assert isinstance(enter(mine), Locked)
    inside = asker(mine.lineage(taken.run.rid))
    assert mine.journal.write((), mine.enter("nightly", inside, 0.0)) == 2


def test_a_lock_stays_with_a_run_that_is_left_to_its_waits(process: Opened) -> None:
    """Also when the process is gone that had it."""
    mine, other = process(), process()
    begin(mine, start(1))
    rid = mine.run("w-1").rid
    mine.journal.write((), lambda db: mine.locks.suspend(db, rid))
    mine.journal.write((), lambda db: mine.put_run(db, mine.run_in(db, rid), status="suspended", holder=None))
    mine.close()
    assert isinstance(begin(other, start(2)), Locked)


def test_held_is_told_before_locked(process: Opened) -> None:
    """Who has the run is nearer to the question than who has the lock."""
    mine, other = process(), process()
    begin(mine, start(1))
    assert isinstance(begin(other, start(1)), Held)
    assert Begin(start(1)).start.lock == "nightly"


@pytest.mark.parametrize("name", ["", "two\nlines", 7, None])
def test_names_are_checked(name: object) -> None:
    """At once, for blocks and workflows."""
    with pytest.raises(OptionError):
        lock(name)  # type: ignore[arg-type]
    if name is not None:
        with pytest.raises(OptionError):
            workflow(lock=name)(lambda: None)  # type: ignore[call-overload]


def test_what_to_do_if_locked_is_checked() -> None:
    """Near misses included; a timeout makes sense for those that wait."""
    with pytest.raises(OptionError):
        lock("x", if_locked="Wait")  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        lock("x", timeout=3)

    @workflow
    def nightly() -> None: ...

    with pytest.raises(OptionError):
        nightly.with_options(if_locked="never")  # type: ignore[arg-type]


def test_a_cluster_refuses_what_it_cannot_keep() -> None:
    """Before anything is asked of it."""

    @workflow(lock=True)
    def locked() -> None: ...

    @workflow(if_locked="wait")
    def waiting() -> None: ...

    @workflow
    def plain() -> None: ...

    for refused in (locked, waiting, plain.with_options(if_locked="fail")):
        with pytest.raises(OptionError):
            refuse_locks(refused._spec)
    refuse_locks(plain._spec)


def test_options_do_not_change_the_workflow_itself() -> None:
    """with_options makes another one; the id given before is kept."""

    @step
    def work() -> None: ...

    @workflow(lock="a")
    def nightly() -> None:
        work()

    told = nightly.with_options(id="x").with_options(if_locked="fail")
    assert told._id == "x"
    assert (told._spec.rules.if_locked, told._spec.rules.lock) == ("fail", "a")
    assert nightly._spec.rules.if_locked == "skip"
