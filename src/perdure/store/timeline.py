"""How the calls of a long run lie in time: counted by SQLite, and not loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("timeline.sql")

SLICE = 20_000
"""Records that are counted in one read, so that no snapshot is kept for long."""


def total(store: Store, rid: int) -> tuple[int, int]:
    """The number of the last record of a run, and how many there are."""
    last, count = _all(store, "total", (rid,))[0]
    return last, count


def not_done(store: Store, rid: int) -> tuple[tuple[str, int], ...]:
    """How many records of a run have which status other than "done"."""
    return tuple(_all(store, "not_done", (rid,)))


def extent(store: Store, rid: int) -> tuple[float, float] | None:
    """When the first call of a run began and the last one ended, in seconds since the epoch; None without records."""
    first, last = _all(store, "extent", (rid,))[0]
    return None if first is None else (first, last)


def bins(store: Store, rid: int, origin: float, width: float) -> Iterator[list[tuple[int, str, int, int]]]:
    """How many calls began in each span of time, slice by slice: its number, status, how many, how many retried.

    Args:
        store: the state file.
        rid: the run.
        origin: where span 0 begins, in seconds since the epoch.
        width: of a span, in seconds.
    """
    after = 0
    while True:
        given = {"run": rid, "after": after, "most": SLICE, "origin": origin, "width": width}
        rows = _all(store, "bins", given)
        if not rows:
            return
        yield [(place, status, count, again) for _, place, status, count, again in rows]
        after = max(seq for seq, *_ in rows)


def within(store: Store, rid: int, since: float, until: float) -> int:
    """How many calls were executed, with their last attempt, in a time (seconds since the epoch)."""
    found, after = 0, 0
    while True:
        given = {"run": rid, "after": after, "most": SLICE, "since": since, "until": until}
        last, count = _all(store, "within", given)[0]
        if last is None:
            return found
        found, after = found + count, last


def _all(store: Store, query: str, given: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], given).fetchall())
    return rows
