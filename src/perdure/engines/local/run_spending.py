"""What the calls of a running workflow spend: counted in the budgets around them, and written down."""

from __future__ import annotations

import threading

from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import MOST, NOTHING, Amounts, Bounds, Ledger
from perdure.core.records import RunRecord
from perdure.engines.local.resources import Resources
from perdure.errors import OptionError
from perdure.store import spending
from perdure.store.spend_file import Spent


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
        self._lock = threading.Lock()
        self._ledgers = 0  # how many blocks with a budget were entered
        self._noted = False
        self._hooked = False
        # Of the blocks around the call before: next to always they are those of the next call, too.
        self._blocks: tuple[tuple[Ledger, ...], str, bool] = (), "", True  # see _of_blocks

    def open(self, bounds: Bounds) -> Ledger:
        """A block of the workflow begins that may spend so much."""
        store, rid = self._resources.store, self._run.rid
        with self._lock:
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
        return Ledger(self._run.id, rid, number, bounds, before, threading.Lock())

    def spend(self, call: Call, usd: int, tokens: int) -> None:
        """A step has spent that much: written down before this returns, so that a kill does not lose it.

        Raises:
            StateIO: it cannot be.
        """
        if not self._hooked:
            self._hook()
        with self._lock:
            spent = call.spending or self._begin(call)
            if spent.usd + usd > MOST or spent.tokens + tokens > MOST:
                raise OptionError(
                    f"{call.spec.owner} has spent more in one attempt than can be counted",
                    "see the numbers that it gives to perdure.spend",
                )
            spent.usd += usd
            spent.tokens += tokens
            for ledger in call.ledgers:
                ledger.spend(usd, tokens)
            self._resources.store.spend_file.note(spent)

    def save(self, call: Call, seconds: float, *, ok: bool) -> None:
        """An attempt has ended: what it spent is saved with the next commit, which is that of how it ended.

        In a budget it is a call, also if it spends neither money nor tokens; `ok`: its record says that much.
        """
        ms = int(seconds * 1000)
        if ok and call.spending is None and self._counts_by_record(call):
            if ms == 0:
                return
        elif ok and call.spending is not None and self._fits_record(call):
            with self._lock:
                call.spending.ms = ms
                call.more().spent = spending.text_of(call.spending)
                if not self._noted:
                    self._noted = True
                    self._resources.store.journal.ahead(*spending.mark(self._run.rid))
        else:
            self._save_row(call, ms)
        if ms:
            for ledger in call.ledgers:
                ledger.spend(ms=ms)

    def count_failed(self, call: Call, seconds: float) -> None:
        """An attempt had ended well, and its call has failed all the same: no record will say that it was made."""
        if call.counted and call.spending is None:
            return
        if call.extras is not None:
            call.extras.spent = None
        self._save_row(call, int(seconds * 1000))

    def _hook(self) -> None:
        """Calls of the run have to say how they end: without a budget, and if none spends, nothing asks."""
        self._hooked = True
        self._history.failed_after_all = self.count_failed
        self._history.spent_saved = self._saved

    def _save_row(self, call: Call, ms: int) -> None:
        """What an attempt has spent becomes a row, with the next commit."""
        with self._lock:
            saved = call.spending or self._begin(call)
            saved.ms = ms
            call.spending = None
            self._resources.store.save_spending(saved)

    def _saved(self, call: Call) -> None:
        """The record of a call is saved, and says what it has spent."""
        serial, call.spending = call.spending.serial, None
        self._resources.store.spend_file.saved(serial)

    def _fits_record(self, call: Call) -> bool:
        """May what a call has spent stand in its record? It may not where `_counts_by_record` says so."""
        return self._in_records and call.spending.calls == 1 and call.spec.undo is None and self._of_blocks(call)[2]

    def _counts_by_record(self, call: Call) -> bool:
        """Is the record of a call all that has to be kept of what it spent?

        Not if attempts of it have failed; if the record may be taken back, since what was spent stays spent; or if a
        budget of a run above counts the call, too, which does not read this run's records.
        """
        if call.counted or call.spec.undo is not None or self._before(call) is not NOTHING:
            return False
        return self._of_blocks(call)[2]

    def _of_blocks(self, call: Call) -> tuple[tuple[Ledger, ...], str, bool]:
        """The blocks around a call, their labels, and whether they are all this run's."""
        known, blocks = self._blocks, call.ledgers
        if known[0] is not blocks:
            own = all(ledger.rid == self._run.rid for ledger in blocks)
            known = self._blocks = blocks, " ".join(ledger.label for ledger in blocks), own
        return known

    def _before(self, call: Call) -> Amounts:
        history = self._history
        return history.spent_by(call) if history.spent or history.spent_by_children else NOTHING

    def _begin(self, call: Call) -> Spent:
        store = self._resources.store
        first = not call.counted and (not self._history.spent or self._history.spent_by(call).calls == 0)
        serial = store.spend_file.begin(store.holder.token)
        who = (self._run.rid, call.spec.name, call.key, call.n)
        call.spending = spent = Spent(serial, *who, 0, 0, int(first), 0, self._of_blocks(call)[1])
        call.counted = True
        return spent
