"""Which record of a run each call claims: by the step's name, the inputs' key, and how often that pair came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.moved_call import Moved
from perdure.core.execution.numbers import Numbers
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import NOTHING, ONE_CALL, Amounts, CallId
from perdure.core.records import RESERVED, WAITS, StepRecord

IndexRow = tuple[int, str, bytes, int, str, str]
"""Number, name, key, occurrence, status and kind of a record."""

ONE_BY_ONE = 20_000
"""Keys of one name that are remembered whole."""


class _ManyKeys:
    """Which of very many keys were seen, by ten bytes of each: two say in which bucket the other eight stand.

    Keys are digests: that two of a million agree in 78 bits happens once in 10^11 runs. 9 bytes a key, where a
    dictionary takes 110.
    """

    __slots__ = ("_buckets",)

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * 16_384

    def __contains__(self, key: bytes) -> bool:
        bucket = self._buckets[(key[0] << 8 | key[1]) & 0x3FFF]
        return bucket is not None and _stands_in(bucket, key[2:10])

    def add(self, key: bytes) -> bool:
        """Was it seen before? It is from now on."""
        place = (key[0] << 8 | key[1]) & 0x3FFF
        rest = key[2:10]
        bucket = self._buckets[place]
        if bucket is None:
            self._buckets[place] = bytearray(rest)
            return False
        at = bucket.find(rest)
        if at >= 0 and (at % 8 == 0 or _stands_in(bucket, rest)):
            return True
        bucket += rest
        return False


def _stands_in(bucket: bytearray, rest: bytes) -> bool:
    at = bucket.find(rest)
    while at > 0 and at % 8:
        at = bucket.find(rest, at + 1)
    return at >= 0


class _Step:
    """All that a run knows of the calls under one name."""

    __slots__ = ("again", "left", "many", "matched", "once", "open", "seen", "taken", "unclaimed")

    def __init__(self) -> None:
        # By key: which occurrence a new call would be, if no record says more; the record of the first occurrence,
        # negative as soon as it is claimed; occurrence and number of the unclaimed further ones; and the occurrences
        # that have records, if there are further ones.
        self.seen: dict[bytes, int] = {}
        self.many: _ManyKeys | None = None  # further ones, seen once
        self.once: dict[bytes, int] = {}
        self.again: dict[bytes, dict[int, int]] = {}
        self.taken: dict[bytes, set[int]] = {}
        self.matched = False  # a call has claimed a record
        self.left = 0  # records in `once` and `again` that are unclaimed
        self.open = 0  # those of them of completed calls, which edited code may contradict
        self.unclaimed: set[int] | None = None  # the numbers of these; made when they are asked for

    def occurrence(self, key: bytes) -> int:
        """How many calls with that key were there, as far as no record says more?"""
        n = self.seen.get(key, 0)
        if n:
            return n
        return 1 if self.once.get(key, 1) < 0 or (self.many is not None and key in self.many) else 0

    def count(self, key: bytes, n: int) -> None:
        """A call with that key is its `n`-th occurrence."""
        if n == 0 and len(self.seen) >= ONE_BY_ONE:
            self._keys().add(key)
        else:
            self.seen[key] = n + 1

    def is_first(self, key: bytes) -> bool:
        """Is a call with that key the first, of a step without records and with many calls? It is counted then."""
        return key not in self.seen and not self._keys().add(key)

    def _keys(self) -> _ManyKeys:
        if self.many is None:
            self.many = _ManyKeys()
        return self.many

    def pop(self, key: bytes, n: int) -> int | None:
        """The number of the unclaimed record of that occurrence, which is claimed now."""
        if n == 0:
            seq = self.once.get(key, 0)
            if seq <= 0:
                return None
            self.once[key] = -seq
            return seq
        again = self.again.get(key)
        if again is None:
            return None
        further = again.pop(n, None)
        if not again:
            del self.again[key]
        return further

    def numbers(self) -> Iterator[int]:
        """The numbers of the records that are unclaimed."""
        yield from (seq for seq in self.once.values() if seq > 0)
        yield from (seq for ns in self.again.values() for seq in ns.values())


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
        self.open = 0  # completed calls that have not been made again
        self._exempt = exempt
        self._not_done: set[int] = set()
        self._uncounted: set[int] = set()  # notes and waits: they are never held against the script
        self._all_open = not exempt  # all records are of completed calls that are held against it
        self.recorded = 0  # records that were there
        self.last: float = 0  # the number that was given last, or a place after it
        self._left: Numbers | None = None  # records that calls can claim, and have not; made when it is asked for
        self._abandoned: set[int] = set()

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
        step, offered, seq = _Step(), 0, 0
        once = step.once
        for row in rows:
            seq, named, key, n, status, kind = row
            self.recorded += 1
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
        self.last = seq

    def _offered(self, step: _Step, count: int) -> None:
        step.left += count
        step.open += count
        self.open += count

    def _is_open(self, seq: int) -> bool:
        """Is that the record of a completed call that is held against a script which does not make it?"""
        return not (seq in self._not_done or seq in self._abandoned or seq in self._uncounted or self.is_exempt(seq))

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
        if not step.left:
            seen = step.seen
            if key not in seen and len(seen) < ONE_BY_ONE and not (step.once or step.taken):
                seen[key] = 1
            elif step.once or step.taken or not step.is_first(key):
                call.n = self._new_occurrence(step, key)
            return None
        seq: int | None = step.once.get(key, 0)
        if seq is not None and seq > 0:  # no call with this key has come before: it would have the record
            step.once[key] = -seq
            n = 0
        else:
            # Calls that are alike are told apart by their order alone. Where an edit has changed that, the record of
            # one that is not made any more goes to another when the replay has come to rest (`adopt`).
            n = step.occurrence(key)
            seq = step.pop(key, n)
            if seq is None and key in step.taken:
                while seq is None and n in step.taken[key]:
                    n += 1
                    seq = step.pop(key, n)
            step.count(key, n)
        call.n = n
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
        step.left -= 1
        if self._left is not None:
            self._left.discard(seq)
        if step.unclaimed is not None:
            step.unclaimed.discard(seq)
        if self._all_open or self._is_open(seq):
            step.open -= 1
            self.open -= 1

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
        if self.open and (not self.rested or self.doubtful(name) or self.renamed(name, key) is not None):
            return True
        return self.elsewhere is not None and self.elsewhere(name, key) is not None

    def renamed(self, name: str, key: bytes) -> tuple[str, int] | None:
        """The name and the record of a completed call with these inputs, of a step that the script has no more."""
        for other, step in self._steps.items():
            if step.open and other != name and not other.startswith(RESERVED):
                seq = step.once.get(key, 0)
                if seq > 0 and self._is_open(seq) and self.may_be_renamed(other, name):
                    return other, seq
        return None

    def doubtful(self, name: str) -> bool:
        """Are completed records of this name still unclaimed?"""
        step = self._steps.get(name)
        return step is not None and step.open > 0

    def open_record(self, name: str, key: bytes) -> int | None:
        """The number of a completed record of that name and key that no call has claimed."""
        step = self._steps.get(name)
        if step is None or not step.open:
            return None
        seqs = (step.once.get(key, 0), *step.again.get(key, {}).values())
        return next((seq for seq in seqs if seq > 0 and self._is_open(seq)), None)

    def is_open(self, name: str, seq: int) -> bool:
        """Is that the number of a completed record of that name that no call has claimed?"""
        step = self._steps.get(name)
        return step is not None and step.open > 0 and seq in self._unclaimed(step)

    def was_called(self, name: str, key: bytes) -> bool:
        """Was a call of that name and key made in this life, and is no record of such a call left?"""
        step = self._steps.get(name)
        if step is None or step.once.get(key, 0) > 0 or key in step.again:
            return False
        return step.occurrence(key) > 0

    def matched(self, name: str) -> bool:
        """Has a call of this name claimed a record?"""
        step = self._steps.get(name)
        return step is not None and step.matched

    def unclaimed(self, name: str) -> list[int]:
        """The numbers of the completed records of this name that no call has claimed, in order."""
        return sorted(self._unclaimed(self._steps[name]))

    def _unclaimed(self, step: _Step) -> set[int]:
        if step.unclaimed is None:
            step.unclaimed = set(filter(self._is_open, step.numbers()))
        return step.unclaimed

    def is_abandoned(self, seq: int) -> bool:
        """Did the workflow give up the call with that record?"""
        return seq in self._abandoned

    def left(self) -> Numbers:
        """The numbers of the records that calls can claim, and have not claimed yet."""
        if self._left is None:
            self._left = Numbers(seq for step in self._steps.values() for seq in step.numbers())
        return self._left
