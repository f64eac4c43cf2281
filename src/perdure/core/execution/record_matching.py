"""Which record of a run each call claims: by the step's name, the inputs' key, and how often that pair came before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.moved_call import Moved
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import NOTHING, ONE_CALL, Amounts, CallId
from perdure.core.records import RESERVED, WAITS, StepRecord

ONE_BY_ONE = 20_000
"""Keys of one name that are remembered whole."""


class _ManyKeys:
    """Which of very many keys were seen, by ten bytes of each: two say in which bucket the other eight stand.

    Keys are digests: that two of a million agree in ten bytes happens once in 10^12 runs. 13 bytes a key, where a
    dictionary takes 110.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * 65_536

    def __contains__(self, key: bytes) -> bool:
        bucket = self._buckets[key[0] << 8 | key[1]]
        if bucket is None:
            return False
        rest = key[2:10]
        at = bucket.find(rest)
        while at > 0 and at % 8:
            at = bucket.find(rest, at + 1)
        return at >= 0

    def add(self, key: bytes) -> None:
        place = key[0] << 8 | key[1]
        bucket = self._buckets[place]
        if bucket is None:
            self._buckets[place] = bytearray(key[2:10])
        else:
            bucket += key[2:10]


class _Step:
    """All that a run knows of the calls under one name."""

    __slots__ = ("again", "many", "matched", "once", "open", "seen", "taken")

    def __init__(self) -> None:
        # By key: which occurrence a new call would be, if no record has that already; the unclaimed record of the first
        # occurrence; occurrence and number of the unclaimed further ones; and the occurrences that have records, if
        # there are further ones.
        self.seen: dict[bytes, int] = {}
        self.many: _ManyKeys | None = None  # further ones, seen once
        self.once: dict[bytes, int] = {}
        self.again: dict[bytes, dict[int, int]] = {}
        self.taken: dict[bytes, set[int]] = {}
        self.matched = False  # a call has claimed a record
        self.open: set[int] = set()  # unclaimed records of completed calls, which edited code may contradict

    def occurrence(self, key: bytes) -> int:
        """How many calls with that key were there, as far as no record says more?"""
        n = self.seen.get(key, 0)
        return 1 if not n and self.many is not None and key in self.many else n

    def count(self, key: bytes, n: int) -> None:
        """A call with that key is its `n`-th occurrence."""
        if n == 0 and len(self.seen) >= ONE_BY_ONE:
            if self.many is None:
                self.many = _ManyKeys()
            self.many.add(key)
        else:
            self.seen[key] = n + 1

    def pop(self, key: bytes, n: int) -> int | None:
        """The number of the unclaimed record of that occurrence, which is claimed now."""
        if n == 0:
            return self.once.pop(key, None)
        again = self.again.get(key)
        if again is None:
            return None
        seq = again.pop(n, None)
        if not again:
            del self.again[key]
        return seq


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
        self._steps: dict[str, _Step] = {}
        self._open = 0
        self._exempt = exempt
        self._not_done: set[int] = set()
        self._left: set[int] | None = None  # records that calls can claim, and have not; made when it is asked for
        self._abandoned: set[int] = set()

    def _offer(self, seq: int, name: str, key: bytes, n: int, status: str, kind: str) -> None:
        """A record that a call can claim."""
        step = self._step(name)
        if self._abandoned:
            # A call that was given up in an earlier life of the script, and was made after all.
            earlier = step.once.get(key) if n == 0 else step.again.get(key, {}).get(n)
            self._abandoned.discard(earlier or 0)
        if n == 0:
            step.once[key] = seq
        else:
            step.again.setdefault(key, {})[n] = seq
            step.taken.setdefault(key, {0} if key in step.once else set()).add(n)
        if n == 0 and key in step.taken:
            step.taken[key].add(0)
        if kind == "defer":
            return  # a note: never held against the script
        if status == "abandoned":
            self._abandoned.add(seq)
        elif status != "done":
            self._not_done.add(seq)
        elif not self.is_exempt(seq) and not (kind == "builtin" and name.startswith(WAITS)):
            step.open.add(seq)
            self._open += 1

    def _step(self, name: str) -> _Step:
        step = self._steps.get(name)
        if step is None:
            step = self._steps[name] = _Step()
        return step

    def claim(self, call: Call) -> int | None:
        """Give the call its occurrence; return the number of its record, or None if it has not been done yet."""
        step = self._steps.get(call.spec.name)
        if step is None:
            step = self._step(call.spec.name)
        self.claims += 1
        key = call.key
        if not (step.once or step.again):
            if key in step.seen or step.taken:
                call.n = self._new_occurrence(step, key)
            else:
                step.seen[key] = 1
            return None
        # Calls that are alike are told apart by their order alone. Where an edit has changed that, the record of one
        # that is not made any more goes to another when the replay has come to rest (`adopt`).
        n = step.occurrence(key)
        seq = step.pop(key, n)
        if seq is None and key in step.taken:
            while seq is None and n in step.taken[key]:
                n += 1
                seq = step.pop(key, n)
        call.n = n
        step.count(key, n)
        if seq is not None:
            self._close(step, seq)
            call.seq = seq
            if call.ledgers:
                self._count(call, seq)
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

    def _new_occurrence(self, step: _Step, key: bytes) -> int:
        n = step.occurrence(key)
        if key in step.taken:
            while n in step.taken[key]:
                n += 1
        step.count(key, n)
        return n

    def _close(self, step: _Step, seq: int) -> None:
        step.matched = True
        if self._left is not None:
            self._left.discard(seq)
        if seq in step.open:
            step.open.remove(seq)
            self._open -= 1

    def adopt(self, call: Call, record: StepRecord) -> None:
        """Give the call a record that was another's: the script has been rearranged, and the inputs are the same."""
        step = self._steps[record.name]
        call.key, call.n = record.key, record.n
        step.pop(record.key, record.n)
        step.taken.setdefault(record.key, set()).add(record.n)
        self._close(step, record.seq)
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
        if self.replaying and not self.rested:
            return True
        if self._open and (not self.rested or self.doubtful(name) or self.renamed(name, key) is not None):
            return True
        return self.elsewhere is not None and self.elsewhere(name, key) is not None

    def renamed(self, name: str, key: bytes) -> tuple[str, int] | None:
        """The name and the record of a completed call with these inputs, of a step that the script has no more."""
        for other, step in self._steps.items():
            if step.open and other != name and not other.startswith(RESERVED):
                seq = step.once.get(key)
                if seq in step.open and self.may_be_renamed(other, name):
                    return other, seq
        return None

    def doubtful(self, name: str) -> bool:
        """Are completed records of this name still unclaimed?"""
        step = self._steps.get(name)
        return step is not None and bool(step.open)

    def open_record(self, name: str, key: bytes) -> int | None:
        """The number of a completed record of that name and key that no call has claimed."""
        step = self._steps.get(name)
        if step is None or not step.open:
            return None
        seqs = [step.once.get(key), *step.again.get(key, {}).values()]
        return next((seq for seq in seqs if seq in step.open), None)

    def is_open(self, name: str, seq: int) -> bool:
        """Is that the number of a completed record of that name that no call has claimed?"""
        step = self._steps.get(name)
        return step is not None and seq in step.open

    def was_called(self, name: str, key: bytes) -> bool:
        """Was a call of that name and key made in this life, and is no record of such a call left?"""
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
        return sorted(self._steps[name].open)

    def is_abandoned(self, seq: int) -> bool:
        """Did the workflow give up the call with that record?"""
        return seq in self._abandoned

    def left(self) -> set[int]:
        """The numbers of the records that calls can claim, and have not claimed yet."""
        if self._left is None:
            self._left = {seq for step in self._steps.values() for seq in step.once.values()}
            self._left.update(seq for step in self._steps.values() for ns in step.again.values() for seq in ns.values())
        return self._left
