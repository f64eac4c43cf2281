"""A schedule as code declares it, before it is written to a state file."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from perdure.core.tick_verdicts import Missed, Overlap

WITHIN: Final = 86400.0
"""Seconds: how old a missed tick may be, unless `within=` says otherwise."""


class DeclaredSchedule(msgspec.Struct, frozen=True):
    """What runs when.

    Attributes:
        name: the name of the schedule.
        spec: when: a cron expression or an interval.
        tz: the name of a time zone; None: that of the machine.
        overlap: what becomes of a tick while the run before has not ended.
        missed: what becomes of ticks that nobody served.
        within: seconds that such a tick may be old.
        spread: seconds over which schedules of one time are spread by their names.
        queue: where the runs stand; None: in none.
        args: the arguments of each run.
    """

    name: str
    spec: str
    tz: str | None = None
    overlap: Overlap = "skip"
    missed: Missed = "one"
    within: float = WITHIN
    spread: float = 0.0
    queue: str | None = None
    args: tuple[Any, ...] = ()
