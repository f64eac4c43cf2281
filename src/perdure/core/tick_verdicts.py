"""What becomes of ticks that are due: overlap (the run before has not ended) by missed (nobody served at that time).

A machine of two questions. Which of the ticks were missed, and which is on time? Then, one after the other: does it
begin at once, wait until the runs before it have ended, or is it skipped, and why? The tables are in docs/schedules.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Overlap = Literal["skip", "queue", "allow", "cancel"]
Missed = Literal["skip", "one", "all"]
Outcome = Literal["started", "waiting", "skipped"]
Reason = Literal[
    "overlap", "missed", "too-old", "paused", "edited", "undeclared", "replaced", "by-hand", "clock", "exists"
]

ON_TIME: Final = 60.0
"""Seconds that the newest tick may be late and still be on time: a worker that is started once a minute serves."""

WHY: Final[dict[str, str]] = {
    "overlap": "the run before has not ended",
    "missed": "nobody served when it was due",
    "too-old": "nobody served, and it was older than within= allows",
    "paused": "the schedule was paused",
    "edited": "the schedule was changed",
    "undeclared": "the script did not have the schedule any more",
    "replaced": "a later tick took its place before it had begun",
    "by-hand": "it was skipped by hand",
    "clock": "the clock of the machine was set back",
    "exists": "there is a run of this tick already",
}
"""What the reasons mean, as users read them."""


class RunTick(msgspec.Struct, frozen=True, array_like=True):
    """The tick that a run was made for, as `perdure.tick()` has it; times are seconds since the epoch."""

    due: float
    tz: str | None
    missed: int
    previous: float | None


class Runs(msgspec.Struct, frozen=True):
    """The runs of a schedule that have not ended: how many have begun or may, and how many wait for those."""

    begun: int = 0
    waiting: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of one tick.

    Attributes:
        tick: when it was due, in seconds since the epoch.
        outcome: its run begins, its run waits until those before have ended, or there is none.
        reason: why it is skipped; empty if it is not.
        missed: how many ticks nobody served for which this one stands, as `perdure.tick().missed` has it.
    """

    tick: int
    outcome: Outcome
    reason: Reason | Literal[""] = ""
    missed: int = 0


class Judgement(msgspec.Struct, frozen=True):
    """What becomes of all ticks that are due.

    Attributes:
        verdicts: one for each, in order.
        missed: how many of them nobody served.
        replace: the runs of before are cancelled, also those that wait.
    """

    verdicts: tuple[Verdict, ...] = ()
    missed: int = 0
    replace: bool = False


def judge(
    ticks: Sequence[int], now: float, overlap: Overlap, missed: Missed, runs: Runs, *, late: float = 0
) -> Judgement:
    """Decide about ticks that are due, in order.

    Args:
        ticks: when they were due; no newer one is.
        now: the time.
        overlap: what happens to a tick while the run before has not ended.
        missed: what happens to ticks that nobody served.
        runs: those of before that have not ended.
        late: by how much each is put off (`spread=`).
    """
    if not ticks:
        return Judgement()
    on_time = now - (ticks[-1] + late) <= ON_TIME
    behind = len(ticks) - on_time
    if not behind:
        return _one(ticks[-1], overlap, runs, 0)
    chosen: Sequence[int]
    if missed == "all" and overlap != "cancel":
        chosen = ticks
    elif missed == "skip" and not on_time:
        chosen = ()
    else:
        chosen = ticks[-1:]
    skipped = tuple(Verdict(tick, "skipped", "missed") for tick in ticks[: len(ticks) - len(chosen)])
    if not chosen:
        return Judgement(skipped, behind)
    # With a run for each tick, none stands for others: only for itself, if it is late.
    stands_for = [int(at < behind) for at in range(len(chosen))] if chosen is ticks else [behind]
    if missed == "skip" or overlap in ("allow", "cancel"):
        first = _one(chosen[0], overlap, runs, stands_for[0])
        more = tuple(
            Verdict(tick, "started", missed=late_ones)
            for tick, late_ones in zip(chosen[1:], stands_for[1:], strict=True)
        )
        return Judgement((*skipped, *first.verdicts, *more), behind, first.replace)
    return Judgement((*skipped, *_in_turn(chosen, missed, runs, stands_for)), behind)


def _one(tick: int, overlap: Overlap, runs: Runs, missed: int) -> Judgement:
    """What becomes of one that is on time."""
    busy = runs.begun or runs.waiting
    if not busy or overlap == "allow":
        return Judgement((Verdict(tick, "started", missed=missed),), missed)
    if overlap == "cancel":
        return Judgement((Verdict(tick, "waiting", missed=missed),), missed, replace=True)
    if overlap == "queue" and not runs.waiting:
        return Judgement((Verdict(tick, "waiting", missed=missed),), missed)
    return Judgement((Verdict(tick, "skipped", "overlap"),), missed)


def _in_turn(chosen: Sequence[int], missed: Missed, runs: Runs, stands_for: Sequence[int]) -> tuple[Verdict, ...]:
    """What is caught up with, one after the other: a run that was under way when its process died comes first."""
    if missed == "one" and runs.waiting:
        return (Verdict(chosen[0], "skipped", "overlap"),)
    free = not (runs.begun or runs.waiting)
    return tuple(
        Verdict(tick, "started" if free and at == 0 else "waiting", missed=stands_for[at])
        for at, tick in enumerate(chosen)
    )
