"""What the calls of a running workflow spend: counted in the budgets around them, and written down."""

from __future__ import annotations

from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import MOST, NOTHING, Bounds, Ledger
from perdure.core.records import RunRecord
from perdure.engines.local.resources import Resources
from perdure.errors import OptionError
from perdure.store import spending
from perdure.store.spend_file import Noted


class RunSpending:
    """What one run spends.

    Args:
        resources: the state file and what goes with it.
        run: its row.
        history: its records.
        in_records: may what a call has spent stand in its record? Records of clean-ups and redrives are made otherwise.
    """

    def __init__(self, resources: Resources, run: RunRecord, history: History, *, in_records: bool) -> None:
        self._resources = resources
        self._run = run
        self._history = history
        self._in_records = in_records
        self._file = resources.store.spend_file
        self._ledgers = 0  # how many blocks with a budget were entered
        self._marked = False
        self._hooked = False
        # Of the blocks around the call before: next to always they are those of the next call, too.
        self._blocks: tuple[tuple[Ledger, ...], str, bool] = (), "", True  # see _look_at_blocks

    def open(self, bounds: Bounds) -> Ledger:
        """A block of the workflow begins that may spend so much."""
        store, rid = self._resources.store, self._run.rid
        with self._file.lock:
            number = self._ledgers
            self._ledgers += 1
        history = self._history
        self._hook()
        before = NOTHING
        if history.spent or history.spent_by_children:
            before = store.spent_in(rid, f"{rid}:{number}")
        for line in store.lineage(rid):
            raised = bounds.raised_to(store.raised_bounds(line))
            if raised != bounds:
                self._resources.raised.add(line)
            bounds = raised
        return Ledger(self._run.id, rid, number, bounds, before, self._file.lock)

    def spend(self, call: Call, usd: int, tokens: int) -> None:
        """A step has spent that much: written down before this returns, so that a kill does not lose it.

        Raises:
            StateIO: it cannot be.
        """
        if not self._hooked:
            self._hook()
        lock = self._file.lock
        lock.acquire()
        try:
            noted: Noted | None = call.spending  # type: ignore[assignment]
            if noted is None:
                self._begin(call, usd, tokens, spends=True)
            elif noted.usd + usd > MOST or noted.tokens + tokens > MOST:
                raise OptionError(
                    f"{call.spec.owner} has spent more in one attempt than can be counted",
                    "see the numbers that it gives to perdure.spend",
                )
            else:
                noted.note(usd, tokens)
            for ledger in call.ledgers:
                ledger.spend(usd, tokens)
        finally:
            lock.release()

    def save(self, call: Call, seconds: float, *, ok: bool) -> None:
        """An attempt has ended: what it spent is saved with the next commit, which is that of how it ended.

        In a budget it is a call, also if it spends neither money nor tokens; `ok`: its record says that much.
        """
        ms = int(seconds * 1000)
        noted: Noted | None = call.spending  # type: ignore[assignment]
        if not ok:
            self._save_row(call, ms)
        elif noted is None:
            if call.counted or not self._counts_by_record(call):
                self._save_row(call, ms)
        elif noted.in_record:
            call.spent = spending.text_of(noted, ms)
            if not self._marked:
                self._mark()
        else:
            self._save_row(call, ms)
        if ms:
            with self._file.lock:
                for ledger in call.ledgers:
                    ledger.spend(ms=ms)

    def count_failed(self, call: Call, seconds: float) -> None:
        """An attempt had ended well, and its call has failed all the same: no record will say that it was made."""
        if call.counted and call.spending is None:
            return
        call.spent = None
        self._save_row(call, int(seconds * 1000))

    def _hook(self) -> None:
        """Calls of the run have to say how they end: without a budget, and if none spends, nothing asks."""
        self._hooked = True
        self._history.failed_after_all = self.count_failed
        store = self._resources.store
        store.spend_file.belongs_to(store.holder.token)

    def _mark(self) -> None:
        """Records of the run say what their calls have spent."""
        with self._file.lock:
            if not self._marked:
                self._marked = True
                self._resources.store.journal.ahead(*spending.mark(self._run.rid))

    def _save_row(self, call: Call, ms: int) -> None:
        """What an attempt has spent becomes a row, with the next commit."""
        if not self._hooked:
            self._hook()
        with self._file.lock:
            noted: Noted = call.spending or self._begin(call)  # type: ignore[assignment]
            noted.ms = ms
            call.spending = None
            self._resources.store.save_spending(noted)

    def _counts_by_record(self, call: Call) -> bool:
        """Can the record of a call that no attempt counts for yet be all that is kept of what it spends?

        Not if earlier lives of it have spent; if the record may be taken back, since what was spent stays spent; or if
        a budget of a run above counts the call, too, which does not read this run's records.
        """
        blocks, history = self._blocks, self._history
        if blocks[0] is not call.ledgers:
            blocks = self._look_at_blocks(call)
        if not blocks[2] or call.spec.undo is not None:
            return False
        return not (history.spent or history.spent_by_children) or history.spent_by(call) is NOTHING

    def _look_at_blocks(self, call: Call) -> tuple[tuple[Ledger, ...], str, bool]:
        """The blocks around a call, their labels, and whether they are all this run's."""
        blocks = call.ledgers
        own = all(ledger.rid == self._run.rid for ledger in blocks)
        self._blocks = found = blocks, " ".join(ledger.label for ledger in blocks), own
        return found

    def _begin(self, call: Call, usd: int = 0, tokens: int = 0, *, spends: bool = False) -> Noted:
        """An attempt spends so much, as its first; or there is to be a row of it. Called with the lock held."""
        blocks, history, spec, file, rid = self._blocks, self._history, call.spec, self._file, self._run.rid
        if blocks[0] is not call.ledgers:
            blocks = self._look_at_blocks(call)
        labels = blocks[1]
        first = not call.counted and (not history.spent or history.spent_by(call).calls == 0)
        # Its record may say it where it may count by its record, spending nothing (see `_counts_by_record`).
        in_record = self._in_records and first and blocks[2] and spec.undo is None
        serial, name, key, n, at, places = next(file.serials), spec.name, call.key, call.n, -1, None
        if spends:
            at, places = file.write(serial, rid, name, key, n, first, labels, usd, tokens)
        noted = Noted(file, serial, rid, name, key, n, int(first), labels, in_record, usd, tokens, 0, at, places)
        call.counted = True
        call.spending = noted
        return noted
