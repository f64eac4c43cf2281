"""Runs that another engine describes, in a state file of the moment: so they are looked at like any others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from perdure.core.dead_letters import letter_checksum
from perdure.core.execution.run import HolderInfo
from perdure.core.records import AttemptRecord, RunRecord, RunStatus, StepRecord, run_checksum
from perdure.store.runs import Store
from perdure.store.statements import load


class ListedRun(msgspec.Struct, frozen=True):
    """A run as another engine describes it; `parent` is the id of the run whose child it is."""

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
                numbers[run.id] = rid = _add(connection, statements, run, numbers.get(run.parent or ""))
                steps = [(rid, *msgspec.structs.astuple(step)) for step in run.steps]
                connection.executemany(statements["add_step"], steps)
                tries = [(rid, *msgspec.structs.astuple(attempt)) for attempt in run.attempts]
                connection.executemany(statements["add_attempt"], tries)
                letters = [
                    (rid, step.seq, step.started + step.ms / 1000, letter_checksum(step.seq, None, None))
                    for step in run.steps
                    if step.status == "dead"
                ]
                connection.executemany(statements["add_letter"], letters)

        self.journal.write((), operation)

    def holding(self, run: RunRecord) -> HolderInfo | None:
        """Runs that are under way are so elsewhere."""
        return HolderInfo("", 0, self._origin, run.started) if run.status == "running" else None


def _add(connection: apsw.Connection, statements: dict[str, str], run: ListedRun, parent: int | None) -> int:
    crc = run_checksum(run.id, run.workflow, run.key, run.status, run.input, run.output)
    name = os.path.basename(run.path)
    row = (run.id, name, run.path, run.workflow, run.key, parent, run.status, run.input, run.output)
    number: int = next(
        connection.execute(statements["add_told_run"], (*row, run.created, run.started, run.ended, crc))
    )[0]
    return number
