"""The records of a run a page at a time, what was tried of them, and how many there are of which step.

All of a long run is read in slices of record numbers, each a read of its own, so that no snapshot is kept for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple

import apsw
import msgspec

from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, StepRecord
from perdure.store.rows import checked, checked_of_run, checked_steps
from perdure.store.run_pages import ATTEMPTS, STEPS
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("step_pages.sql")
_LETTER = _SQL["letter"].replace(":letters", load("dead_letters.sql")["get"].partition("WHERE")[0])
_TRIES = _SQL["tries"].replace(":attempts", ATTEMPTS)

SLICE = 20_000
"""Records that are looked through in one read: some 10 ms."""

TEXTS = 1_000
"""Records that are read in one go to be judged by what is shown of them."""

TRIED = 20_000
"""Calls with failed attempts of which it is looked up whether they have a record."""

TRIES = 100
"""Failed attempts of a call that are read, of each life of its run."""

Order = Literal["last", "first", "slowest"]
"""The last record first, the first one first, or the longest attempt first."""

Identity = tuple[str, bytes, int]
"""Name, key and occurrence of a call."""


class Wanted(msgspec.Struct, frozen=True):
    """Which records are meant.

    Attributes:
        name: of this step.
        but: of none of these.
        status: with this status; "not done": with any but that.
        again: those that were tried more than once.
        waited: those that waited before an attempt, for a service or a lock, say.
        cut: those that were in the middle of an attempt when a process left the run, and were executed again.
        batch: the items of the map of this number.
        since: begun then or later, in seconds since the epoch.
        until: begun before then.
        over: whose last attempt ended then or later.
        slow: whose last attempt took so many milliseconds or more.
        word: those with this in their name, label or inputs, and those of which that says nothing: they have failed or
            are deferred, or their inputs hold one of the bytes `but_these`.
        meets: those that it is true of, by what no statement can tell; it is given the record as it is stored.
    """

    name: str | None = None
    but: tuple[str, ...] = ()
    status: str | None = None
    again: bool = False
    waited: bool = False
    cut: bool = False
    batch: int | None = None
    since: float | None = None
    until: float | None = None
    over: float | None = None
    slow: int | None = None
    word: str | None = None
    but_these: bytes = b""
    meets: Callable[[StepRecord], bool] | None = None


class Group(NamedTuple):
    """The calls of a step with the same status: how many, how many of them were tried again, waited or were broken off
    by a death, the numbers of the first and the last one, from when to when they were executed (seconds since the
    epoch), and how long together (ms)."""

    name: str
    kind: str
    status: str
    calls: int
    again: int
    waited: int
    cut: int
    first: int
    last: int
    began: float
    ended: float
    ms: int


def last_number(store: Store, rid: int) -> int:
    """The number of the last record of a run; 0 if it has none."""
    number: int = _all(store, "last_number", rid)[0][0]
    return number


def chunk(
    store: Store, rid: int, wanted: Wanted, order: Order, at: tuple[int, int], most: int
) -> tuple[list[StepRecord], tuple[int, int] | None]:
    """Up to `most` records of one slice.

    Args:
        store: the state file.
        rid: whose.
        wanted: which.
        order: which come first.
        at: behind which to go on: milliseconds (only for "slowest"), and the number of a record.
        most: how many at most, at least 1.

    Returns:
        The records, as they are stored, and behind which to go on; None if there are no more.

    Raises:
        StateCorrupt: a checksum does not match.
    """
    ms, seq = at
    first, last = (seq, seq + SLICE) if order == "first" else (max(seq - 1 - SLICE, 0), seq - 1)
    names = {
        "only_name": wanted.name is not None,
        "no_names": bool(wanted.but),
        "only_status": wanted.status not in (None, "not done"),
        "only_not_done": wanted.status == "not done",
        "only_again": wanted.again,
        "only_waited": wanted.waited,
        "only_cut": wanted.cut,
        "only_batch": wanted.batch is not None,
        "only_since": wanted.since is not None,
        "only_until": wanted.until is not None,
        "only_over": wanted.over is not None,
        "only_slow": wanted.slow is not None,
        "only_word": wanted.word is not None,
    }
    filters = " ".join(_SQL[name] for name, asked in names.items() if asked)
    others = " ".join(f"OR instr(input, x'{byte:02x}')" for byte in wanted.but_these)
    filters = filters.replace(":others", others)
    statement = _SQL[{"last": "newest_first", "first": "oldest_first", "slowest": "slowest_first"}[order]]
    at_once = most if wanted.meets is None else TEXTS
    given = msgspec.structs.asdict(wanted) | {
        "but": msgspec.json.encode(wanted.but).decode(),
        "run": rid,
        "first": first,
        "last": last,
        "ms": ms,
        "seq": seq,
        "most": at_once,
    }

    def question(connection: apsw.Connection) -> tuple[list[Any], int]:
        rows = connection.execute(statement.replace(":steps", STEPS).replace(":filters", filters), given).fetchall()
        (end,) = next(connection.execute(_SQL["last_number"], (rid,)))
        return rows, end

    found_in: tuple[list[Any], int] = store.journal.read(question)
    rows, end = found_in
    found = checked_steps(rows, store.path)
    full = len(found) == at_once
    reached = (found[-1].ms, found[-1].seq) if full else None
    if wanted.meets is not None:
        found = list(islice(filter(wanted.meets, found), most))
        if len(found) == most:
            reached = found[-1].ms, found[-1].seq
    if reached is not None:
        return found, reached
    match order:
        case "first":
            return found, (0, last) if last < end else None
        case "last":
            return found, (0, first + 1) if first else None
        case "slowest":
            return found, None


def every(
    store: Store, rid: int, wanted: Wanted, order: Order = "first", most: int = 200
) -> Iterator[list[StepRecord]]:
    """All records that are meant, up to `most` at a time, as they are stored."""
    at: tuple[int, int] | None = beginning(store, rid, order)
    while at is not None:
        found, at = chunk(store, rid, wanted, order, at, most)
        if found:
            yield found


def beginning(store: Store, rid: int, order: Order) -> tuple[int, int]:
    """Where a first page begins."""
    return (
        (1 << 62, 1 << 62) if order == "slowest" else (0, 0) if order == "first" else (0, last_number(store, rid) + 1)
    )


def tries_of(store: Store, rid: int, calls: Iterable[Identity]) -> dict[Identity, list[AttemptRecord]]:
    """The failed attempts of calls, by what identifies the call; inputs as they are stored.

    Raises:
        StateCorrupt: a checksum does not match.
    """

    def question(connection: apsw.Connection) -> dict[Identity, list[AttemptRecord]]:
        epochs: Any = connection.execute(_SQL["epochs"], (rid,)).fetchall()
        found: dict[Identity, list[AttemptRecord]] = {}
        for call in calls if epochs else ():
            for (epoch,) in epochs:
                for row in connection.execute(_TRIES, (rid, epoch, *call, TRIES)):
                    found.setdefault(call, []).append(checked_of_run(AttemptRecord, row, store.path))
        return found

    tries: dict[Identity, list[AttemptRecord]] = store.journal.read(question)
    return tries


def letters_of(store: Store, rid: int, seqs: Sequence[int]) -> dict[int, LetterRecord]:
    """The dead letters of records, by the number of the record, as they are stored.

    Raises:
        StateCorrupt: a checksum does not match.
    """

    def question(connection: apsw.Connection) -> list[Any]:
        return [row for seq in seqs for row in connection.execute(_LETTER, (rid, seq))]

    found = [checked(LetterRecord, row, store.path) for row in store.journal.read(question)]
    return {letter.seq: letter for letter in found}


def tried_without_record(store: Store, rid: int) -> list[Identity]:
    """The calls of which an attempt has failed and that have no record; of more than 20,000 such calls, some."""
    tried = dict.fromkeys(_all(store, "tried_calls", rid, TRIED))
    if not tried:
        return []
    end = last_number(store, rid)
    for first in range(0, end, SLICE):
        given = {"run": rid, "first": first, "last": first + SLICE}
        for call in _asked(store, _SQL["recorded"], given):
            tried.pop(tuple(call), None)
    return list(tried)


def tried_names(store: Store, rid: int) -> list[str]:
    """The steps of which an attempt has failed."""
    return [name for (name,) in _all(store, "tried_names", rid)]


def count(store: Store, rid: int, name: str | None, before: int | None, but: Sequence[str] = ()) -> int:
    """How many records a run has, of one step or of all but some, with numbers below `before`, or in all."""
    without = msgspec.json.encode(but).decode()
    end = last_number(store, rid) if before is None else before - 1
    parts = ((first, min(first + SLICE, end)) for first in range(0, end, SLICE))
    return sum(_all(store, "count", rid, *part, name, without)[0][0] for part in parts)


def groups(store: Store, rid: int) -> list[Group]:
    """How many calls of each step a run has made, by what they came to, in the order of their first ones."""
    found: dict[tuple[str, str, str], Group] = {}
    for first in range(0, last_number(store, rid), SLICE):
        for row in _asked(store, _SQL["groups"], {"run": rid, "first": first, "last": first + SLICE}):
            one = Group(*row)
            known = found.get(one[:3])
            if known is not None:
                one = known._replace(
                    calls=known.calls + one.calls,
                    again=known.again + one.again,
                    waited=known.waited + one.waited,
                    cut=known.cut + one.cut,
                    last=one.last,
                    began=min(known.began, one.began),
                    ended=max(known.ended, one.ended),
                    ms=known.ms + one.ms,
                )
            found[one[:3]] = one
    return sorted(found.values(), key=lambda one: one.first)


def _asked(store: Store, statement: str, given: dict[str, Any]) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(statement, given).fetchall())
    return rows


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return rows
