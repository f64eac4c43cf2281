"""Which records of a run fit a choice, by number; and how the calls of a long run lie in time, counted, not loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("step_choice.sql")

SLICE = 20_000
"""Records that are counted in one read, so that no snapshot is kept for long."""


class Choice(msgspec.Struct, frozen=True):
    """Which records are meant; what is None does not count. `since` and `until` are seconds since the epoch, `text`
    is looked for in name, inputs and error, as it is stored: its case counts."""

    status: str | None = None
    retried: bool = False
    name: str | None = None
    since: float | None = None
    until: float | None = None
    text: str | None = None

    @property
    def is_all(self) -> bool:
        """Does it leave none out?"""
        return self == Choice()


def numbers(store: Store, rid: int, choice: Choice, after: int, most: int) -> list[int]:
    """The numbers of up to `most` records behind number `after` that are meant, in their order."""
    asked = {
        "retried": choice.retried,
        "with_status": choice.status is not None,
        "named": choice.name is not None,
        "between": choice.since is not None and choice.until is not None,
        "with_text": choice.text is not None,
    }
    statement = _SQL["numbers"].replace(":filters", " ".join(_SQL[name] for name, wanted in asked.items() if wanted))
    given: dict[str, Any] = {
        "run": rid,
        "after": after,
        "most": most,
        "status": choice.status,
        "name": choice.name,
        "since": choice.since,
        "until": choice.until,
        "text": choice.text,
    }
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(statement, given).fetchall())
    return [seq for (seq,) in rows]


def last_number(store: Store, rid: int) -> tuple[int, int]:
    """The number of the last record of a run, and how many there are."""
    last, count = _one(store, "last", rid)
    return last, count


def extent(store: Store, rid: int) -> tuple[float, float] | None:
    """When the first call of a run began and the last one ended, in seconds since the epoch; None without records."""
    first, last = _one(store, "extent", rid)
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


def _all(store: Store, query: str, given: dict[str, Any]) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], given).fetchall())
    return rows


def _one(store: Store, query: str, *values: Any) -> Any:
    return store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchone())
