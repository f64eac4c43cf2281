"""A schedule on a cluster, as its ticker keeps it: the same rows as in a state file, and what is done with them.

Ticks, overlaps and what was missed are decided by the code of state files (`store/schedule_clock.py` and its like), in
a scratch file that holds nothing but this schedule. What has changed there is then done on the cluster.
"""

from __future__ import annotations

import logging
from shlex import quote
from typing import Any, Literal

import msgspec

from perdure.core.records import RunRecord
from perdure.core.tick_verdicts import RunTick
from perdure.errors import PerdureError, RunError, StateError
from perdure.store import schedule_clock, schedule_runs, schedules
from perdure.store.runs import Store
from perdure.store.schedule_copies import ScheduleCopy, set_status

STATE = "perdure.schedule"
"""The field of the ticker's memo that has its state."""

_log = logging.getLogger("perdure")


class Deed(msgspec.Struct, frozen=True, array_like=True):
    """What is to be done with a schedule, as at that moment (in seconds since the epoch); `run` is what to cancel."""

    kind: Literal["declare", "undeclare", "pause", "resume", "skip", "trigger", "backfill", "remove", "cancel"]
    now: float
    declared: schedules.Declaration | None = None
    first: float = 0.0
    last: float = 0.0
    run: str = ""


class TurnCommand(msgspec.Struct, frozen=True, array_like=True):
    """A turn of a ticker: its schedule, packed, as far as there is one, and what is to be done.

    It is not earlier than `now`, by the clock of the cluster, in seconds since the epoch. Of the runs in `ended` it is
    known how and when they have ended: who tells of that is still under way, as the cluster has it.
    """

    name: str
    state: bytes
    deeds: list[Deed]
    now: float
    ended: dict[str, tuple[str, float]] = {}


class TurnDone(msgspec.Struct, frozen=True, array_like=True):
    """What came of a turn: the next one is due at that moment, or when one of those runs ends."""

    state: bytes
    due: float | None
    awaited: list[str] = []


def carry_out(store: Store, name: str, deed: Deed) -> Any:
    """Do something with a schedule; what came of it.

    Raises:
        NotFound: there is no such schedule.
        OptionError, AlreadyRunning: it cannot be done.
    """
    now = deed.now
    match deed.kind:
        case "declare":
            assert deed.declared is not None
            return schedules.declare(store, deed.declared, now)
        case "undeclare":
            found = schedules.one(store, name)
            return schedules.undeclare(store, found.script, (), now)
        case "pause":
            return schedules.pause(store, name, now)
        case "resume":
            return schedules.resume(store, name, now)
        case "skip":
            return schedules.skip_next(store, name, now)
        case "trigger":
            return schedule_runs.trigger(store, name, now)
        case "backfill":
            return schedule_runs.backfill(store, name, deed.first, deed.last, now)
        case "remove":
            return schedules.remove(store, name, now)
        case "cancel":
            return _cancel(store, deed.run, now)


def _cancel(store: Store, id: str, now: float) -> None:
    """End a run that waits for others."""
    run = store.run(id)
    if run.status != "queued":
        raise RunError(
            f"run {id} has begun meanwhile, and is not cancelled", f"end it once more: `perdure cancel {quote(id)}`"
        )
    set_status(store, run, "cancelled", now)


def turn(store: Store, command: TurnCommand, now: float) -> None:
    """Do what is asked for, and decide about the ticks that are due; what cannot be done is logged."""
    for deed in command.deeds:
        try:
            carry_out(store, command.name, deed)
        except StateError:
            raise
        except PerdureError as error:
            _log.error("schedule %s: %s", command.name, error.what)
    schedule_clock.advance(store, now)


def to_start(state: ScheduleCopy) -> list[RunRecord]:
    """The runs that may begin, and have not."""
    return [run for run in state.runs if run.status == "queued" and run.hold is None]


def to_cancel(state: ScheduleCopy) -> list[RunRecord]:
    """The runs that have begun, and in whose place another one comes."""
    return [run for run in state.runs if run.status in ("running", "suspended") and run.stop is not None]


def tick_of(state: ScheduleCopy, run: RunRecord) -> RunTick | None:
    """The tick of a run."""
    found = next((tick for tick in state.ticks if tick.run == run.rid), None)
    return None if found is None else RunTick(found.due, found.tz, found.missed, found.previous)


def awaited_by(state: ScheduleCopy) -> list[str]:
    """The runs whose ends the next ones wait for."""
    if not any(tick.outcome == "waiting" for tick in state.ticks):
        return []
    return [run.id for run in state.runs if run.status in ("running", "suspended")]
