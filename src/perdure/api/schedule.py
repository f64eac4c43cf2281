"""Schedules in code: `@workflow(schedule=...)`, `perdure.schedule(...)`, and `perdure.tick()` in their runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

from perdure.api.schedule_options import declared
from perdure.api.workflow import Workflow, engine_of
from perdure.config.script_loader import is_loading
from perdure.core.declared_schedule import WITHIN
from perdure.core.durations import Duration
from perdure.core.tick_verdicts import Missed, Overlap
from perdure.engines.interface import StepContext, here
from perdure.errors import OptionError, UsageError


class Tick(msgspec.Struct, frozen=True):
    """The point in time that a run was made for.

    Attributes:
        due: when it was due by its schedule, in the schedule's time zone.
        missed: for how many ticks that nobody served this run stands, itself among them if it was late; 0 in a run that
            began on time.
        previous: when the tick before was due that had a run; None in the first one.
    """

    due: datetime
    missed: int
    previous: datetime | None


def tick() -> Tick | None:
    """The tick of a schedule that this run was made for; None in a run that no schedule has made.

    It is the same in every life of the run, and in its child runs and steps.

    Raises:
        UsageError: called outside a workflow.
    """
    scope = here.get()
    if scope is None:
        raise UsageError("perdure.tick() is called outside a workflow", "call it in the workflow that is scheduled")
    found = scope.tick()
    if found is None:
        return None
    where = _zone_of(found.tz)
    previous = None if found.previous is None else datetime.fromtimestamp(found.previous, where)
    return Tick(datetime.fromtimestamp(found.due, where), found.missed, previous)


def schedule(
    wf: Workflow[..., Any],
    spec: str,
    *,
    name: str,
    args: Iterable[Any] = (),
    tz: str | None = None,
    overlap: Overlap = "skip",
    missed: Missed = "one",
    within: Duration = WITHIN,
    spread: Duration | None = None,
    queue: str | None = None,
) -> None:
    """Run a workflow at the times of a schedule, with arguments: one of several schedules that it may have.

    At the top of a script it declares the schedule to the workers that load the script. In a running program it is
    written to the state file before the call returns. The last declaration of a name counts.

    Args:
        wf: the workflow.
        spec: "0 3 * * *" (cron), "0 0 3 * * *" (six fields: seconds first), or "every 15m".
        name: the name of the schedule; its runs are called NAME@2026-11-29T03:00+01:00.
        args: the arguments of each run.
        tz: the name of a time zone. None: that of this machine.
        overlap: "skip", "queue", "allow" or "cancel", as in `workflow`.
        missed: "skip", "one" or "all", as in `workflow`.
        within: how old a missed tick may be (seconds, timedelta or text such as "1d").
        spread: over how long schedules of one time are spread by their names (seconds, timedelta or text).
        queue: the queue that its runs stand in.

    Raises:
        OptionError: an option is not valid, or the workflow cannot be scheduled.
        UsageError: called in a workflow, outside a step.
        NotStorable: the arguments cannot be stored.
        StateError: the state file cannot be used.
    """
    if not isinstance(wf, Workflow):
        raise OptionError(f"perdure.schedule is given {wf!r}", "give a function decorated with @workflow")
    scope = here.get()
    if scope is not None and not isinstance(scope, StepContext):
        raise UsageError(
            "perdure.schedule is called in a workflow, which would declare it again each time that it is resumed",
            "call it in a step, or at the top of the script",
        )
    owner = wf._spec
    given = declared(
        owner,
        name,
        spec,
        args=tuple(args),
        tz=tz,
        overlap=overlap,
        missed=missed,
        within=within,
        spread=spread,
        queue=queue,
    )
    owner.schedules[:] = [one for one in owner.schedules if one.name != name] + [given]
    if is_loading():
        return
    engine_of(owner).declare_schedule(owner, given)


def _zone_of(name: str | None) -> tzinfo:
    from perdure.config.time_zones import zone

    try:
        return zone(name)
    except OptionError:  # the machine that goes on with the run does not know it
        return UTC
