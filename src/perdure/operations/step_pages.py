"""The steps of a run a page at a time, by what they came to, when, and how long they took."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from perdure.core.records import RunRecord, StepRecord
from perdure.errors import OptionError
from perdure.operations.step_views import AS_DATA, AS_TEXT, StepView, steps_of
from perdure.store import step_pages
from perdure.store.runs import Store
from perdure.store.step_pages import Order, Wanted

PAGE = 200
"""Steps of a page, at most."""

SECONDS = 2.0
"""What looking for a page may take; then it is as full as it is, and its cursor goes on from there."""

Kept = Literal["all", "done", "failed", "dead", "abandoned", "not done", "again"]
"""Which steps are shown: "again" are those that were tried more than once, the others go by the status of a step."""

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class StepPage(msgspec.Struct, frozen=True):
    """Some steps. `next` is the cursor of those that come after them; None: there are no more, as far as is known.

    A page may have fewer steps than were asked for, even none, and a cursor all the same: finding more took too long.
    """

    steps: list[StepView]
    next: str | None


class StepFilter(msgspec.Struct, frozen=True):
    """Which steps are meant.

    Attributes:
        step: the calls of this one.
        show: what they came to.
        since: begun then or later, in seconds since the epoch.
        until: begun before then.
        longer: whose last attempt took so many seconds or more.
        text: with this in their name or their inputs, as they are stored.
    """

    step: str | None = None
    show: Kept = "all"
    since: float | None = None
    until: float | None = None
    longer: float | None = None
    text: str | None = None


EVERY = StepFilter()


def steps_page(
    store: Store,
    run: RunRecord,
    wanted: StepFilter = EVERY,
    *,
    order: Order = "first",
    cursor: str | None = None,
    limit: int = PAGE,
    data: bool = False,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> StepPage:
    """A page of the steps of a run. What it costs does not depend on how many steps there are, except with "slowest".

    Args:
        store: the state file.
        run: whose.
        wanted: which.
        order: "first" or "last" for the order in which they came to an end, forwards or backwards; or "slowest" first.
        cursor: `next` of the page before, in the same order; None for the first page.
        limit: how many at most, 1 to 200.
        data: give inputs and results as plain data, rather than as text of bounded length.
        seconds: what it may take, at the most.
        clock: of those seconds.

    Raises:
        OptionError: it is no cursor.
        StateError: the file cannot be read.
    """
    limit, until = min(max(limit, 1), PAGE), clock() + seconds
    stored = Wanted(
        name=wanted.step,
        status=None if wanted.show in ("all", "again") else wanted.show,
        again=wanted.show == "again",
        since=wanted.since,
        until=wanted.until,
        slow=None if wanted.longer is None else round(wanted.longer * 1000),
        text=wanted.text,
    )
    at: tuple[int, int] | None = _place(cursor) or step_pages.beginning(store, run.rid, order)
    found: list[StepRecord] = []
    while at is not None and len(found) < limit:
        some, at = step_pages.chunk(store, run.rid, stored, order, at, limit - len(found))
        found += some
        if clock() >= until:
            break
    shown = steps_of(store, run, found, AS_DATA if data else AS_TEXT)
    return StepPage(shown, None if at is None else f"{at[0]}-{at[1]}")


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise OptionError(f"the cursor is {cursor[:80]!r}", "give the cursor of the page before, or none")
    return int(match[1]), int(match[2])
