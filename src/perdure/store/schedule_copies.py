"""One schedule as bytes: its row, its latest ticks and their runs, moved from one state file to another.

A cluster keeps schedules so, and decides about them in a scratch file, with the code of state files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import msgspec

from perdure.core.records import RunRecord, RunStatus
from perdure.errors import NotFound
from perdure.store import schedule_clock, schedules
from perdure.store.runs import Store
from perdure.store.schedule_rows import Schedule, TickRow, put, put_tick

NOTHING = b"\xc0"
"""In place of what a run has come to, which is kept elsewhere."""
KEPT = 100
"""Ticks that are kept; those whose runs have not ended are kept in any case."""


class ScheduleCopy(msgspec.Struct, frozen=True, array_like=True):
    """A schedule, what became of its latest ticks, and the runs of those."""

    schedule: Schedule
    ticks: list[TickRow]
    runs: list[RunRecord]


def pack(copy: ScheduleCopy | None) -> bytes:
    """A copy as bytes; none is empty."""
    return b"" if copy is None else msgspec.msgpack.encode(copy)


def unpack(data: bytes) -> ScheduleCopy | None:
    """The copy that `pack` has packed.

    Raises:
        msgspec.DecodeError: it has packed something else.
    """
    # A column of numbers is what a file has for a truth value.
    return msgspec.msgpack.decode(data, type=ScheduleCopy, strict=False) if data else None


@contextmanager
def scratch(copies: Iterable[ScheduleCopy | None]) -> Iterator[Store]:
    """A state file of the moment that holds these schedules."""
    with TemporaryDirectory(prefix="perdure-") as folder:
        store = Store(Path(folder) / "schedules.db")

        def write(connection: apsw.Connection) -> None:
            for copy in copies:
                if copy is None:
                    continue
                numbers = {
                    run.rid: store.insert_run(connection, msgspec.structs.replace(run, rid=0)).rid for run in copy.runs
                }
                put(connection, copy.schedule)
                for tick in copy.ticks:
                    put_tick(connection, msgspec.structs.replace(tick, run=numbers.get(tick.run or 0)))

        try:
            store.journal.write((), write)
            yield store
        finally:
            store.close()
            schedule_clock.forget(store.path)


def copy_of(store: Store, name: str) -> ScheduleCopy | None:
    """How a schedule stands in a file; None if there is none."""
    try:
        schedule = schedules.one(store, name)
    except NotFound:
        return None
    ticks = schedules.latest_ticks(store, name, 10_000)
    kept = [tick for at, tick in enumerate(ticks) if at < KEPT or tick.outcome in ("started", "waiting")]
    return ScheduleCopy(schedule, kept, [store.run_by_number(tick.run) for tick in kept if tick.run is not None])


def set_status(store: Store, run: RunRecord, status: RunStatus, ended: float | None = None) -> None:
    """A run of a copy stands so."""

    def write(connection: apsw.Connection) -> None:
        output = NOTHING if status in ("done", "failed", "parked") else None
        found = store.run_in(connection, run.rid)
        store.put_run(connection, found, status=status, ended=ended, output=output, wake=None, turn=None)

    store.journal.write((), write)
