"""Which record of a run each call claims: by the step's name, the inputs' key, and how often that pair came before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.inputs import look_as_always
from perdure.core.execution.known_records import KnownRecords
from perdure.core.execution.seen_keys import ONE_BY_ONE
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import NOTHING, ONE_CALL, Amounts, CallId
from perdure.core.execution.step_claims import StepClaims
from perdure.core.records import KEY, NAME, RESERVED, SEQ, StepRecord, begun_by

if TYPE_CHECKING:
    from perdure.core.execution.moved_call import Moved
    from perdure.core.execution.number_set import Numbers
    from perdure.core.execution.own_errors import OwnErrors
    from perdure.core.execution.recorded_inputs import InputsOfBefore


class Claims(KnownRecords):
    """The records of one run that calls can claim, and which calls have.

    Args:
        id: the run's id.
        exempt: first and last number of each stretch of records that is not held against the script.
        before: records up to this number were there when the run was resumed; None if all of them were.
    """

    def __init__(self, id: str = "", exempt: Sequence[tuple[int, int]] = (), before: int | None = None) -> None:
        super().__init__(exempt)
        self.id = id
        self.rid = 0
        self.inputs_of_before: InputsOfBefore | None = None  # if they can be read
        # What calls and child runs (by their ids) have spent in earlier lives.
        self.spent: dict[CallId, Amounts] = {}
        self.spent_by_children: dict[str, Amounts] = {}
        self.before = before
        self.edits: dict[CallId, bytes] = {}  # what dead letters of calls were edited into that are made again
        self.claims = 0
        self.own_errors: OwnErrors | None = None  # once a call is made while one is handled
        self.rested = False
        self.replaying = False  # an async workflow, or a loop of it, has not seen all that it saw in an earlier life
        self.replays_here: Callable[[], bool] = lambda: False  # the loop that asks, of several
        # May the step of the first name have the second one now? Not if the script has it still.
        self.may_be_renamed: Callable[[str, str], bool] = lambda before, now: False
        # The completed call of another run of the tree that a call is, if an edit has moved it.
        self.elsewhere: Callable[[Call], Moved | None] | None = None
        self.last: float = 0  # the number that was given last, or a place after it
        self._left: Numbers | None = None  # records that calls can claim, and have not; made when it is asked for

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
        elif step.left or self._source is not None:
            if self.ahead is not None and (self.ahead or self.read_ahead()) and (seq := self._next(call)) is not None:
                return seq
            seq = self._find(step, call)
            if seq is None:
                return self._claim_grown(step, call)
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
            if self.open == 1 and self._source is not None:
                self.ahead = []  # all that is known is claimed: what comes next may be read ahead
        call.seq = seq
        if self.own_errors is not None:
            self.own_errors.came_to(seq)
        if call.ledgers:
            self._count(call, seq)
        return seq

    def has_counted(self, call: Call) -> bool:
        """Has the call its occurrence, and its record, if it has one?"""
        step = self._steps.get(call.spec.name)
        return bool(call.seq) or (step is not None and step.occurrence(call.key) > call.n)

    def _find(self, step: StepClaims, call: Call) -> int | None:
        """The record of a call that is not the first with its key, or is not known yet; None if it has none.

        Calls that are alike are told apart by their order alone. Where an edit has changed that, the record of one that
        is not made any more goes to another when the replay has come to rest (`adopt`).
        """
        key = call.key
        if self._in_hand:
            self._put_back()
        n = step.occurrence(key)
        seq = step.pop(key, n)
        while seq is None and self._source is not None:
            self._read_page()
            seq = step.pop(key, n)
        if seq is None and key in step.taken:
            while seq is None and n in step.taken[key]:
                n += 1
                seq = step.pop(key, n)
        step.count(key, n)
        call.n = n
        return seq

    def _claim_grown(self, step: StepClaims, call: Call) -> int | None:
        """The same by inputs that looked otherwise, of a call that is not held against the script: it failed, say.

        Those that are go to such calls when the replay has come to rest (see `drift`).
        """
        if step.left > step.open:
            for record in self.grown(call.spec.name, call):
                if not self._is_open(record.seq):
                    self.adopt(call, record)
                    return record.seq
        return None

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
            ledger.undoable = ledger.undoable or call.spec.undo is not None

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
        step.taken.setdefault(record.key, set()).add(record.n)
        step.matched = True
        step.left -= 1
        self._forget(step, record.seq)
        if self._is_open(record.seq):
            step.open -= 1
            self.open -= 1
        call.seq = record.seq
        if self.own_errors is not None:
            self.own_errors.came_to(record.seq)
        if call.ledgers:
            self._count(call, record.seq)
        self.claims += 1

    def _next(self, call: Call) -> int | None:
        """The number of the next record in hand, if it is that of the call, which has claimed it then."""
        assert self.ahead
        assert self._source is not None
        row = self.ahead[-1]
        if row[KEY] != call.key or row[NAME] != call.spec.name:
            return None
        self._source.keep([self.ahead.pop()])
        seq: int = row[SEQ]
        call.seq = seq
        if self.own_errors is not None:
            self.own_errors.came_to(seq)
        if call.ledgers:
            self._count(call, seq)
        return seq

    def from_before(self, seq: int | None) -> bool:
        """Is that the number of a record that an earlier process left?"""
        return seq is not None and (self.before is None or seq <= self.before)

    def unsettled(self, name: str, call: Call | None = None) -> bool:
        """Must a call that has no record wait until every other branch has claimed what is its own?

        Yes, while completed records of its own name are unclaimed; and, until the replay has come to rest for the first
        time, while any are: nothing is executed before the whole script has been compared with what it did before. Also
        while a step that the script has no more was completed with the inputs of the `call`: it was renamed; or while
        another run of the tree has completed the call, and may not make it any more: it was moved.
        """
        if self._source is not None:  # not with a function for each new call
            self.read_all()
        if self.replaying and (not self.rested or self.replays_here()):
            return True
        if self.open and (not self.rested or self.doubtful(name) or self._is_renamed(call)):
            return True
        return call is not None and self.elsewhere is not None and self.elsewhere(call) is not None

    def _is_renamed(self, call: Call | None) -> bool:
        return call is not None and self.renamed(call) is not None

    def renamed(self, call: Call) -> tuple[str, int] | None:
        """The name and the record of a completed call with these inputs, of a step that the script has no more.

        So with runs that were put into a queue, or called by an id: their workflow may have been renamed.
        """
        self.read_all()
        way, _ = begun_by(call.spec.name)
        for other, step in self._steps.items():
            if step.open and other != call.spec.name and begun_by(other)[0] == way != RESERVED:
                seq = step.once.get(call.key)
                if seq is None and (grown := self.grown(other, call)):
                    seq = grown[0].seq
                if seq is not None and self._is_open(seq) and self.may_be_renamed(other, call.spec.name):
                    return other, seq
        return None

    def knows(self, name: str, key: bytes) -> bool:
        """Is there an unclaimed record of that name and key? Records are read until it is found."""
        if self.ahead and self.ahead[-1][KEY] == key and self.ahead[-1][NAME] == name:
            return True
        if self._in_hand:
            self._put_back()
        step = self._step(name)
        while key not in step.once and key not in step.again and self._source is not None:
            self._read_page()
        return key in step.once or key in step.again

    def unclaimed_records(self, name: str) -> Iterator[StepRecord]:
        """The records of this name that no call has claimed, also those that are not held against the script."""
        self.read_all()
        if self.inputs_of_before is not None and name in self._steps:
            for seq in sorted(self._steps[name].numbers()):
                yield self.inputs_of_before.read(self.rid, seq)

    def grown(self, name: str, call: Call) -> list[StepRecord]:
        """The unclaimed records of a step whose inputs looked otherwise, and would be those of the call now."""
        step = self._steps[name]
        if self.inputs_of_before is None or look_as_always(call.spec.signature, call.args, call.kwargs):
            return []
        found = self.inputs_of_before.find(call, (self.rid, name), lambda: ((self.rid, seq) for seq in step.numbers()))
        return [record for _, record in found if step.has(record.key, record.n, record.seq)]

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
        if self._in_hand:
            self._put_back()
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

    def goes_on_behind(self, seq: int) -> bool:
        """Is there a completed record behind that one that no call has claimed?"""
        return self.open > 0 and any(one > seq and self._is_open(one) for one in self.left())

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
