"""Which record of a run each call claims: by the step's name, the inputs' key, and how often that pair came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.seen_keys import ONE_BY_ONE
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import NOTHING, ONE_CALL, Amounts, CallId
from perdure.core.execution.step_claims import StepClaims
from perdure.core.records import RESERVED, WAITS, StepRecord

if TYPE_CHECKING:
    from perdure.core.execution.moved_call import Moved
    from perdure.core.execution.number_set import Numbers


IndexRow = tuple[int, str, bytes, int, str, str]
"""Number, name, key, occurrence, status and kind of a record."""

IndexPage = Sequence[Sequence[Any]]
"""The columns of some index rows: their numbers, their names, and so on. There is at least one row."""


def page_of(rows: Iterable[IndexRow]) -> list[IndexPage]:
    """Rows as a page, if there are any."""
    columns = list(zip(*rows, strict=True))
    return [columns] if columns else []


class Claims:
    """The records of one run that calls can claim, and which calls have.

    Args:
        id: the run's id.
        exempt: first and last number of each stretch of records that is not held against the script.
        before: records up to this number were there when the run was resumed; None if all of them were.
    """

    def __init__(self, id: str = "", exempt: Sequence[tuple[int, int]] = (), before: int | None = None) -> None:
        self.id = id
        # What calls and child runs (by their ids) have spent in earlier lives.
        self.spent: dict[CallId, Amounts] = {}
        self.spent_by_children: dict[str, Amounts] = {}
        self.before = before
        self.claims = 0
        self.rested = False
        self.replaying = False  # an async workflow has not seen all that it saw in an earlier life
        # May the step of the first name have the second one now? Not if the script has it still.
        self.may_be_renamed: Callable[[str, str], bool] = lambda before, now: False
        # The completed call of another run of the tree that a call of that name and key is, if an edit has moved it.
        self.elsewhere: Callable[[str, bytes], Moved | None] | None = None
        self._steps: dict[str, StepClaims] = {}
        self.open = 0  # completed calls that have not been made again
        self._exempt = exempt
        self._not_done: set[int] = set()
        self._uncounted: set[int] = set()  # notes and waits: they are never held against the script
        self._all_open = not exempt  # all records are of completed calls that are held against it
        self.recorded = 0  # records that were there
        self.last: float = 0  # the number that was given last, or a place after it
        self._left: Numbers | None = None  # records that calls can claim, and have not; made when it is asked for
        self._abandoned: set[int] = set()
        self._next_page: Callable[[], IndexPage | None] | None = None  # of the records that are not known yet

    # -- the records that there are -----------------------------------------------------------------------------------

    def read_when_needed(self, next_page: Callable[[], IndexPage | None]) -> None:
        """Learn of the records when calls ask for them, in order; they are those of calls, and of none given up.

        A call without a record among those that are known reads on until it has found one, or all are known. So all are
        before anything is judged, and nothing is executed before that.
        """
        self._next_page = next_page
        self.open += 1  # there are more, as long as it is not known that there are not

    @property
    def reads_on(self) -> bool:
        """Are there records that are not known yet, and are read when a call asks for them?"""
        return self._next_page is not None

    def read_all(self) -> None:
        """Learn of all records that there are."""
        while self._next_page is not None:
            self._read_page()

    def _read_page(self) -> None:
        assert self._next_page is not None
        page = self._next_page()
        if page is not None:
            self._offer_page(page)
            return
        self._next_page = None
        self.open -= 1

    def _offer_page(self, page: IndexPage) -> None:
        """Records that calls can claim. Nearly always, all are of one step, and have ended well."""
        seqs, names, keys, ns, statuses, kinds = page
        self.recorded += len(seqs)
        alike = names.count(names[0]) == statuses.count("done") == kinds.count("step") == ns.count(0) == len(seqs)
        if alike and not self._exempt:
            step, found = self._step(names[0]), dict(zip(keys, seqs, strict=True))
            if len(found) == len(seqs) and not step.taken and step.once.keys().isdisjoint(found):
                step.once.update(found)
                self._offered(step, len(seqs))
                return
        for row in self._offer_done(zip(*page, strict=True)):
            self._remember(*row)

    def _remember(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """A record that is not of a call that has ended well and stands alone."""
        self._offer(seq, name, key, n, status, kind)

    def _offer(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """A record that a call can claim."""
        step = self._step(name)
        earlier = step.once.get(key) if n == 0 else step.again.get(key, {}).get(n)
        if earlier is None:
            step.left += 1
        else:  # it was given up in an earlier life of the script, and was made after all
            if self._is_open(earlier):
                step.open -= 1
                self.open -= 1
            self._abandoned.discard(earlier)
        if n == 0:
            step.once[key] = seq
        else:
            step.again.setdefault(key, {})[n] = seq
            step.taken.setdefault(key, {0} if key in step.once else set()).add(n)
        if n == 0 and key in step.taken:
            step.taken[key].add(0)
        if kind == "defer" or (status == "done" and kind == "builtin" and name.startswith(WAITS)):
            self._uncounted.add(seq)
            self._all_open = False
        elif status == "abandoned":
            self._abandoned.add(seq)
            self._all_open = False
        elif status != "done":
            self._not_done.add(seq)
            self._all_open = False
        elif not self.is_exempt(seq):
            step.open += 1
            self.open += 1

    def _offer_done(self, rows: Iterable[IndexRow]) -> Iterator[IndexRow]:
        """Offer the records of calls that have ended well and stand alone, as nearly all do; it yields the others."""
        name: str | None = None
        step, offered = StepClaims(), 0
        once = step.once
        for row in rows:
            seq, named, key, n, status, kind = row
            plain = not n and status == "done" and kind == "step" and not self._exempt
            if plain and named != name:
                self._offered(step, offered)
                name, step, offered = named, self._step(named), 0
                once = step.once
            if plain and key not in once and not step.taken:
                once[key] = seq
                offered += 1
            else:
                self._offered(step, offered)
                offered = 0
                yield row
        self._offered(step, offered)

    def _offered(self, step: StepClaims, count: int) -> None:
        step.left += count
        step.open += count
        self.open += count

    def _is_open(self, seq: int) -> bool:
        """Is that the record of a completed call that is held against a script which does not make it?"""
        return not (seq in self._not_done or seq in self._abandoned or seq in self._uncounted or self.is_exempt(seq))

    def _step(self, name: str) -> StepClaims:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = StepClaims()
        return step

    def claim(self, call: Call) -> int | None:
        """Give the call its occurrence; return the number of its record, or None if it has not been done yet.

        Raises:
            StateError: the records cannot be read.
        """
        step = self._steps.get(call.spec.name)
        if step is None:
            step = self._step(call.spec.name)
        self.claims += 1
        key = call.key
        seq = step.once.pop(key, None)
        if seq is not None:  # no call with this key has come before: it would have the record
            step.claimed += key
        elif step.left or self._next_page is not None:
            seq = self._find(step, call)
            if seq is None:
                return None
        else:
            seen = step.seen
            if key not in seen and len(seen) < ONE_BY_ONE and not (step.claimed or step.taken):
                seen[key] = 1
            elif step.claimed or step.taken or not step.is_first(key):
                call.n = self._new_occurrence(step, key)
            return None
        step.matched = True
        step.left -= 1
        if self._left is not None or step.unclaimed is not None:
            self._forget(step, seq)
        if self._all_open or self._is_open(seq):
            step.open -= 1
            self.open -= 1
        call.seq = seq
        if call.ledgers:
            self._count(call, seq)
        return seq

    def _find(self, step: StepClaims, call: Call) -> int | None:
        """The record of a call that is not the first with its key, or is not known yet; None if it has none.

        Calls that are alike are told apart by their order alone. Where an edit has changed that, the record of one that
        is not made any more goes to another when the replay has come to rest (`adopt`).
        """
        key = call.key
        n = step.occurrence(key)
        seq = step.pop(key, n)
        while seq is None and self._next_page is not None:
            self._read_page()
            seq = step.pop(key, n)
        if seq is None and key in step.taken:
            while seq is None and n in step.taken[key]:
                n += 1
                seq = step.pop(key, n)
        step.count(key, n)
        call.n = n
        return seq

    def _count(self, call: Call, seq: int) -> None:
        """A call has its record: what it spent counts for the budgets around it.

        Of a call that ended well at the first attempt and spent nothing, nothing else is kept: it counts by its record.
        """
        spent = self.spent_by(call)
        call.by_record = call.spec.kind != "workflow" and spent == NOTHING and self.is_done(seq)
        if call.by_record:
            spent = ONE_CALL
        for ledger in call.ledgers:
            ledger.replayed(spent)

    def spent_by(self, call: Call) -> Amounts:
        """What a call has spent in earlier lives of the run."""
        if call.spec.kind == "workflow":
            return self.spent_by_children.get(child_id(self.id, call.spec.name, call.key, call.n), NOTHING)
        return self.spent.get((call.spec.name, call.key, call.n), NOTHING)

    def _new_occurrence(self, step: StepClaims, key: bytes) -> int:
        n = step.occurrence(key)
        if key in step.taken:
            while n in step.taken[key]:
                n += 1
        step.count(key, n)
        return n

    def _forget(self, step: StepClaims, seq: int) -> None:
        """That record is claimed."""
        if self._left is not None:
            self._left.discard(seq)
        if step.unclaimed is not None:
            step.unclaimed.discard(seq)

    def adopt(self, call: Call, record: StepRecord) -> None:
        """Give the call a record that was another's: the script has been rearranged, and the inputs are the same."""
        step = self._steps[record.name]
        call.key, call.n = record.key, record.n
        step.pop(record.key, record.n)
        if record.n == 0:
            step.claimed += record.key
        step.taken.setdefault(record.key, set()).add(record.n)
        step.matched = True
        step.left -= 1
        self._forget(step, record.seq)
        if self._is_open(record.seq):
            step.open -= 1
            self.open -= 1
        call.seq = record.seq
        if call.ledgers:
            self._count(call, record.seq)
        self.claims += 1

    def from_before(self, seq: int | None) -> bool:
        """Is that the number of a record that an earlier process left?"""
        return seq is not None and (self.before is None or seq <= self.before)

    def is_done(self, seq: int) -> bool:
        """Is that the record of a success?"""
        return seq not in self._not_done

    def is_exempt(self, seq: int) -> bool:
        """Is that record not to be held against the script?"""
        return bool(self._exempt) and any(first <= seq <= last for first, last in self._exempt)

    def unsettled(self, name: str, key: bytes = b"") -> bool:
        """Must a call that has no record wait until every other branch has claimed what is its own?

        Yes, while completed records of its own name are unclaimed; and, until the replay has come to rest for the first
        time, while any are: nothing is executed before the whole script has been compared with what it did before. Also
        while a step that the script has no more was completed with the inputs (`key`) of the call: it was renamed; or
        while another run of the tree has completed the call, and may not make it any more: it was moved.
        """
        self.read_all()
        if self.replaying and not self.rested:
            return True
        if self.open and (not self.rested or self.doubtful(name) or self.renamed(name, key) is not None):
            return True
        return self.elsewhere is not None and self.elsewhere(name, key) is not None

    def renamed(self, name: str, key: bytes) -> tuple[str, int] | None:
        """The name and the record of a completed call with these inputs, of a step that the script has no more."""
        self.read_all()
        for other, step in self._steps.items():
            if step.open and other != name and not other.startswith(RESERVED):
                seq = step.once.get(key)
                if seq is not None and self._is_open(seq) and self.may_be_renamed(other, name):
                    return other, seq
        return None

    def doubtful(self, name: str) -> bool:
        """Are completed records of this name still unclaimed?"""
        self.read_all()
        step = self._steps.get(name)
        return step is not None and step.open > 0

    def open_record(self, name: str, key: bytes) -> int | None:
        """The number of a completed record of that name and key that no call has claimed."""
        self.read_all()
        step = self._steps.get(name)
        if step is None or not step.open:
            return None
        seqs = (step.once.get(key), *step.again.get(key, {}).values())
        return next((seq for seq in seqs if seq is not None and self._is_open(seq)), None)

    def is_open(self, name: str, seq: int) -> bool:
        """Is that the number of a completed record of that name that no call has claimed?"""
        self.read_all()
        step = self._steps.get(name)
        return step is not None and step.open > 0 and seq in self._unclaimed(step)

    def was_called(self, name: str, key: bytes) -> bool:
        """Was a call of that name and key made in this life, and is no record of such a call left?"""
        self.read_all()
        step = self._steps.get(name)
        if step is None or key in step.once or key in step.again:
            return False
        return step.occurrence(key) > 0

    def matched(self, name: str) -> bool:
        """Has a call of this name claimed a record?"""
        step = self._steps.get(name)
        return step is not None and step.matched

    def unclaimed(self, name: str) -> list[int]:
        """The numbers of the completed records of this name that no call has claimed, in order."""
        self.read_all()
        return sorted(self._unclaimed(self._steps[name]))

    def _unclaimed(self, step: StepClaims) -> set[int]:
        if step.unclaimed is None:
            step.unclaimed = set(filter(self._is_open, step.numbers()))
        return step.unclaimed

    def is_abandoned(self, seq: int) -> bool:
        """Did the workflow give up the call with that record?"""
        return seq in self._abandoned

    def left(self) -> Numbers:
        """The numbers of the records that calls can claim, and have not claimed yet."""
        self.read_all()
        if self._left is None:
            from perdure.core.execution.number_set import Numbers

            self._left = Numbers(seq for step in self._steps.values() for seq in step.numbers())
        return self._left
