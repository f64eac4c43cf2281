"""Which record each call claims, of how many there ever were: beside a count kept by hand, and in bounded memory."""

from __future__ import annotations

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
