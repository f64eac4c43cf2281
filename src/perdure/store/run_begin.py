"""Find or make a run, and take it: from then on it is this process's to execute."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from perdure.config.script_identity import source_digest
from perdure.core.execution.run_effects import Answer, Asleep, Finished, Held, Locked, Other, Start, Superseded, Taken
from perdure.core.records import RunRecord
from perdure.errors import RunError
from perdure.store import parking, pieces, sessions, spending
from perdure.store.group_commit import Operation
from perdure.store.locks import Asker, asker
from perdure.store.rows import corrupt, intact
from perdure.store.run_rows import RunRows

if TYPE_CHECKING:
    from perdure.store import queue


@cache
def queues() -> Any:
    """The module of queues, which most scripts do without; to import it in each call costs as much as a small query."""
    from perdure.store import queue

    return queue


class RunBegin(RunRows):
    """What takes runs of one state file, for one process."""

    def begin(self, start: Start, now: float) -> Operation:
        """An operation that finds or makes a run and takes it: returns one of core.execution.run_effects.Answer."""
        who = asker()

        def operation(connection: apsw.Connection) -> Answer:
            answer = find(connection)
            if isinstance(answer, Locked):
                return answer
            return msgspec.structs.replace(answer, run=pieces.whole(connection, answer.run, self.path))

        def find(connection: apsw.Connection) -> Answer:
            self.check_sound(connection)
            if start.rid is not None:
                run = self._run(connection, start.rid)
                if run.superseded and run.superseded_by is not None:
                    return Superseded(run, self._run(connection, run.superseded_by))
                return self._take(connection, run, start, now, who)
            if start.id is not None:
                found = self._one(connection, "find_id", start.id)
                if found is None and start.once and not start.named:  # a child run
                    found = self._same(connection, start)
            else:
                found = self._same(connection, start)
            if found is None:
                self._refuse_damaged(connection, start)
                return self._add(connection, start, now, who)
            run = self._newest(connection, self._run(connection, found[0]))
            if (run.key, run.workflow) != (start.key, start.workflow):
                return Other(run)
            return self._take(connection, run, start, now, who)

        return operation

    def find_same(self, connection: apsw.Connection, start: Start) -> RunRecord | None:
        """The run of the same inputs, if they are run to their end once; None if there is none.

        A child run that nobody executes stands for itself from then on, so that a worker may go on with it; so does one
        that is done, since its result is not its parent's alone any more.
        """
        found = self._same(connection, start)
        if found is None:
            return None
        run = self._newest(connection, self._run(connection, found[0]))
        if run.parent is None or run.status not in ("running", "failed", "done") or run.rid in self._active:
            return run
        if run.holder is not None and self.holder.living(connection, run.holder) is not None:
            return run
        return self.put_run(connection, run, parent=None)

    def is_run_once(self, workflow: str, key: bytes, script: str) -> bool:
        """Is there a run that stands for all of these inputs, if they are run to their end once?"""
        found: Any = self.journal.read(lambda connection: self._one(connection, "find_once", workflow, key, script))
        return found is not None

    def _same(self, connection: apsw.Connection, start: Start) -> Any:
        which = "find_once" if start.once else "find_unfinished"
        return self._one(connection, which, start.workflow, start.key, start.script)

    def _add(self, connection: apsw.Connection, start: Start, now: float, who: Asker) -> Taken | Locked:
        locked = self.locks.obstacle(connection, start.lock, who)
        if locked is not None:
            return locked
        id = start.id or start.fresh
        hid = self.holder.hid(connection, now)
        rid = self._next_run(connection)
        names = (rid, id, start.script, start.path, start.workflow, start.key, start.named, start.parent)
        run = RunRecord(*names, "running", hid, 0, start.input, None, now, now, None, 0, timed_from=now)
        run = self.insert_run(connection, run)
        self.keep_defaults(connection, start)
        if start.line:
            from perdure.store import command_lines

            command_lines.put(connection, rid, start.line)
        session = sessions.begin(connection, run, source_digest(start.path), first=True)
        self._hold(connection, run, session, start, now)
        if run.parent is None:
            self._nudges[rid] = self.holder.nudges()
        return Taken(run, resumed=False)

    def _refuse_damaged(self, connection: apsw.Connection, start: Start) -> None:
        """No run was found. Is that so because the columns or the index that find it are damaged?

        Raises:
            StateCorrupt: one of the newest runs of these inputs is not as it was written, or it should have been found.
        """
        for row in connection.execute(self._sql["same_inputs"], (start.key,)).fetchall():
            run = intact(RunRecord, row)
            if run is None:
                if not {start.id, start.workflow, start.script}.isdisjoint(row[1:5]):
                    from perdure.core.execution.run_refusals import with_way_out

                    top = self._one(connection, "top_by_id", row[1])
                    raise with_way_out(corrupt(self.path), top[0])
            elif run.id == start.id or (
                start.id is None
                and (run.workflow, run.script, run.named, run.parent) == (start.workflow, start.script, False, None)
                and run.status in ("running", "failed", "suspended")
                and run.superseded_by is None
            ):
                raise corrupt(self.path)

    def _take(
        self,
        connection: apsw.Connection,
        run: RunRecord,
        start: Start,
        now: float,
        who: Asker,
        served: queue.Served | None = None,
    ) -> Taken | Held | Locked | Finished | Asleep:
        queue = queues()
        elsewhere = start.rid is None and run.parent != start.parent  # it is run once, and was called from there first
        if run.status in ("done", "cancelled") or (run.status == "parked" and start.rid is None):
            if elsewhere and run.status == "done" and run.parent is not None:
                # Others stand on what it has done: it is not undone with the run that was the first to call it.
                run = self.put_run(connection, run, parent=None)
            return Finished(run)
        if run.rid in self._active:
            if start.parent is not None and run.rid in self.lineage(start.parent):
                raise RunError(
                    f"run {run.id} calls its own workflow with its own inputs, which are run once: it waits for itself",
                    "call it with other inputs, or without once=",
                )
            return Held(run, None, self._last(connection, run.rid))
        if run.status == "queued" and run.hold == queue.AFTER_OTHERS:
            from perdure.core.execution.run_refusals import after_others

            raise after_others(run.id)
        if run.status == "suspended" and start.rid is None:
            ready = (
                not elsewhere
                if start.parent is not None
                else run.parent is None and self._is_ready(connection, run, start, now)
            )
            if not ready:
                return Asleep(run)
        if run.holder is not None and not self.holder.is_me(run.holder):
            info = self.holder.living(connection, run.holder)
            if info is not None:
                return Held(run, info, self._last(connection, run.rid))
        locked = self.locks.obstacle(connection, start.lock, who, rid=run.rid)
        if locked is not None:
            return locked
        said: tuple[str, ...] = ()
        if run.status != "queued" and parking.are_there(connection):
            from perdure.store import due_letters

            if start.parent is None and (redriven := due_letters.redriven(self, connection, run.rid)) is not None:
                letter, by = redriven
                return Held(run, by, None, letter)
            if not start.ends:
                said = due_letters.gone_on_with(self, connection, run, now)
        died = None
        if run.holder is not None and not self.holder.is_me(run.holder):
            died = self.holder.number_here(connection, run.holder)
            from perdure.store import deaths

            deaths.taken_from(self, connection, run.holder)
        queued = run.status == "queued"
        if not queued:  # it may have spent something, and have been left with a note
            self._spend_files += spending.take_over(connection, self.path, self.holder.token)
        hid = self.holder.hid(connection, now)
        changed: dict[str, Any] = {
            "status": "running",
            "holder": hid,
            "path": start.path,
            "started": now,
            "ended": None,
            "output": None,
            "stopped": None,
            "timed_from": self._timed_from(connection, run, now),
            "wake": None,
            "hold": None,
            "turn": None,
        }
        if elsewhere:  # whoever goes on with it has it as a child run from now on
            changed["parent"] = start.parent
        if queued:
            queue.begun(self, connection, run, now, served)
        if run.hold is not None:
            self._holds[run.rid] = run.hold
        run = self.put_run(connection, run, **changed)
        digest = source_digest(start.path) if served is None else served.digest(start.path)
        session = sessions.begin(connection, run, digest, first=queued)
        if start.line is not None:
            from perdure.store import command_lines

            command_lines.put(connection, run.rid, start.line)
        if not queued:
            from perdure.store import stop_notes

            stop_notes.remove(self.path, run.id)
        self._hold(connection, run, session, start, now)
        return Taken(run, resumed=not queued, died=died, said=said)

    def _is_ready(self, connection: apsw.Connection, run: RunRecord, start: Start, now: float) -> bool:
        """Is a suspended run to be gone on with: is it due soon, or was its script edited since it was taken last?

        So it is if a suspended run is due that it waits for, and calls: that may be gone on with in it.
        """
        soon = now + start.patience
        if start.patience == float("inf") or (run.wake is not None and run.wake <= soon):
            return True
        if self._one(connection, "awaited_is_due", run.rid, soon) is not None:
            return True
        try:
            return os.stat(start.path).st_mtime > run.started
        except OSError:
            return False

    def _timed_from(self, connection: apsw.Connection, run: RunRecord, now: float) -> float:
        """Since when the timeout of a run counts that goes on: anew after a failure, its own or its parent's."""
        if run.status not in ("running", "suspended") or run.timed_from is None:
            return now
        above = None if run.parent is None else self._run(connection, run.parent).timed_from
        return run.timed_from if above is None else max(run.timed_from, above)

    def take_over(
        self,
        connection: apsw.Connection,
        run: RunRecord,
        start: Start,
        now: float,
        who: Asker,
        served: queue.Served | None = None,
    ) -> Taken | Held | Locked | Finished | Asleep:
        """Take a run that was read in this transaction, unless it has ended, or it or its lock is another's.

        `served` is what others have been taken with before, in the same transaction.
        """
        return self._take(connection, run, start, now, who, served)

    def lineage(self, rid: int) -> list[int]:
        """A run that this process executes, the run that it is a child of, and so on."""
        line = [rid]
        while (parent := self._active.get(line[-1])) is not None:
            line.append(parent)
        return line

    def _hold(
        self, connection: apsw.Connection, run: RunRecord, session: sessions.Row | None, start: Start, now: float
    ) -> None:
        self._active[run.rid] = start.parent
        self._as_taken[run.rid] = run, session
        self._taken.append(run.rid)
        self.locks.join(connection, start.lock, run.rid, now)
