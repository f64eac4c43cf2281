"""The maps of a run, and how far each of them is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.store import batches
from perdure.store.damaged_rows import Damage
from perdure.store.runs import Store


class MapView(msgspec.Struct, frozen=True):
    """A map of a run.

    Attributes:
        number: which one of the run, from 1: the `batch` of its items.
        step: over which step.
        total: how many items there are; None if that is not known.
        concurrency: how many at a time; None if that adapts.
        began: when it began, in whatever life of the run.
        ended: when it was over; None while it is under way, or was left.
        counts: how many of its items have ended, by status.
    """

    number: int
    step: str
    total: int | None
    concurrency: int | None
    began: datetime | None
    ended: datetime | None
    counts: dict[str, int]


def maps_of(store: Store, run: RunRecord, damage: Damage) -> list[MapView]:
    """All maps of a run but damaged ones, in the order in which it came to them.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[batches.BatchRow | int] = store.journal.read(lambda at: batches.each_of(at, run.rid))
    rows = damage.intact(found, "map")
    if not rows:
        return []
    counts: dict[int, dict[str, int]] = store.journal.read(lambda at: batches.counts_of(at, run.rid))
    return [_view(one, counts.get(one.number, {})) for one in rows]


def _view(row: batches.BatchRow, counts: dict[str, int]) -> MapView:
    ended = None if row.ended is None else moment(row.ended)
    return MapView(row.number, row.step, row.total, row.concurrency, moment(row.began), ended, counts)
