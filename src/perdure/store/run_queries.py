"""What a state file says of its runs: the reading side of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw

from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import (
    ENDING_NOTE,
    RunRecord,
)
from perdure.errors import NotFound, StateCorrupt
from perdure.store import pieces
from perdure.store.record_queries import RecordQueries
from perdure.store.rows import checked, corrupt, here

if TYPE_CHECKING:
    from perdure.core.policies.verdicts import Stop


class RunQueries(RecordQueries):
    """Questions about runs, and their records."""

    @property
    def place(self) -> str:
        """Where the runs are, for messages: "in FILE", or "on HOST:PORT"."""
        return f"in {self.path}"

    @property
    def counts_queues(self) -> bool:
        """Does it know all runs of a queue, and who is next?"""
        return True

    def stopped_by(self, run: RunRecord) -> Stop | None:
        """Why a run was left when it was last executed; None if that is not known, or it is under way or done."""
        from perdure.core.policies.verdicts import unpack_stop
        from perdure.store import stop_notes

        return unpack_stop(stop_notes.get(self.path, run.id)) or unpack_stop(run.stopped)

    def runs(
        self, *, status: str | None = None, workflow: str | None = None, children: bool = False, most: int = 100
    ) -> list[RunRecord]:
        """Runs, newest first."""
        # Where nearly all runs have that status, those that its index leads to would have to be sorted.
        by_index = status not in (None, "done", "cancelled")
        statement = self._sql["list_runs"].replace(":filter", self._sql["of_status" if by_index else "of_any_status"])
        if status == "running":
            statement = self._sql["list_running"].replace(":list", statement.partition("WHERE")[0])
        given = (status, workflow, children, most)
        found = self.journal.read(lambda connection: connection.execute(statement, given).fetchall())
        return [here(self.whole(checked(RunRecord, row, self.path)), self.path) for row in found]

    def run(self, id: str) -> RunRecord:
        """The run of that id.

        Raises:
            NotFound: there is none.
            StateCorrupt: its row is not as it was written.
        """

        def question(connection: apsw.Connection) -> RunRecord | None:
            found = self._one(connection, "find_id", id)
            try:
                return None if found is None else pieces.whole(connection, self._run(connection, found[0]), self.path)
            except StateCorrupt as error:
                from perdure.core.execution.run_refusals import with_way_out

                with_way_out(error, self.top_of(connection, found[0]) or id)
                raise

        run: RunRecord | None = self.journal.read(question)
        if run is None:
            raise NotFound(f"there is no run {id!r} {self.place}", "list the runs with `perdure ps`")
        return here(run, self.path)

    def newest(self, run: RunRecord) -> RunRecord:
        """What the id of a run stands for: its newest fork, unless that was cancelled and the run itself was done."""
        found: RunRecord = self.journal.read(
            lambda connection: pieces.whole(connection, self._newest(connection, run), self.path)
        )
        return here(found, self.path)

    def version(self) -> int:
        """Another number after each change that another connection has made to the file."""
        found: int = self.journal.read(lambda connection: connection.pragma("data_version"))
        return found

    def run_by_number(self, rid: int) -> RunRecord:
        """The run of that row number."""
        run: RunRecord = self.journal.read(
            lambda connection: pieces.whole(connection, self._run(connection, rid), self.path)
        )
        return here(run, self.path)

    def children(self, rid: int) -> list[str]:
        """The ids of a run's child runs."""
        return [id for (id,) in self._all("children", rid)]

    def count_children(self, rid: int) -> int:
        """How many child runs a run has."""
        number: int = self._all("count_children", rid)[0][0]
        return number

    def family(self, rid: int) -> list[RunRecord]:
        """A run and all its child runs, however deep."""

        def question(connection: apsw.Connection) -> list[RunRecord]:
            return [self._run(connection, one) for one in self.family_in(connection, rid)]

        found: list[RunRecord] = self.journal.read(question)
        return [here(run, self.path) for run in found]

    def unended(self, rid: int) -> list[RunRecord]:
        """The child runs that were left in their middle, and those that failed and have something to be put away."""
        return [self.run_by_number(child) for (child,) in self._all("unended", rid)]

    def undoing(self, rid: int) -> list[RunRecord]:
        """The child runs whose undoing was broken off."""
        return [self.run_by_number(child) for (child,) in self._all("undoing", rid, ENDING_NOTE)]

    def undoable(self, rid: int) -> list[RunRecord]:
        """The child runs, done or unfinished, that have made a call with undo=, or a child run of theirs has."""
        return [self.run_by_number(child) for (child,) in self._all("undoable", rid)]

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Who is running it at this moment, or None: the process died that had it.

        If that process has ended since the run was looked at, the run is looked at once more: one that was taken on,
        ended or given back meanwhile was running when `run` was read, and counts as that.
        """
        if run.holder is None:
            return None
        hid = run.holder

        def question(connection: apsw.Connection) -> HolderInfo | None:
            if (info := self.holder.living(connection, hid)) is not None:
                return info
            row = self._one(connection, "get_run", run.rid)
            now = None if row is None else checked(RunRecord, row, self.path)
            is_left = now is not None and (now.status, now.holder, now.epoch) == (run.status, hid, run.epoch)
            return None if is_left else self.holder.known_as(connection, hid)

        info: HolderInfo | None = self.journal.read(question)
        return info

    def unfinished(self, workflow: str) -> list[RunRecord]:
        """The newest unfinished runs of a workflow that have no name of their own."""
        return [checked(RunRecord, row, self.path) for row in self._all("unfinished", workflow)]

    def unfinished_of_others(self, workflow: str, key: bytes, script: str) -> list[RunRecord]:
        """The newest unfinished runs of a script with these inputs, of other workflows than that one."""
        found = self._all("unfinished_of_others", workflow, key, script)
        return [checked(RunRecord, row, self.path) for row in found]

    def check(self) -> list[str]:
        """SQLite's own integrity check; an empty list is a clean file."""
        found = self.journal.read(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        return [line for (line,) in found if line != "ok"]

    # -- in a transaction ---------------------------------------------------------------------------------------------

    def run_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run of that row number, as it is stored."""
        return self._run(connection, rid)

    def root_in(self, connection: apsw.Connection, rid: int) -> RunRecord:
        """The run that the one of that row number is a child of, however deep; itself if it stands for itself."""
        run = self._run(connection, rid)
        return [run, *self.parents_in(connection, run)][-1]

    def parents_in(self, connection: apsw.Connection, run: RunRecord) -> Iterator[RunRecord]:
        """The run that a run is a child of, the one that this is a child of, and so on to the top.

        Raises:
            StateCorrupt: they are a circle, which perdure has not written, whatever the checksums say.
        """
        return self._above(run, partial(self._run, connection))

    def parents(self, run: RunRecord) -> Iterator[RunRecord]:
        """The same outside of a transaction.

        Raises:
            StateError: the file cannot be read, or they are a circle.
        """
        return self._above(run, self.run_by_number)

    def _above(self, run: RunRecord, read: Callable[[int], RunRecord]) -> Iterator[RunRecord]:
        seen = {run.rid}
        while run.parent is not None:
            run = read(run.parent)
            if run.rid in seen:
                raise corrupt(self.path)
            seen.add(run.rid)
            yield run

    def family_in(self, connection: apsw.Connection, rid: int) -> list[int]:
        """The numbers of a run and of all its child runs, however deep."""
        rows: list[Any] = connection.execute(self._sql["family"], (rid,)).fetchall()
        return [one for (one,) in rows]

    def top_of(self, connection: apsw.Connection, rid: int) -> str | None:
        """The id of the run that stands for itself and that the one of that number is part of, also if it is damaged.

        None if there is none any more.
        """
        found = self._one(connection, "top", rid)
        return None if found is None else found[0]

    def run_by_id(self, connection: apsw.Connection, id: str) -> RunRecord:
        """The run of that id, as it is stored.

        Raises:
            NotFound: there is none.
        """
        found = self._one(connection, "find_id", id)
        if found is None:
            raise NotFound(f"there is no run {id!r} {self.place}", "list the runs with `perdure ps`")
        return self._run(connection, found[0])

    # -- inside -------------------------------------------------------------------------------------------------------

    def _run(self, connection: apsw.Connection, rid: int) -> RunRecord:
        row = self._one(connection, "get_run", rid)
        if row is None:
            raise StateCorrupt(
                f"run number {rid} is missing in {self.path}", "restore a backup: the file was edited from outside"
            )
        return checked(RunRecord, row, self.path)

    def _newest(self, connection: apsw.Connection, run: RunRecord) -> RunRecord:
        line = [run]
        while (newer := line[-1].superseded_by) is not None:  # a fork is newer than its source: RunRecord.intact
            line.append(self._run(connection, newer))
        found = line.pop()
        while line:
            run = line.pop()
            found = run if found.status == "cancelled" and run.status == "done" else found
        return found
