"""Maps of a run: which step, over how many items, how many at a time, and from when to when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.records import is_time
from perdure.store.rows import sealed, sound
from perdure.store.statements import load

_SQL = load("batches.sql")


class BatchRow(msgspec.Struct):
    """A map. `number` counts those of the run from 1, in the order in which it came to them; times in seconds since the
    epoch. `total` is None if that is not known, `concurrency` if it adapts, `ended` while items are under way.
    """

    run: int
    number: int
    step: str
    total: int | None
    concurrency: int | None
    began: float
    ended: float | None = None

    def put(self) -> tuple[str, tuple[Any, ...]]:
        """The statement that writes it down, and its values; it does nothing if no process has the run."""
        return _SQL["put"], sealed(
            self.run, self.number, self.step, self.total, self.concurrency, float(self.began), self.ended
        )


def list_of(connection: apsw.Connection, rid: int, path: Path) -> list[BatchRow]:
    """All maps of a run, in their order.

    Raises:
        StateCorrupt: one of them is not as it was written.
    """
    from perdure.store.damaged_rows import all_of

    return all_of(each_of(connection, rid), path)


def each_of(connection: apsw.Connection, rid: int) -> list[BatchRow | int]:
    """All maps of a run, in their order; the number of one that is not as it was written."""
    from perdure.store.damaged_rows import rows_of

    return [
        BatchRow(*row[:-1]) if sound(row) and is_time(row[5]) and is_time(row[6]) else row[1]
        for row in rows_of(connection, _SQL["list"], (rid,))
    ]


def counts_of(connection: apsw.Connection, rid: int) -> dict[int, dict[str, int]]:
    """How many items of each map have records, by status."""
    found: dict[int, dict[str, int]] = {}
    rows: list[Any] = connection.execute(_SQL["counts"], (rid,)).fetchall()
    for number, status, count in rows:
        found.setdefault(number, {})[status] = count
    return found
