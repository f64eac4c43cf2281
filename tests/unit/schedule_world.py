"""A state file with schedules, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from perdure.core.cron import local_text
from perdure.core.execution.run_effects import End, Start
from perdure.store import schedule_clock, schedules
from perdure.store.runs import Store
from perdure.store.schedule_rows import TickRow

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def at(text: str) -> float:
    """A time in Berlin, in seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class World:
    """A worker's clock, and a state file.

    Args:
        store: the state file.
        now: the time at first.
    """

    def __init__(self, store: Store, now: float) -> None:
        self.store = store
        self.now = now

    def declare(self, name: str = "nightly", spec: str = "0 3 * * *", **options: Any) -> None:
        fields: dict[str, Any] = {"script": "jobs.py", "path": "/jobs.py", "workflow": name, "tz": "Europe/Berlin"}
        fields |= {"overlap": "skip", "missed": "one", "within": DAY, "spread": 0.0, "queue": None, "key": bytes(16)}
        fields |= {"input": b"\x92\x90\x80", "origin": "script"} | options
        schedules.declare(self.store, schedules.Declaration(name=name, spec=spec, **fields), self.now)

    def advance(self, to: float | None = None) -> float | None:
        """What a worker does at that time; returns when it would look again."""
        self.now = self.now if to is None else to
        return schedule_clock.advance(self.store, self.now)

    def go_on(self, until: float, *, done: bool = True) -> None:
        """Serve until then: look whenever it is time to; each run is done at once, if `done`."""
        following = self.advance()
        while following is not None and following <= until:
            following = self.advance(following)
            if done:
                self.end_all()
        self.now = until

    def runs(self, status: str | None = None) -> list[str]:
        """The ids of the runs, oldest first."""
        return [run.id for run in reversed(self.store.runs(status=status))]

    def ready(self) -> list[str]:
        """The runs that a worker may begin."""
        return [run.id for run in reversed(self.store.runs(status="queued")) if run.turn is not None]

    def set(self, id: str, **changed: Any) -> None:
        run = self.store.run(id)
        self.store.journal.write((), lambda connection: self.store.put_run(connection, run, **changed) and None)

    def end(self, id: str, status: str = "done") -> None:
        output = None if status == "cancelled" else b"\xc0"
        self.set(id, status=status, output=output, ended=self.now, wake=None, holder=None)

    def execute(self, id: str) -> None:
        """As a worker does."""
        run = self.store.run(id)
        start = Start(run.script, run.path, run.workflow, run.key, run.input, fresh="", rid=run.rid)
        taken = self.store.journal.write((), self.store.begin(start, self.now))
        self.store.journal.write((), self.store.end(End(taken.run, "done", b"\xc0"), self.now))
        self.store.let_go(taken.run)

    def end_all(self) -> None:
        for id in self.ready():
            self.end(id)

    def ticks(self, name: str = "nightly") -> list[TickRow]:
        """The rows of the ticks of a schedule, oldest first."""
        return list(reversed(schedules.latest_ticks(self.store, name, 10_000)))

    def told(self, name: str = "nightly") -> list[tuple[str, str | None, int | None]]:
        """When each was due, how it was decided, and how many they are."""
        zone = ZoneInfo(schedules.one(self.store, name).tz)
        return [(local_text(row.due, zone)[5:16], row.reason or row.outcome, row.ticks) for row in self.ticks(name)]

    def row(self, name: str = "nightly") -> dict[str, Any]:
        return msgspec.structs.asdict(schedules.one(self.store, name))


@contextmanager
def world(folder: Path, now: str = "2026-11-27T12:00") -> Iterator[World]:
    """A new state file at a time in Berlin."""
    store = Store(folder / "state.db")
    try:
        yield World(store, at(now))
    finally:
        store.close()
