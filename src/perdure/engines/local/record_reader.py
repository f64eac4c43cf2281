"""Reads the records of a run ahead, for branches that ask for them one after the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import starmap
from operator import attrgetter, itemgetter

from perdure.core.execution.known_records import IndexPage
from perdure.core.records import SEQ, AttemptRecord, Row, StepRecord
from perdure.core.values.pieces import MAY_BE_APART
from perdure.errors import StateCorrupt
from perdure.store import record_index
from perdure.store.record_queries import CHUNK
from perdure.store.rows import corrupt
from perdure.store.runs import Store

KEPT = 8 * CHUNK

_INDEX = attrgetter("seq", "name", "key", "n", "status", "kind")
_OWN = itemgetter(slice(SEQ, None))
_OF_CALLS = frozenset({"step", "builtin"})


class RecordReader:
    """The records of one run, asked for nearly in order: branches that ran side by side finished nearly so.

    Args:
        store: the state file.
        rid: of the run.
        last: the number of the last record that earlier lives have left.
    """

    def __init__(self, store: Store, rid: int, last: int = -1) -> None:
        self._store = store
        self._rid = rid
        self._last = last
        self._ahead: dict[int, StepRecord] = {}
        self._known = -1  # the number of the last record that `next_page` or `next_rows` has told of
        self._lock = threading.Lock()

    def next_page(self) -> IndexPage | None:
        """The index of the next records of a run that only has records of calls, by columns; None: there are no more.

        Raises:
            StateCorrupt: one of them is gone, or does not match its checksum; it is not passed over.
        """
        with self._lock:
            page: IndexPage | None
            if len(self._ahead) < KEPT:  # whoever wants to find them nearly always wants to have them then
                page = self._keep(self._store.records(self._rid, self._known + 1)) or None
            else:
                page = record_index.page(self._store.journal, self._rid, self._store.path, self._known)
            if page is None:
                if self._known < self._last:  # looked for from behind, there were more
                    raise corrupt(self._store.path)
                return None
            _, _, _, _, statuses, kinds = page
            if "abandoned" in statuses or not _OF_CALLS.issuperset(kinds):
                raise corrupt(self._store.path)  # the file has said that there are none
            self._known = page[0][-1]
        return page

    def next_rows(self) -> list[Row] | None:
        """The next rows, if all are plain (see `rows.all_plain`); None: `next_page` knows more."""
        with self._lock:
            rows = self._store.plain_rows(self._rid, self._known + 1)
            if rows:
                self._known = rows[-1][SEQ]
            return rows

    def keep(self, rows: list[Row]) -> IndexPage:
        """Plain rows as records that are asked for one by one; their index."""
        return self._keep(list(starmap(StepRecord, map(_OWN, rows))))

    def _keep(self, records: list[StepRecord]) -> IndexPage:
        self._ahead.update((one.seq, one) for one in records)
        return list(zip(*map(_INDEX, records), strict=True))

    def record(self, seq: int, *, inputs: bool = True) -> StepRecord:
        """The record of that number; large inputs are put together only if asked for.

        Raises:
            StateCorrupt: it is gone, or does not match its checksum.
        """
        found = self._ahead.pop(seq, None)
        if found is None:
            found = self._read(seq)
        if found.output[:1] in MAY_BE_APART or found.input[:1] in MAY_BE_APART:
            try:
                return self._store.whole(found, inputs=inputs)
            except StateCorrupt:  # once more, for the command that makes it again
                return self._store.whole(found, inputs=inputs, remake=self._remake(found))
        return found

    def _remake(self, record: StepRecord) -> str:
        """The command that makes a record again: of a child run, its call in the run that it belongs to."""
        from perdure.core import commands

        step, run = f"#{record.seq}", self._store.run_by_number(self._rid)
        for parent in self._store.parents(run):
            step, run = run.workflow, parent
        return commands.fork(run.id, step)

    def _read(self, seq: int) -> StepRecord:
        with self._lock:
            if len(self._ahead) > KEPT:
                self._ahead.clear()
            for record in self._store.records(self._rid, seq):
                self._ahead[record.seq] = record
            found = self._ahead.pop(seq, None)
        if found is None:
            raise StateCorrupt(
                f"record #{seq} is missing in {self._store.path}", "restore a backup: the file was edited from outside"
            )
        return found

    def attempts(self, record: StepRecord) -> Sequence[AttemptRecord]:
        """The failed attempts of that record's call."""
        return self._store.attempts_of(self._rid, record.name, record.key, record.n)

    def letter(self, seq: int) -> int | None:
        """The number of the dead letter that is about that record."""
        from perdure.store import dead_letters

        return dead_letters.number(self._store, self._rid, seq)
