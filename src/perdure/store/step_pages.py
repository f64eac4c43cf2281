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
from perdure.core.records import MS, NAME, SEQ, AttemptRecord, StepRecord
from perdure.core.redaction.printable import one_line
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.rows import checked, checked_of_run, checked_steps, corrupt, intact_of_run
from perdure.store.run_pages import ATTEMPTS, STEPS
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("step_pages.sql")
_LETTER = _SQL["letter"].replace(":letters", load("dead_letters.sql")["get"].partition("WHERE")[0])
_TEXTS, _ONLY_WORD = (_SQL[name].replace(":surely", _SQL["surely"]) for name in ("texts", "only_word"))
_TRIES = _SQL["tries"].replace(":attempts", ATTEMPTS)

SLICE = 20_000
"""Records that are looked through in one read: some 10 ms."""

TEXTS = 1_000
"""Records that are read in one go to be judged by what is shown of them."""

TRIED = 20_000
"""Calls with failed attempts of which it is looked up whether they have a record."""

NEAR = 1_000
"""Records before one of a call that was not executed, among which the last one that was is looked for."""

TRIES = 100
"""Failed attempts of a call that are read, of each life of its run."""

Order = Literal["last", "first", "slowest"]
"""The last record first, the first one first, or the longest attempt first."""

Identity = tuple[str, bytes, int]
"""Name, key and occurrence of a call."""


class Text(msgspec.Struct, frozen=True):
    """A text that people see of a record: no statement can tell where it is, but where it cannot be.

    Attributes:
        meets: is it in this record? It is given as it is stored.
        may: the places of those of many packed inputs that it may be in.
        part: what is in a name or a label that it is in; the empty text is in all.
        word: what packed inputs hold that it is in, or they hold one of the bytes `but_these`; None: nothing is known.
    """

    meets: Callable[[StepRecord], bool]
    may: Callable[[Sequence[bytes]], Iterable[int]]
    part: str
    word: str | None
    but_these: bytes


class DamagedStep(NamedTuple):
    """A record that is not as it was written: its number, name and milliseconds as they stand there now."""

    seq: int
    name: str
    ms: int


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
        text: those with this in their name, label, inputs or error.
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
    text: Text | None = None


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
    began: float | None
    ended: float
    ms: int


def last_number(store: Store, rid: int) -> int:
    """The number of the last record of a run; 0 if it has none."""
    number: int = _all(store, "last_number", rid)[0][0]
    return number


def chunk(
    store: Store, rid: int, wanted: Wanted, order: Order, at: tuple[int, int], most: int
) -> tuple[list[StepRecord], tuple[int, int] | None]:
    """Up to `most` records of one slice, as `listed` gives them.

    Raises:
        StateCorrupt: a checksum does not match.
    """
    found, following = listed(store, rid, wanted, order, at, most)
    records = [one for one in found if isinstance(one, StepRecord)]
    if len(records) < len(found):
        raise corrupt(store.path)
    return records, following


def listed(
    store: Store, rid: int, wanted: Wanted, order: Order, at: tuple[int, int], most: int
) -> tuple[list[StepRecord | DamagedStep], tuple[int, int] | None]:
    """Up to `most` records of one slice, and those that are damaged; they are not looked through for a text.

    Args:
        store: the state file.
        rid: whose.
        wanted: which.
        order: which come first.
        at: behind which to go on: milliseconds (only for "slowest"), and the number of a record.
        most: how many at most, at least 1.

    Returns:
        The records, as they are stored, and behind which to go on; None if there are no more.
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
    }
    filters = [_SQL[name] for name, asked in names.items() if asked]
    if wanted.text is not None and wanted.text.word is not None:
        others = " ".join(f"OR instr(input, x'{byte:02x}')" for byte in wanted.text.but_these)
        filters.append(_ONLY_WORD.replace(":others", others))
    statement = _SQL[{"last": "newest_first", "first": "oldest_first", "slowest": "slowest_first"}[order]]
    statement = statement.replace(":filters", " ".join(filters))
    at_once = most if wanted.text is None else TEXTS
    given = msgspec.structs.asdict(wanted) | {
        "but": msgspec.json.encode(wanted.but).decode(),
        "run": rid,
        "first": first,
        "last": last,
        "ms": ms,
        "seq": seq,
        "most": at_once,
    }

    def question(connection: apsw.Connection) -> tuple[list[StepRecord | DamagedStep], tuple[int, int] | None, int]:
        if wanted.text is None:
            found = _records(store, connection, statement, given)
            reached = (found[-1].ms, found[-1].seq) if len(found) == at_once else None
        else:
            found, reached = _with_text(store, connection, statement, given, wanted.text)
        (end,) = next(connection.execute(_SQL["last_number"], (rid,)))
        return found, reached, end

    read: tuple[list[StepRecord | DamagedStep], tuple[int, int] | None, int] = store.journal.read(question)
    found, reached, end = read
    if (text := wanted.text) is not None:
        meant = (one for one in found if isinstance(one, StepRecord) and text.meets(one))
        found = list(islice(meant, most))
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


def _records(
    store: Store, connection: apsw.Connection, statement: str, given: dict[str, Any]
) -> list[StepRecord | DamagedStep]:
    rows = rows_of(connection, statement.replace(":steps", STEPS), given)
    return if_sound(
        lambda: [*checked_steps(rows, store.path)],
        lambda: [intact_of_run(StepRecord, row) or DamagedStep(row[SEQ], one_line(row[NAME]), row[MS]) for row in rows],
    )


def _with_text(
    store: Store, connection: apsw.Connection, statement: str, given: dict[str, Any], text: Text
) -> tuple[list[StepRecord | DamagedStep], tuple[int, int] | None]:
    """The records in which a text may be, of those that a statement finds, and how far that has come if it is full."""
    given |= {"part": text.part, "word": text.word}
    rows: list[Any] = connection.execute(statement.replace(":steps", _TEXTS), given).fetchall()
    others = [row for row in rows if not row[0]]
    surely = [seq for is_sure, _, seq, _ in rows if is_sure]
    maybe = [others[place][2] for place in text.may([row[3] for row in others])] if others else []
    numbers = msgspec.json.encode(surely + maybe).decode()
    found = _records(store, connection, _SQL["numbered"], {"run": given["run"], "numbers": numbers})
    places = {seq: place for place, (_, _, seq, _) in enumerate(rows)}
    found.sort(key=lambda one: places[one.seq])
    return found, (rows[-1][1], rows[-1][2]) if len(rows) == given["most"] else None


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


def ends_before(store: Store, rid: int, seqs: Sequence[int]) -> dict[int, float]:
    """When the last call that was executed before each of these records ended, in seconds since the epoch; of one that
    comes after many that were not executed, that is not looked for."""
    given = {"run": rid, "seqs": msgspec.json.encode(seqs).decode(), "most": NEAR}
    return {row[0]: row[1] for row in _asked(store, _SQL["ends_before"], given)}


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
                    began=min(filter(None, (known.began, one.began)), default=None),
                    ended=max(known.ended, one.ended),
                    ms=known.ms + one.ms,
                )
            found[one[:3]] = one
    return sorted(found.values(), key=lambda one: one.first)


def _asked(store: Store, statement: str, given: dict[str, Any]) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: rows_of(connection, statement, given))
    return rows


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return rows
