"""Which record each call claims, of how many there ever were: beside a count kept by hand, and in bounded memory."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from perdure.api.step import step
from perdure.core.execution import record_matching, step_claims
from perdure.core.execution.history import History
from perdure.core.execution.known_records import page_of
from perdure.core.execution.number_set import Numbers
from perdure.core.execution.spec import Call, spec_of
from perdure.core.execution.spending import ONE_CALL, Amounts
from perdure.core.records import KEY, KIND, NAME, SEQ, STATUS, N, Row, StepStatus
from perdure.errors import StateCorrupt


@step(name="claiming")
def claiming(i: int) -> int:
    return i


@step(name="claiming too")
def claiming_too(i: int) -> int:
    return i


SPECS = {spec.name: spec for spec in map(spec_of, (claiming, claiming_too)) if spec is not None}


def called(name: str, number: int) -> Call:
    return Call(SPECS[name], (number,), {}, b"", number.to_bytes(16, "little"))


@pytest.mark.parametrize("one_by_one", [record_matching.ONE_BY_ONE, 3])
@pytest.mark.parametrize("seed", range(20))
def test_occurrences_are_counted_and_find_their_records(
    seed: int, one_by_one: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is the n-th with its inputs, and has the record of the n-th, in whatever order calls and records come."""
    monkeypatch.setattr(record_matching, "ONE_BY_ONE", one_by_one)
    monkeypatch.setattr(step_claims, "ONE_BY_ONE", one_by_one)
    draw = random.Random(seed)
    made = [(draw.choice(list(SPECS)), draw.randrange(15)) for _ in range(60)]
    counts: Counter[tuple[str, int]] = Counter()
    records: dict[tuple[str, int, int], tuple[int, StepStatus]] = {}
    recorded = []
    for name, number in made:
        n = counts[name, number]
        counts[name, number] += 1
        recorded.append((name, number, n))
    draw.shuffle(recorded)
    index = []
    for seq, (name, number, n) in enumerate(recorded, 1):
        status: StepStatus = draw.choice(["done", "done", "done", "failed"])
        records[name, number, n] = seq, status
        index.append((seq, name, number.to_bytes(16, "little"), n, status, "step"))
    history = History(1, "run", index)
    assert history.recorded == history.last == len(made)
    open_numbers = defaultdict(set)
    for (name, _, _), (seq, status) in records.items():
        if status == "done":
            open_numbers[name].add(seq)
    left = {seq for seq, _ in records.values()}
    asks = draw.random() < 0.5
    counts.clear()
    more = [(draw.choice(list(SPECS)), draw.randrange(20)) for _ in range(60)]
    draw.shuffle(made)
    for name, number in made + more:
        n = counts[name, number]
        counts[name, number] += 1
        call = called(name, number)
        seq, status = records.get((name, number, n), (None, "done"))
        assert (history.claim(call), call.n) == (seq, n)
        open_numbers[name].discard(seq)
        left.discard(seq)
        assert history.open == sum(map(len, open_numbers.values()))
        if asks:
            assert history.unclaimed(name) == sorted(open_numbers[name])
            assert list(history.left()) == sorted(left)
        assert history.doubtful(name) == bool(open_numbers[name])


Index = list[tuple[int, str, bytes, int, str, str]]


def read_when_needed(index: Index) -> tuple[History, Iterator[Index]]:
    """A run whose records are read three at a time, and the pages that have not been read."""
    unread = (index[at : at + 3] for at in range(0, len(index), 3))
    history = History(1, "run", last=len(index))
    history.read_when_needed(ThreeAtATime(unread))
    return history, unread


class ThreeAtATime:
    """Pages of an index, as the state file gives them: as rows, if all records of one are plain."""

    def __init__(self, pages: Iterator[Index]) -> None:
        self.pages = pages
        self.next: Index | None = None
        self.kept: list[int] = []  # the numbers of records that were in hand, and are asked for one by one after all

    def next_page(self) -> Any:
        page, self.next = self.next or next(self.pages, []), None
        return next(iter(page_of(page)), None)

    def next_rows(self) -> list[Row] | None:
        self.next = self.next or next(self.pages, None)
        if not self.next or any(n or status != "done" for _, _, _, n, status, _ in self.next):
            return None
        page, self.next = self.next, None
        return [
            (1, seq, name, key, n, status, b"", b"", 0.0, 0, 1, 0, kind) for seq, name, key, n, status, kind in page
        ]

    def keep(self, rows: list[Row]) -> Any:
        self.kept += [row[SEQ] for row in rows]
        return page_of((row[SEQ], row[NAME], row[KEY], row[N], row[STATUS], row[KIND]) for row in rows)[0]


@pytest.mark.parametrize("seed", range(20))
def test_records_that_are_read_when_they_are_needed_are_claimed_like_others(seed: int) -> None:
    """Whatever calls an edited script makes, in whatever order, and whatever else it is asked meanwhile."""
    draw = random.Random(seed)
    counts: Counter[tuple[str, int]] = Counter()
    index = []
    for seq in range(1, 61):
        name, number = draw.choice(list(SPECS)), draw.randrange(30)
        status = draw.choice(["done", "done", "done", "failed" if seed % 2 else "done"])
        index.append((seq, name, number.to_bytes(16, "little"), counts[name, number], status, "step"))
        counts[name, number] += 1
    known, (read, _) = History(1, "run", index), read_when_needed(index)
    made = [(name, int.from_bytes(key, "little")) for _, name, key, *_ in index]
    for _ in range(draw.randrange(4)):
        made.insert(draw.randrange(60), (draw.choice(list(SPECS)), draw.randrange(40)))
        del made[draw.randrange(len(made))]
    asks = draw.randrange(len(made))
    for at, (name, number) in enumerate(made):
        one, other = called(name, number), called(name, number)
        if read.ahead and (read.ahead[-1][NAME], read.ahead[-1][KEY]) == (name, one.key) and draw.randrange(2):
            one.seq = read.ahead.pop()[SEQ]  # as `LocalScope.call` does
        else:
            read.claim(one)
        assert (known.claim(other) or 0, other.n) == (one.seq, one.n)
        assert bool(read.open) == bool(known.open) or read.reads_on
        if at == asks:
            assert read.unsettled(name) == known.unsettled(name)
    assert list(read.left()) == list(known.left())
    assert [read.unclaimed(name) for name in SPECS] == [known.unclaimed(name) for name in SPECS]
    assert (read.open, read.recorded, read.last) == (known.open, 60, 60)


def test_a_run_that_goes_on_as_before_reads_no_further_than_it_has_come() -> None:
    """Its records need not be in memory together. A call without a record has all of them read before it is judged."""
    index = [(seq, "claiming", seq.to_bytes(16, "little"), 0, "done", "step") for seq in range(1, 31)]
    history, unread = read_when_needed(index)
    for seq in range(1, 11):
        assert history.claim(called("claiming", seq)) == seq
    assert history.open
    assert next(unread)[0][0] == 13
    history, unread = read_when_needed(index)
    assert history.claim(called("claiming", 77)) is None
    assert next(unread, None) is None
    assert history.unsettled("claiming")


def test_a_call_like_one_that_was_just_claimed_is_another_one() -> None:
    """An edited script makes a call twice that it made once: the second has no record, the others have."""
    index = [(seq, "claiming", seq.to_bytes(16, "little"), 0, "done", "step") for seq in range(1, 7)]
    history, _ = read_when_needed(index)
    calls = [called("claiming", number) for number in (1, 1, 2, 1, 3, 4)]
    assert [(history.claim(call), call.n) for call in calls] == [(1, 0), (None, 1), (2, 0), (None, 2), (3, 0), (4, 0)]


def test_a_record_that_another_call_was_given_is_no_occurrence_any_more() -> None:
    """Calls that are alike take the records beside it, and new occurrences behind it."""
    key = (1).to_bytes(16, "little")
    history = History(1, "run", [(seq, "claiming", key, seq - 1, "done", "step") for seq in (1, 2)])
    other = called("claiming", 2)
    history.adopt(other, SimpleNamespace(name="claiming", key=key, n=1, seq=2))  # type: ignore[arg-type]
    assert (other.key, other.n, other.seq, history.open) == (key, 1, 2, 1)
    calls = [called("claiming", 1) for _ in range(3)]
    assert [(history.claim(call), call.n) for call in calls] == [(1, 0), (None, 2), (None, 3)]
    assert history.open == 0


def test_whether_there_is_an_unclaimed_record_is_known_without_claiming_it() -> None:
    """Records are read until it is found; those in hand are known as well."""
    index = [(seq, "claiming", seq.to_bytes(16, "little"), 0, "done", "step") for seq in range(1, 7)]
    index.append((7, "claiming", (3).to_bytes(16, "little"), 1, "done", "step"))
    history, _ = read_when_needed(index)
    keys = {number: number.to_bytes(16, "little") for number in (1, 3, 6, 9)}
    assert [history.knows("claiming", key) for key in keys.values()] == [True, True, True, False]
    assert not history.knows("claiming too", keys[1])
    assert history.claim(called("claiming", 1)) == 1
    assert not history.knows("claiming", keys[1])
    assert history.claim(called("claiming", 3)) == 3
    assert history.knows("claiming", keys[3])


KINDS: list[tuple[str, StepStatus, str]] = [
    *(("step", "done", name) for name in 4 * [*SPECS]),
    *(("step", status, name) for status in ("failed", "dead", "abandoned") for name in SPECS),
    ("builtin", "done", "perdure.sleep"),
    ("builtin", "failed", "perdure.sleep"),
    ("builtin", "done", "perdure.now"),
    ("defer", "done", "perdure.defer"),
]


@pytest.mark.parametrize("seed", range(12))
def test_what_a_run_says_of_its_records(seed: int) -> None:
    """Beside a list: which are open, exempt, failed, given up or claimed, whatever else it is asked before that.

    Notes, waits, failures and what was given up are never held against a script; nor is what is exempt. What was given
    up and is made again has a further record, which stands for it.
    """
    draw = random.Random(seed)
    exempt = draw.choice([(), (), ((5, 9), (20, 31))])
    rows: list[tuple[int, str, bytes, int, str, str]] = []
    counts: Counter[tuple[str, bytes]] = Counter()
    many = (3, 12, 40)[seed % 3]
    while len(rows) < many:
        kind, status, name = draw.choice(KINDS)
        key = draw.randrange(20 if seed % 2 else 4000).to_bytes(16, "little")
        given_up = [row for row in rows if row[4] == "abandoned" and row[5] == "step"]
        n = counts[name, key]
        if given_up and draw.random() < 0.3:  # made again after all, and its record says so
            _, name, key, n, _, kind = draw.choice(given_up)
            rows = [(row[0], *row[1:4], "replaced", row[5]) if row[1:4] == (name, key, n) else row for row in rows]
            status = "done"
        else:
            counts[name, key] += 1
        rows.append((len(rows) + 1, name, key, n, status, kind))
    given = [(*row[:4], "abandoned", row[5]) if row[4] == "replaced" else row for row in rows]
    history = History(1, "run", given, exempt=exempt)
    spared = {row[0] for row in rows if any(first <= row[0] <= last for first, last in exempt)}
    free = {row[:4]: row for row in rows if row[4] != "replaced"}
    held = {
        row[0]
        for row in free.values()
        if row[4] == "done" and row[5] != "defer" and row[1] != "perdure.sleep" and row[0] not in spared
    }
    replaced = {row[0] for row in rows if row[4] == "replaced"}
    for seq, *_, status, _ in rows:
        assert history.is_exempt(seq) is (seq in spared)
        if seq not in replaced:
            assert history.is_done(seq) is (status not in ("failed", "dead"))
            assert history.has_failed(seq) is (status == "failed")
        assert history.is_abandoned(seq) is (status == "abandoned")
    made: Counter[tuple[str, bytes]] = Counter()
    claimed: set[str] = set()
    asks = draw.random() < 0.5
    for _ in range(50):
        name, number = draw.choice([*SPECS]), draw.randrange(24)
        if (wanted := [row for row in free.values() if row[1] in SPECS]) and draw.random() < 0.7:
            name, number = (row := draw.choice(wanted))[1], int.from_bytes(row[2], "little")
        call = called(name, number)
        call.n = n = made[name, call.key]
        assert not history.has_counted(call)
        found = [row for row in free.values() if row[1:4] == (name, call.key, n)]
        assert history.claim(call) == (found[0][0] if found else None)
        assert (call.n, bool(call.seq)) == (n, bool(found))
        assert history.has_counted(call)
        made[name, call.key] += 1
        for row in found:
            del free[row[:4]]
            claimed.add(name)
            held.discard(row[0])
        assert history.open == len(held)
        for name in (*SPECS, "perdure.now", "perdure.sleep"):
            mine = [row for row in free.values() if row[1] == name]
            open_now = [row[0] for row in mine if row[0] in held]
            assert history.doubtful(name) is bool(open_now)
            assert history.matched(name) is (name in claimed)
            if asks and any(row[1] == name for row in rows):
                assert history.unclaimed(name) == open_now
                assert [row[0] for row in rows if history.is_open(name, row[0])] == open_now
            for key in {row[2] for row in rows}:
                there = [row for row in mine if row[2] == key]
                assert history.knows(name, key) is bool(there)
                assert history.was_called(name, key) is (made[name, key] > 0 and not there)
                assert history.open_record(name, key) in ([row[0] for row in there if row[0] in held] or [None])
        if asks:
            assert list(history.left()) == sorted(row[0] for row in free.values())


@pytest.mark.parametrize("reads", [False, True])
def test_a_call_with_a_record_counts_for_the_budgets_around_it_once(reads: bool) -> None:
    """By what it has spent in earlier lives; one that ended well and spent nothing by its record alone.

    Whether its record lay in memory, was taken in the order of before, or was another's.
    """
    index: Index = [(seq, "claiming", seq.to_bytes(16, "little"), 0, "done", "step") for seq in range(1, 9)]
    index[7] = (8, *index[7][1:4], "failed", "step")
    history = read_when_needed(index)[0] if reads else History(1, "run", index)
    history.spent = {("claiming", index[2][2], 0): Amounts(usd=5, tokens=1, calls=1, ms=7)}
    came: list[int] = []
    history.own_errors = SimpleNamespace(came_to=came.append)  # type: ignore[assignment]
    counted: list[Amounts] = []
    ledger: Any = SimpleNamespace(replayed=counted.append, undoable=False)
    claims, by_record = [], []
    for number in (1, 2, 3, 6, 8, 30):
        call = called("claiming", number)
        call.ledgers = (ledger,)
        claims.append(history.claim(call))
        by_record.append(call.by_record)
    assert claims == [*came, None] == [1, 2, 3, 6, 8, None]
    assert by_record == [True, True, False, True, False, False]
    assert counted == [ONE_CALL, ONE_CALL, Amounts(5, 1, 1, 7), ONE_CALL, Amounts()]
    assert not ledger.undoable
    other = called("claiming", 31)
    other.ledgers = (ledger,)
    before = history.claims
    history.adopt(other, SimpleNamespace(name="claiming", key=index[4][2], n=0, seq=5))  # type: ignore[arg-type]
    assert (other.key, other.seq, came[-1], counted[-1]) == (index[4][2], 5, 5, ONE_CALL)
    assert history.claims > before
    assert history.unclaimed("claiming") == [4, 7]
    assert history.open == 2
    for seq in (4, 7):
        assert history.doubtful("claiming")
        history.adopt(
            called("claiming", 32),
            SimpleNamespace(name="claiming", key=index[seq - 1][2], n=0, seq=seq),  # type: ignore[arg-type]
        )
    assert (history.doubtful("claiming"), history.open) == (False, 0)
    assert history.claim(called("claiming", 5)) is None


@pytest.mark.parametrize(
    ("asked", "before", "answers"), [(None, None, False), (7, None, True), (7, 7, True), (8, 7, False)]
)
def test_which_records_an_earlier_process_left(asked: int | None, before: int | None, answers: bool) -> None:
    """Those up to the last one that was there when the run was resumed; all, if none is made meanwhile."""
    assert History(1, "run", before=before).from_before(asked) is answers


@pytest.mark.parametrize(("replaying", "rested", "here"), [*itertools.product([False, True], repeat=3)])
@pytest.mark.parametrize("left", [(), ("claiming",), ("claiming too",)])
def test_when_a_call_without_a_record_waits_for_others(
    replaying: bool, rested: bool, here: bool, left: tuple[str, ...]
) -> None:
    """Until the replay has come to rest while records are open; then only while some of its own name are.

    A loop that sees again what it saw waits too.
    """
    key = bytes(16)
    history = History(1, "run", [(seq, name, key, 0, "done", "step") for seq, name in enumerate(left, 1)])
    history.replaying, history.rested, history.replays_here = replaying, rested, lambda: here
    own = "claiming" in left
    expected = (replaying and (not rested or here)) or (bool(left) and (not rested or own))
    assert history.unsettled("claiming") is expected
    call = called("claiming", 3)
    assert history.unsettled("claiming", call) is expected
    history.elsewhere = lambda call: None
    assert history.unsettled("claiming", call) is expected
    history.elsewhere = lambda call: SimpleNamespace()  # type: ignore[assignment,return-value]
    assert history.unsettled("claiming", call) is True
    assert history.unsettled("claiming") is expected


def test_a_step_that_the_script_has_no_more_is_found_by_its_inputs() -> None:
    """A completed call with the same inputs, of another name, that may have been renamed to that of the call."""
    key = (1).to_bytes(16, "little")
    asked: list[tuple[str, str]] = []

    def renamed(rows: Index, *, may: bool = True) -> tuple[str, int] | None:
        history = History(1, "run", rows)
        history.may_be_renamed = lambda before, now: asked.append((before, now)) or may  # type: ignore[func-returns-value]
        return history.renamed(called("claiming", 1))

    assert renamed([(1, "gone", key, 0, "done", "step")]) == ("gone", 1)
    assert asked == [("gone", "claiming")]
    assert renamed([(1, "gone", key, 0, "done", "step")], may=False) is None
    assert renamed([(1, "gone", key, 0, "failed", "step"), (2, "gone", bytes(16), 0, "done", "step")]) is None
    assert renamed([(1, "claiming", key, 0, "done", "step")]) is None
    assert renamed([(1, "perdure.now", key, 0, "done", "builtin")]) is None
    assert renamed([(1, "perdure.enqueue:gone", key, 0, "done", "builtin")]) is None
    history, unread = read_when_needed([(seq, "gone", seq.to_bytes(16, "little"), 0, "done", "step") for seq in (3, 1)])
    assert history.renamed(called("claiming", 1)) is None
    assert next(unread, None) is None, "all are known by then"
    history.may_be_renamed = lambda before, now: True
    history.rested = True
    assert history.unsettled("claiming", called("claiming", 1))
    assert not history.unsettled("claiming", called("claiming", 2))


def test_a_call_takes_no_record_of_another_name_or_with_other_inputs() -> None:
    """Not even the next one in the order of before. A record in hand is known of, and stays where it is."""
    index = [(seq, "claiming", seq.to_bytes(16, "little"), 0, "done", "step") for seq in (1, 2, 3)]
    for name, number in (("claiming too", 1), ("claiming", 9)):
        history, _ = read_when_needed(index)
        assert history.claim(called("claiming", 1)) == 1
        assert history.knows("claiming", index[1][2])
        assert not history.knows("claiming too", index[1][2])
        history, _ = read_when_needed(index)
        assert history.claim(called(name, number)) is None
        assert history.unclaimed("claiming") == [1, 2, 3]
        assert [history.claim(called("claiming", number)) for number in (2, 1, 3)] == [2, 1, 3]


def test_records_with_a_gap_between_occurrences() -> None:
    """New calls get the occurrences that no record has, in order."""
    key = (1).to_bytes(16, "little")
    history = History(1, "run", [(seq, "claiming", key, n, "done", "step") for seq, n in enumerate((0, 1, 3, 4), 1)])
    for seq, n in ((2, 1), (3, 3)):
        history.adopt(called("claiming", 7), SimpleNamespace(name="claiming", key=key, n=n, seq=seq))  # type: ignore[arg-type]
    calls = [called("claiming", 1) for _ in range(5)]
    assert [(history.claim(call), call.n) for call in calls] == [(1, 0), (None, 2), (4, 4), (None, 5), (None, 6)]


def test_records_that_cannot_be_read_are_never_taken_to_be_none() -> None:
    """A call that swallows the error does not make the next one new."""
    history = History(1, "run", last=5)

    class Damaged(ThreeAtATime):
        def next_page(self) -> None:
            raise StateCorrupt("a stored record does not match its checksum", "restore a backup")

    history.read_when_needed(Damaged(iter(())))
    for _ in range(2):
        with pytest.raises(StateCorrupt):
            history.claim(called("claiming", 1))
        with pytest.raises(StateCorrupt):
            history.unsettled("claiming")


def test_a_million_items_take_a_few_bytes_each() -> None:
    """Of the calls of a map, so much is kept that a repetition is noticed: less than 20 bytes of each."""
    history = History(1, "run")
    key = random.Random(1)
    keys = [key.randbytes(16) for _ in range(record_matching.ONE_BY_ONE + 60_000)]
    call = called("claiming", 0)

    def claims(first: int, last: int) -> None:
        for at in range(first, last):
            call.key = keys[at]
            assert history.claim(call) is None
            assert call.n == 0

    claims(0, record_matching.ONE_BY_ONE)
    tracemalloc.start()
    try:
        claims(record_matching.ONE_BY_ONE, len(keys))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 60_000 < 20
    call.key = keys[record_matching.ONE_BY_ONE + 30_000]
    assert history.claim(call) is None
    assert call.n == 1


def test_a_set_of_numbers_that_lie_close_together() -> None:
    """It has what was put in, in order, and not what was taken out; far apart, they take no room between them."""
    draw = random.Random(2)
    put = [draw.randrange(20_000) for _ in range(5_000)] + [4095, 4096, 1 << 60]
    numbers, known = Numbers(put), set(put)
    for number in [*draw.sample(put, 2_000), 7, 1 << 50, 4095]:
        numbers.discard(number)
        known.discard(number)
    assert list(numbers) == sorted(known)
    assert [number for number in (*range(20_100), 1 << 50, 1 << 60) if number in numbers] == sorted(known)
