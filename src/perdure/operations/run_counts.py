"""How many runs stand how, for the filters of a list: as far as counting costs little, however many there are."""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from perdure.operations.run_views import Standing, standings_of
from perdure.store import run_pages
from perdure.store.run_pages import Wanted
from perdure.store.runs import Store

MOST: Final = 1_000
"""Where counting the runs of a standing ends."""

JUDGED: Final = 200
"""Running runs of which it is looked up whether a process executes them."""


class RunCounts(msgspec.Struct, frozen=True):
    """How many runs stand how, up to 1,000 of each; of those in `more` there are more than were counted."""

    counts: dict[Standing, int]
    more: list[Standing]


def run_counts(store: Store, workflow: str | None = None, children: bool = False) -> RunCounts:
    """How many runs stand how, but for those that a fork has superseded.

    Args:
        store: the state file.
        workflow: only those of this one.
        children: child runs too.

    Raises:
        StateError: the file cannot be read.
    """
    counts: dict[Standing, int] = dict.fromkeys(get_args(Standing), 0)
    running, damaged = run_pages.newest(store, JUDGED, "running")
    for run, standing in zip(running, standings_of(store, running), strict=True):
        if (children or run.parent is None) and workflow in (None, run.workflow):
            counts[standing] += 1
    counts["damaged"] += len(damaged)
    more: set[Standing] = {"running", "stopping", "interrupted"} if len(running) + len(damaged) == JUDGED else set()

    def count(standing: Standing, superseded: bool | None, listed: list[int] | None = None) -> int:
        wanted = Wanted("done" if standing == "dead" else standing, superseded, workflow, children)
        found = run_pages.count(store, wanted, MOST + 1, listed)
        if found > MOST:
            more.add(standing)
        return min(found, MOST)

    unfinished: tuple[Standing, ...] = ("failed", "parked", "suspended", "queued")
    for standing in unfinished:
        counts[standing] = count(standing, superseded=False)
    counts["cancelled"] = count("cancelled", superseded=None)
    counts["dead"] = count("dead", None, run_pages.with_letters(store, run_pages.last_number(store) + 1))
    counts["done"] = count("done", superseded=None)
    if "done" not in more:  # those with dead letters stand otherwise
        counts["done"] -= counts["dead"]
    counts["superseded"] = 0
    return RunCounts({standing: found for standing, found in counts.items() if found}, sorted(more))
