"""The runs of a state file, a page at a time, and those that are asked for: `perdure ps`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice

import msgspec

from perdure.core.records import RunRecord
from perdure.errors import OptionError, PerdureError
from perdure.operations.paging import PAGE, SECONDS, Budget
from perdure.operations.run_views import RunView, Standing, damaged_view, holders_of, standing_of, views_of
from perdure.store import run_pages
from perdure.store.damaged_rows import if_sound
from perdure.store.run_pages import DamagedRun, Wanted
from perdure.store.runs import Store


class RunPage(msgspec.Struct, frozen=True):
    """Some runs, newest first. `next` is the cursor of those that come after them; None: there are no more.

    A page may have fewer runs than were asked for, even none, and a cursor all the same: it took too long to find more.
    """

    runs: list[RunView]
    next: str | None


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs are meant.

    Attributes:
        status: those that stand so.
        workflow: those of this workflow.
        children: child runs too.
        parent: the child runs of the run of this row number, whatever `children` says.
        text: those with this in their id or their inputs, as they are shown: its case counts.
        anywhere: the text may be in the name of the workflow or in the error too.
        inputs: what they were called with is asked for; else it is empty in what is shown of them.
        damaged: those too that may be meant, as far as can be known of what is damaged.
    """

    status: Standing | None = None
    workflow: str | None = None
    children: bool = False
    parent: int | None = None
    text: str | None = None
    anywhere: bool = False
    inputs: bool = True
    damaged: bool = False


EVERY = RunFilter()

_WRITTEN: dict[str, tuple[str | None, bool | None]] = {
    "interrupted": ("running", False),
    "stopping": ("running", False),
    "dead": ("done", None),
    "done": ("done", None),
    "cancelled": ("cancelled", None),
    "superseded": (None, True),
    "damaged": (None, None),
}
"""What of a standing is written down: the status, and whether a fork has superseded the run."""

_JUDGED = ("done", "running", "stopping", "interrupted", "damaged")
"""What else a standing may be of those that are written down so."""


def runs_page(
    store: Store,
    wanted: RunFilter = EVERY,
    *,
    cursor: str | None = None,
    limit: int = PAGE,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> RunPage:
    """A page of runs, newest first. What it costs does not depend on how many runs there are.

    Args:
        store: the state file.
        wanted: which.
        cursor: `next` of the page before; None for the first.
        limit: how many at most, 1 to 200.
        seconds: what it may take, at the most.
        clock: of those seconds.

    Raises:
        OptionError: it is no cursor.
        StateError: the file cannot be read.
    """
    budget = Budget(limit, seconds, clock)
    found: list[RunView] = []
    going_on = 0
    for views, following in _chunks(store, wanted, number_of(cursor), budget.limit):
        going_on = following
        for view, rid in views:
            found.append(view)
            if len(found) == budget.limit:
                return RunPage(found, str(rid) if rid > 1 else None)
        if budget.is_spent:
            break
    return RunPage(found, str(going_on) if going_on else None)


def each_run(store: Store, wanted: RunFilter = EVERY, at_once: int = PAGE) -> Iterator[RunView]:
    """All runs that are meant, newest first, however long that takes; a page of them is kept in memory.

    Args:
        store: the state file.
        wanted: which.
        at_once: how many are looked up together, at most 200.

    Raises:
        StateError: the file cannot be read.
    """
    for views, _ in _chunks(store, wanted, None, min(at_once, PAGE)):
        for view, _ in views:
            yield view


def list_runs(store: Store, wanted: RunFilter = EVERY, *, limit: int | None = 20) -> list[RunView]:
    """Runs, newest first.

    Args:
        store: the state file.
        wanted: which.
        limit: how many at most; None for all.

    Raises:
        StateError: the file cannot be read.
    """
    return list(islice(each_run(store, wanted, PAGE if limit is None else limit), limit))


def number_of(cursor: str | None) -> int | None:
    """The row number that a cursor stands for.

    Raises:
        OptionError: it is no cursor.
    """
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise OptionError(f"the cursor is {cursor[:80]!r}", "give the cursor of the page before, or none")
    return int(cursor)


def _chunks(
    store: Store, wanted: RunFilter, before: int | None, most: int
) -> Iterator[tuple[list[tuple[RunView, int]], int]]:
    """The runs that are meant with their row numbers, some at a time, and each time where it goes on (0: nowhere)."""
    top = run_pages.last_number(store) + 1
    before = top if before is None else min(before, top)
    status, superseded = _WRITTEN.get(wanted.status or "", (wanted.status, None if wanted.status is None else False))
    stored = Wanted(status, superseded, wanted.workflow, wanted.children, wanted.parent, _meets(store, wanted))
    most = PAGE if wanted.status in _JUDGED else most
    if wanted.status != "dead":
        while before > 0:
            runs, before = run_pages.chunk(store, stored, before, most)
            yield _shown(store, runs, wanted), before
        return
    # A run does not say that it has dead letters: those are looked up first, and then whose they are.
    listed = run_pages.with_letters(store, before)
    for at in range(0, len(listed), PAGE):
        some = listed[at : at + PAGE]
        runs, _ = run_pages.chunk(store, stored, some[0] + 1, PAGE, some)
        yield _shown(store, runs, wanted), some[-1] if at + PAGE < len(listed) else 0


def _meets(store: Store, wanted: RunFilter) -> Callable[[RunRecord | DamagedRun], bool] | None:
    if not wanted.text:
        return None
    from perdure.operations.shown_text import ShownText

    text, anywhere = ShownText(wanted.text), wanted.anywhere

    def meets(run: RunRecord | DamagedRun) -> bool:
        with suppress(PerdureError):  # nothing is shown of what cannot be read
            if text.text in run.id or (anywhere and text.text in run.workflow):
                return True
            if isinstance(run, DamagedRun):
                return wanted.damaged
            if text.in_inputs(store.whole(msgspec.structs.replace(run, output=None)).input):
                return True
            if anywhere and run.output is not None and run.status in ("failed", "parked"):
                return text.in_error(store.whole(run).output)
        return False

    return meets


def _shown(store: Store, found: Sequence[RunRecord | DamagedRun], wanted: RunFilter) -> list[tuple[RunView, int]]:
    status = wanted.status
    runs = [run for run in found if isinstance(run, RunRecord)]
    if status in _JUDGED and status != "damaged":
        # Most of those of that written status may stand otherwise; what is shown of a run is looked up for the others.
        runs = if_sound(partial(_that_stand, store, runs, status), lambda: runs)
    views = {run.rid: view for run, view in zip(runs, views_of(store, runs, inputs=wanted.inputs), strict=True)}
    views |= {run.rid: damaged_view(store, run) for run in found if isinstance(run, DamagedRun)}
    meant = {status, "damaged"} if wanted.damaged else {status}
    return [(view, rid) for rid, view in sorted(views.items(), reverse=True) if status is None or view.status in meant]


def _that_stand(store: Store, runs: list[RunRecord], status: Standing | None) -> list[RunRecord]:
    holders = holders_of(store, runs)
    letters = run_pages.letters_of(store, [run.rid for run in runs]) if status == "done" else {}
    return [run for run in runs if standing_of(run, holders.get(run.rid), letters.get(run.rid, 0)) == status]
