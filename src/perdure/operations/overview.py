"""How the workflows of a state file are doing, below what needs somebody: the first page of `perdure ui`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.breakers import BreakerView, list_breakers
from perdure.operations.letter_pages import LetterReason, letter_reasons
from perdure.operations.location import Location
from perdure.operations.needs import (
    URGENCY,
    Need,
    need_of_damage,
    need_of_letters,
    need_of_run,
    needs_of_alerts,
    needs_of_services,
    needs_somebody,
)
from perdure.operations.processes import process_of
from perdure.operations.ps import runs_page
from perdure.operations.run_counts import RunCounts, run_counts
from perdure.operations.run_views import RunView
from perdure.store import run_pages
from perdure.store.damaged_rows import Damage
from perdure.store.runs import Store

T = TypeVar("T")

NEWEST = 500
"""Runs that are looked at, the newest."""

SHOWN = 12
"""Runs that need somebody, one by one; further ones are counted."""

STRIP = 32
"""Runs of a workflow that are given."""

RUNS = 12
"""Runs that are listed, the newest; child runs are not."""


class Mark(msgspec.Struct, frozen=True):
    """A run as a mark on a strip."""

    id: str
    status: str
    seconds: float | None
    created: datetime | None


class WorkflowView(msgspec.Struct, frozen=True):
    """How a workflow is doing, by its newest runs, the newest first. Durations: seconds, of those that are done."""

    name: str
    runs: list[Mark]
    ended: int
    done: int
    median: float | None
    p95: float | None
    last_success: datetime | None


class ProcessLine(msgspec.Struct, frozen=True):
    """A process that executes a run. `memory` in bytes."""

    run: str
    workflow: str
    script: str
    pid: int
    host: str
    since: datetime | None
    memory: int
    in_flight: int


class LockView(msgspec.Struct, frozen=True):
    """A lock that a living process has."""

    name: str
    pid: int | None
    host: str | None
    since: datetime | None
    run: str | None


class Overview(msgspec.Struct, frozen=True):
    """What needs somebody, and how the rest is doing. `totals` counts runs by how they stand, without child runs, up to
    1,000 of each, and of those in `more_totals` there are more; `more_needs` is how many runs need
    somebody besides those in `needs`; `runs` are the newest. `targets` are told of failures and deaths, as the settings
    say here, and `undelivered` is how many alerts wait."""

    needs: list[Need]
    more_needs: int
    totals: dict[str, int]
    letters: int
    reasons: list[LetterReason]
    workflows: list[WorkflowView]
    services: list[BreakerView]
    processes: list[ProcessLine]
    locks: list[LockView]
    runs: list[RunView] = []
    more_runs: bool = False
    targets: list[str] = []
    undelivered: int = 0
    more_totals: list[str] = []


def overview_of(store: Store, location: Location) -> Overview:
    """The first page.

    Args:
        store: the state file.
        location: where it is.

    Raises:
        StateError: the file cannot be read.
    """
    now, damage = time.time(), DamageOfRuns()
    newest, standing = newest_runs(store, damage)
    left = [
        run for run in newest if damage.of(run, partial(needs_somebody, store, run, standing[run.rid], newest, now))
    ]
    needs = [damage.of(run, partial(need_of_run, store, location, run, standing[run.rid], now)) for run in left[:SHOWN]]
    services = damage.part("the breakers", partial(list_breakers, location), list[BreakerView]())
    why = damage.part("the dead letters", partial(letter_reasons, store), list[LetterReason]())
    damage.found += [f"dead letter {one.newest.letter}" for one in why if one.newest.status == "damaged"]
    waiting = sum(one.letters for one in why)
    targets, undelivered, told = needs_of_alerts(location, bool(newest))
    shown = runs_page(store, limit=RUNS)
    damage.found += [f"run {one.id}" for one in shown.runs if one.status == "damaged"]
    counts = damage.part("the index of runs", partial(run_counts, store), RunCounts({}, []))
    at_work = damage.part("the processes", partial(processes, store, newest, standing), list[ProcessLine]())
    held = damage.part("the locks", partial(locks, store), list[LockView]())
    told += needs_of_services(location, [one for one in services if one.state in ("open", "isolated")])
    if why:
        told.append(need_of_letters(location, waiting, why))
    if damage.found:
        told.append(need_of_damage(location, list(dict.fromkeys(damage.found))))
    return Overview(
        needs=sorted([*filter(None, needs), *told], key=lambda one: URGENCY[one.kind]),
        more_needs=len(left[SHOWN:]),
        totals=dict(counts.counts.items()),
        more_totals=[*counts.more],
        letters=waiting,
        reasons=why[:5],
        workflows=workflows_of(newest, standing),
        services=services,
        processes=at_work,
        locks=held,
        runs=shown.runs,
        more_runs=shown.next is not None,
        targets=targets,
        undelivered=undelivered,
    )


class DamageOfRuns(Damage):
    """What is found damaged of a page of runs."""

    def of(self, run: RunRecord, read: Callable[[], T]) -> T | None:
        """Something about a run; None if that cannot be read."""
        return self.part(f"run {run.id}", read, None)


def newest_runs(store: Store, damage: DamageOfRuns) -> tuple[list[RunRecord], dict[int, str]]:
    """The newest runs, and how they stand by row number; without those that are damaged, which are added to that."""
    newest, damaged = run_pages.newest(store, NEWEST)
    damage.found += [f"run {one.id}" for one in damaged]
    dead = run_pages.letters_of(store, [run.rid for run in newest])
    standing = {run.rid: damage.of(run, partial(_status, store, run, dead.get(run.rid, 0))) for run in newest}
    known = {rid: status for rid, status in standing.items() if status is not None}
    return [run for run in newest if run.rid in known], known


def _status(store: Store, run: RunRecord, dead: int) -> str:
    if run.superseded:
        return "superseded"
    if run.status == "running" and store.holding(run) is None:
        return "interrupted"
    if run.status == "done" and dead:
        return "dead"
    return run.status


def workflows_of(newest: list[RunRecord], standing: dict[int, str]) -> list[WorkflowView]:
    """How each workflow is doing, by runs that are given newest first, with how they stand by row number."""
    groups: dict[str, list[RunRecord]] = {}
    for run in newest:
        groups.setdefault(run.workflow, []).append(run)
    found = []
    for name, runs in groups.items():
        ended = [run for run in runs if run.ended is not None]
        done = [run for run in ended if run.status == "done"]
        took = sorted(seconds for run in done if (seconds := _took(run)) is not None)
        found.append(
            WorkflowView(
                name=name,
                runs=[
                    Mark(
                        run.id,
                        standing[run.rid],
                        _took(run),
                        moment(run.created),
                    )
                    for run in runs[:STRIP]
                ],
                ended=len(ended),
                done=len(done),
                median=took[len(took) // 2] if took else None,
                p95=took[min(len(took) * 95 // 100, len(took) - 1)] if took else None,
                last_success=moment(max(run.ended or 0.0 for run in done)) if done else None,
            )
        )
    return found


def _took(run: RunRecord) -> float | None:
    return None if run.ended is None or run.begun is None else max(run.ended - run.begun, 0.0)


def processes(store: Store, newest: list[RunRecord], standing: dict[int, str]) -> list[ProcessLine]:
    """The processes that execute these runs."""
    found = []
    for run in newest:
        if standing[run.rid] != "running" or (process := process_of(store, run)) is None or not process.alive:
            continue
        flying = len(process.in_flight) + process.more
        found.append(
            ProcessLine(
                run.id, run.workflow, run.path, process.pid, process.host, process.since, process.memory, flying
            )
        )
    return found


def locks(store: Store) -> list[LockView]:
    """The locks that living processes have."""
    return [
        LockView(
            one.name,
            one.by.pid if one.by else None,
            one.by.host if one.by else None,
            moment(one.since),
            one.run.id if one.run else None,
        )
        for one in store.journal.read(store.locks.held)
    ]
