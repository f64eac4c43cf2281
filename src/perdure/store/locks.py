"""Named locks: which process has which, and the fence that grows with every acquisition.

A lock belongs to a process: to its holder, which is alive exactly as long as its flock is taken. Inside the process it
is shared by the runs that name it, and kept apart between its `with perdure.lock(...)` blocks.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.run_effects import Locked
from perdure.core.records import RunRecord, StepRecord, is_time
from perdure.errors import LockLost
from perdure.store.group_commit import Operation
from perdure.store.holders import Holder
from perdure.store.rows import corrupt, sealed, sound
from perdure.store.statements import load


class Asker(msgspec.Struct, frozen=True):
    """Who asks for a lock, within the process: a thread, the task that it executes, the runs that it is inside of.

    `alone`: it shares the lock with no other run of the process.
    """

    thread: int
    task: Any = None
    runs: Collection[int] = ()
    alone: bool = False

    def is_inside(self, owner: Asker) -> bool:
        """Is that the asker itself, or a block that its thread entered before it began to execute tasks?"""
        return self.thread == owner.thread and owner.task in (None, self.task)


def asker(runs: Collection[int] = (), *, alone: bool = False) -> Asker:
    """The caller; to be asked before the transaction, which may be another thread's."""
    # Without asyncio there are no tasks, nor while another thread is about to import it.
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    task = None
    if current_task is not None:
        try:
            task = current_task()
        except RuntimeError:
            task = None  # no loop executes on this thread
    return Asker(threading.get_ident(), task, runs, alone)


class _Claim:
    """What this process has of one lock."""

    __slots__ = ("depth", "fence", "owner", "runs")

    def __init__(self) -> None:
        self.runs: set[int] = set()
        self.owner: Asker | None = None
        self.depth = 0
        self.fence = 0

    @property
    def free(self) -> bool:
        return not self.runs and self.owner is None


class Locks:
    """The named locks of one state file, as this process has them.

    Args:
        state: the state file, for messages.
        holder: this process.
        describe: the run of a number and its newest record, for messages.
    """

    def __init__(
        self,
        state: Path,
        holder: Holder,
        describe: Callable[[apsw.Connection, int], tuple[RunRecord, StepRecord | None]],
    ) -> None:
        self._state = state
        self._holder = holder
        self._describe = describe
        self._sql = load("locks.sql")
        self._claims: dict[str, _Claim] = {}
        self._undo: list[Callable[[], None]] = []  # of the transaction under way
        self.rings = False  # it frees a lock, and a queued run may need that

    @property
    def any(self) -> bool:
        """Does this process have any?"""
        return not all(claim.free for claim in list(self._claims.values()))

    # -- for runs, inside the transaction that takes or ends one ------------------------------------------------------

    def obstacle(
        self,
        connection: apsw.Connection,
        name: str | None,
        who: Asker,
        *,
        block: bool = False,
        rid: int | None = None,
    ) -> Locked | None:
        """What keeps `who` from having the lock at this moment; a dead holder does not, and is dead for good then.

        A suspended run keeps its lock from all but itself (`rid`).
        """
        if name is None:
            return None
        claim = self._claims.get(name)
        if claim is not None:
            entered = claim.owner is not None and not who.is_inside(claim.owner)
            # A block does not share with runs of the process, unless it is inside of one; nor do the runs of a worker.
            others = claim.runs.difference(who.runs, (rid,))
            if entered or (block and others and claim.runs.isdisjoint(who.runs)) or (who.alone and others):
                return Locked(name, None)
        row = self._row(connection, name)
        if row is None:
            return None
        hid, _, since, of_run = row
        if hid is None and of_run is not None and of_run != rid:
            run, last = self._describe(connection, of_run)
            return Locked(name, None, since, run, last) if run.status == "suspended" else None
        if hid is None or self._holder.is_me(hid):
            return None
        found = self._look(connection, name, hid, since, of_run)
        if found is None:
            self._holder.bury(connection, hid)
        return found

    def taken(self, connection: apsw.Connection, name: str, rid: int) -> Locked | None:
        """Who has a lock that a run is to take, as it looks from outside: a living process, or a suspended run."""
        row = self._row(connection, name)
        if row is None or row[3] == rid:
            return None
        hid, _, since, of_run = row
        if hid is not None:
            return self._look(connection, name, hid, since, of_run)
        if of_run is None:
            return None
        run, last = self._describe(connection, of_run)
        return Locked(name, None, since, run, last) if run.status == "suspended" else None

    def of_workflow(self, connection: apsw.Connection, run: RunRecord) -> set[str]:
        """The locks that other runs of its workflow have: those that it needs, too."""
        rows: list[Any] = connection.execute(self._sql["of_workflow"], (run.script, run.workflow, run.rid)).fetchall()
        return {name for (name,) in rows}

    def held(self, connection: apsw.Connection) -> list[Locked]:
        """Every lock that a living process has."""
        rows: list[Any] = connection.execute(self._sql["locks"]).fetchall()
        found = []
        for row in rows:
            name, hid, _, since, rid = self._checked(row)
            if (locked := self._look(connection, name, hid, since, rid)) is not None:
                found.append(locked)
        return found

    def join(self, connection: apsw.Connection, name: str | None, rid: int, now: float) -> None:
        """A run is taken, and its lock with it. Nothing was in the way."""
        if name is None:
            return
        claim = self._claims.setdefault(name, _Claim())
        if claim.free:
            claim.fence = self._take(connection, name, now, rid)
        else:
            row = self._row(connection, name)
            if row is not None:
                hid, fence, since, _ = row
                connection.execute(self._sql["put_lock"], sealed(name, hid, fence, since, rid))
        claim.runs.add(rid)
        self._undo.append(lambda: claim.runs.discard(rid))

    def leave(self, connection: apsw.Connection, rid: int) -> None:
        """A run has ended; the last one lets its lock go."""
        for name, claim in self._claims.items():
            if rid in claim.runs:
                claim.runs.discard(rid)
                if claim.free and self._holder.known is not None:
                    self._free(connection, name, None)

    def suspend(self, connection: apsw.Connection, rid: int) -> None:
        """A run is left to its waits: its lock is no process's, and stays with it. To be called before `forget`."""
        for name, claim in self._claims.items():
            row = self._row(connection, name) if rid in claim.runs else None
            if row is not None:
                _, fence, since, _ = row
                connection.execute(self._sql["put_lock"], sealed(name, None, fence, since, rid))

    def forget(self, rid: int) -> None:
        """This process runs it no more, whatever could be written."""
        for claim in list(self._claims.values()):
            claim.runs.discard(rid)

    # -- for blocks ---------------------------------------------------------------------------------------------------

    def again(self, name: str, who: Asker) -> int | None:
        """Enter once more, if `who` is inside already: returns the fence."""
        claim = self._claims.get(name)
        if claim is None or claim.owner is None or not who.is_inside(claim.owner):
            return None
        claim.depth += 1
        return claim.fence

    def enter(self, name: str, who: Asker, now: float) -> Operation:
        """An operation that takes the lock for a block: returns its fence, or Locked."""

        def operation(connection: apsw.Connection) -> int | Locked:
            obstacle = self.obstacle(connection, name, who, block=True)
            if obstacle is not None:
                return obstacle
            claim = self._claims.setdefault(name, _Claim())
            claim.fence = self._take(connection, name, now, next(iter(who.runs), None))
            claim.owner, claim.depth = who, 1
            self._undo.append(lambda: setattr(claim, "owner", None))
            return claim.fence

        return operation

    def exit(self, name: str) -> Operation | None:
        """Leave a block: an operation that lets the lock go, or None if this was an inner one.

        The operation raises LockLost if another process has had the lock meanwhile.
        """
        claim = self._claims[name]
        claim.depth -= 1
        if claim.depth:
            return None

        def operation(connection: apsw.Connection) -> None:
            mine = self._is_mine(connection, name, claim.fence)
            claim.owner = None
            if not mine:
                raise lost(name)
            if claim.free:
                self._free(connection, name, claim.fence)

        return operation

    def abandon(self, name: str) -> None:
        """A block is over, but that could not be written: within the process the lock is free."""
        self._claims[name].owner = None

    def confirm(self, name: str, fence: int) -> Operation:
        """An operation that answers whether this process still has the lock, acquired under that fence."""
        return lambda connection: self._is_mine(connection, name, fence)

    # -- inside -------------------------------------------------------------------------------------------------------

    def ended(self, committed: bool) -> None:
        """A transaction has ended; a rolled back one took nothing."""
        if not committed:
            for undo in self._undo:
                undo()
        self._undo.clear()
        self.rings = False

    def _look(self, connection: apsw.Connection, name: str, hid: int, since: float, rid: int | None) -> Locked | None:
        """Who has a lock, and for which run; None if its holder is dead."""
        info = self._holder.living(connection, hid)
        if info is None:
            return None
        known = rid is not None and connection.execute(self._sql["lock_run"], (rid, hid)).fetchone() is not None
        return Locked(name, info, since, *(self._describe(connection, rid) if known and rid else (None, None)))

    def _take(self, connection: apsw.Connection, name: str, now: float, rid: int | None) -> int:
        row = self._row(connection, name)
        fence: int = 1 if row is None else row[1] + 1
        hid = self._holder.hid(connection, now)
        connection.execute(self._sql["put_lock"], sealed(name, hid, fence, float(now), rid))
        return fence

    def _free(self, connection: apsw.Connection, name: str, fence: int | None) -> None:
        row = self._row(connection, name)
        if row is None:
            return
        hid, newest, since, _ = row
        if hid == self._holder.known and fence in (None, newest):
            connection.execute(self._sql["put_lock"], sealed(name, None, newest, since, None))
            self.rings = self.rings or connection.execute(self._sql["waits"]).fetchone() is not None

    def _row(self, connection: apsw.Connection, name: str) -> tuple[int | None, int, float, int | None] | None:
        """Holder, fence, since when, and run of a lock."""
        row: Any = connection.execute(self._sql["get_lock"], (name,)).fetchone()
        if row is None:
            return None
        _, hid, fence, since, rid = self._checked(row)
        return hid, fence, since, rid

    def _checked(self, row: Any) -> tuple[Any, ...]:
        if not sound(row) or not is_time(row[3]):
            raise corrupt(self._state)
        return tuple(row[:-1])

    def _is_mine(self, connection: apsw.Connection, name: str, fence: int) -> bool:
        row = self._row(connection, name)
        if row is None:
            return False
        hid, newest, *_ = row
        return hid is not None and self._holder.is_me(hid) and bool(newest == fence)


def lost(name: str) -> LockLost:
    """The error of a block whose lock another process has had meanwhile."""
    return LockLost(
        f"lock {name!r} was taken over by another process while this one had it",
        "check what was done twice meanwhile: its lock file was removed, or its file system does not keep locks",
    )
