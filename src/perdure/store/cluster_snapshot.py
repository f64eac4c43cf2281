"""Runs that another engine describes, in a state file of the moment: so they are looked at like any others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from perdure.core.dead_letters import LetterRecord
from perdure.core.execution.run import HolderInfo
from perdure.core.records import AttemptRecord, RunRecord, RunStatus, StepRecord
from perdure.store import parking
from perdure.store.runs import Store
from perdure.store.statements import load


class ListedRun(msgspec.Struct, frozen=True):
    """A run as another engine describes it; `parent` is the id of the run whose child it is.

    `stopped` is why it was left, packed, as in a `RunRecord`.
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


class Snapshot(Store):
    """A state file of the moment.

    Args:
        path: where; nothing is there yet.
        runs: what it holds, parents before their children.
        origin: who runs those that are under way.
    """

    def __init__(self, path: Path, runs: Sequence[ListedRun], origin: str) -> None:
        super().__init__(path)
        self._origin = origin
        statements = load("cluster_snapshot.sql")

        def operation(connection: apsw.Connection) -> None:
            numbers: dict[str, int] = {}
            for run in runs:
                record = self.insert_run(connection, _record(run, numbers.get(run.parent or "")))
                numbers[run.id] = rid = record.rid
                steps = [(rid, *msgspec.structs.astuple(step.sealed(rid))) for step in run.steps]
                self.insert_rows(connection, steps)
                tries = [(rid, *msgspec.structs.astuple(attempt.sealed(rid))) for attempt in run.attempts]
                connection.executemany(statements["add_attempt"], tries)
                parking.add_copies(connection, [_letter(rid, step) for step in run.steps if step.status == "dead"])

        self.journal.write((), operation)

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Runs that are under way are so elsewhere."""
        return HolderInfo("", 0, self._origin, run.started) if run.status == "running" else None


def _record(run: ListedRun, parent: int | None) -> RunRecord:
    name = os.path.basename(run.path)
    about = (0, run.id, name, run.path, run.workflow, run.key, True, parent, run.status, None, 0)
    times = (run.created, run.started, run.ended)
    return RunRecord(*about, run.input, run.output, *times, 0, stopped=run.stopped)


def _letter(rid: int, step: StepRecord) -> LetterRecord:
    failed = step.started + step.ms / 1000
    return LetterRecord(0, rid, step.seq, "parked", failed, failed, 0, None, None, None, None, 0)
