"""Runs that another engine describes, in a state file of the moment: so they are looked at like any others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from perdure.core.execution.run_effects import HolderInfo
from perdure.core.letter_record import LetterRecord
from perdure.core.records import AttemptRecord, RunRecord, RunStatus, StepRecord
from perdure.store import parking, published
from perdure.store.rows import sealed
from perdure.store.runs import Store
from perdure.store.statements import load


class ListedWait(msgspec.Struct, frozen=True):
    """One alternative of a durable wait: of which call it is the one of that number, and what is waited for.

    `run` is the id of a run whose end it is.
    """

    name: str
    key: bytes
    n: int
    position: int
    event: str | None
    topic: str | None
    began: float
    due: float | None
    run: str | None = None


class ListedLetter(msgspec.Struct, frozen=True):
    """A signal that was sent to the run."""

    event: str
    topic: str
    id: str | None
    value: bytes
    stamp: float
    status: str
    reason: str | None


class PendingCall(msgspec.Struct, frozen=True):
    """A call that a run waits for: its name, key, occurrence and inputs, and the number of the attempt.

    `begun`: a worker has it, since that moment; else it waits since then for one, or `due` is when it is to be tried
    again, in seconds since the epoch. `note` is how far it is, by its own account.
    """

    name: str
    key: bytes
    n: int
    input: bytes
    attempt: int
    begun: bool
    since: float
    due: float | None = None
    note: str = ""


class ListedRun(msgspec.Struct, frozen=True):
    """A run as another engine describes it; `parent` is the id of the run whose child it is.

    `stopped` is why it was left, packed, as in a `RunRecord`; `published` are values with their names and moments.
    A run that has not begun has the name of its `queue`, when it may begin at the earliest (`wake`), and what holds it.
    """

    id: str
    path: str
    workflow: str
    key: bytes
    parent: str | None
    status: RunStatus
    input: bytes
    output: bytes | None
    created: float
    started: float
    ended: float | None
    stopped: bytes | None = None
    steps: Sequence[StepRecord] = ()
    attempts: Sequence[AttemptRecord] = ()
    waits: Sequence[ListedWait] = ()
    letters: Sequence[ListedLetter] = ()
    pending: Sequence[PendingCall] = ()
    published: Sequence[tuple[str, bytes, float]] = ()
    queue: str | None = None
    wake: float | None = None
    hold: str | None = None


class Snapshot(Store):
    """A state file of the moment.

    Args:
        path: where; nothing is there yet.
        runs: what it holds, parents before their children.
        origin: who runs those that are under way.

    `pending` are the calls that a run waits for, by its id.
    """

    def __init__(self, path: Path, runs: Sequence[ListedRun], origin: str) -> None:
        super().__init__(path)
        self._origin = origin
        self.pending = {run.id: run.pending for run in runs if run.pending}
        statements = load("cluster_snapshot.sql")
        add_wait, add_letter = load("waits.sql")["add"], load("signals.sql")["add"]

        def operation(connection: apsw.Connection) -> None:
            numbers: dict[str, int] = {}
            letters = 0
            for run in runs:
                record = self.insert_run(connection, _record(run, numbers.get(run.parent or "")))
                numbers[run.id] = rid = record.rid
                steps = [(rid, *msgspec.structs.astuple(step.sealed(rid))) for step in run.steps]
                self.insert_rows(connection, steps)
                tries = [(rid, *msgspec.structs.astuple(attempt.sealed(rid))) for attempt in run.attempts]
                connection.executemany(statements["add_attempt"], tries)
                for name, value, stamp in run.published:
                    connection.execute(*published.put_soon(rid, name, value, stamp))
                for number, letter in enumerate(run.letters, start=letters + 1):
                    connection.execute(add_letter, _signal(number, rid, letter))
                letters += len(run.letters)
                parking.add_copies(connection, [_letter(rid, step) for step in run.steps if step.status == "dead"])

            for run in runs:  # a run may wait for a younger one
                waits = [_wait(numbers[run.id], wait, numbers.get(wait.run or "")) for wait in run.waits]
                connection.executemany(add_wait, waits)

        self.journal.write((), operation)

    @property
    def counts_queues(self) -> bool:
        """Which run is next is decided elsewhere."""
        return False

    @property
    def place(self) -> str:
        """The file is of the moment: the runs are where they were listed."""
        return f"on {self._origin}"

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Runs that are under way are so elsewhere."""
        return HolderInfo("", 0, self._origin, run.started) if run.status == "running" else None


def _record(run: ListedRun, parent: int | None) -> RunRecord:
    name = os.path.basename(run.path)
    about = (0, run.id, name, run.path, run.workflow, run.key, True, parent, run.status, None, 0)
    times = (run.created, run.started, run.ended)
    queued = {"queue": run.queue, "wake": run.wake, "hold": run.hold}
    return RunRecord(*about, run.input, run.output, *times, 0, stopped=run.stopped, **queued)  # type: ignore[arg-type]


def _wait(rid: int, wait: ListedWait, awaited: int | None) -> tuple[Any, ...]:
    who = (wait.name, wait.key, wait.n, wait.position)
    return sealed(rid, *who, wait.event, wait.topic, awaited, float(wait.began), wait.due)


def _signal(sid: int, rid: int, one: ListedLetter) -> tuple[Any, ...]:
    seq = 0 if one.status == "taken" else None
    return sealed(sid, rid, one.event, one.topic, one.id, one.value, float(one.stamp), one.status, seq, one.reason)


def _letter(rid: int, step: StepRecord) -> LetterRecord:
    failed = step.started + step.ms / 1000
    reason = parking.reason_of(step.output)
    return LetterRecord(0, rid, step.seq, "parked", failed, failed, 0, None, None, None, None, 0, *reason)
