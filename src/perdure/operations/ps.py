"""The runs of a state file, as a person sees them: `perdure ps`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Literal

import msgspec

from perdure.config import secrets
from perdure.core.execution.cleanup_records import called
from perdure.core.execution.run_effects import HolderInfo
from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.errors import OptionError, PerdureError
from perdure.operations.paging import PAGE, SECONDS, Budget
from perdure.store import run_pages, waits
from perdure.store.rows import corrupt
from perdure.store.run_pages import Facts, Wanted
from perdure.store.runs import Store

Standing = Literal[
    "queued",
    "running",
    "stopping",
    "suspended",
    "interrupted",
    "failed",
    "parked",
    "done",
    "dead",
    "cancelled",
    "superseded",
]
"""How a run stands: "queued" has not begun, "suspended" waits for a time or a signal and needs no process, "stopping"
was cancelled and is on its way to a safe point, "interrupted" is unfinished with no process that runs it, "parked" has
failed too often, "dead" is done with dead letters, "superseded" is unfinished and was forked."""

MANY = 100_000

BEING_CANCELLED = "it was being cancelled: whoever goes on with it ends it, and executes nothing more"
"""Of a run that no process executes."""

INPUTS = 120
"""Characters."""


class RunView(msgspec.Struct, frozen=True):
    """A run.

    `pid` and `host` say who runs it at this moment; `steps` counts its own records, `dead_letters` also those of its
    child runs; `seconds` is the time from its beginning to its end, or as far as it is known to have come.
    `forked_from` and `superseded_by` are the ids of the run that it is a fork of, and of its newest fork.
    `waits` is what an unfinished run sleeps or waits for, or that it was being cancelled, in a few words, and `wake`
    when one that is suspended or queued goes on at the latest. `inputs` are in one line, and so is the `error` of one
    that has failed. If not `counted`, there are too many steps to be counted for a listing: `steps` is the number of
    the last one.
    """

    id: str
    workflow: str
    status: Standing
    pid: int | None
    host: str | None
    steps: int
    dead_letters: int
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    seconds: float | None
    last_step: str | None
    script: str
    child: bool
    forked_from: str | None = None
    superseded_by: str | None = None
    waits: str | None = None
    wake: datetime | None = None
    inputs: str = ""
    error: str | None = None
    counted: bool = True


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
    """

    status: Standing | None = None
    workflow: str | None = None
    children: bool = False
    parent: int | None = None
    text: str | None = None
    anywhere: bool = False
    inputs: bool = True


EVERY = RunFilter()

_WRITTEN: dict[str, tuple[str | None, bool | None]] = {
    "interrupted": ("running", False),
    "stopping": ("running", False),
    "dead": ("done", None),
    "done": ("done", None),
    "cancelled": ("cancelled", None),
    "superseded": (None, True),
}
"""What of a standing is written down: the status, and whether a fork has superseded the run."""

_JUDGED = ("done", "running", "stopping", "interrupted")
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


def _meets(store: Store, wanted: RunFilter) -> Callable[[RunRecord], bool] | None:
    if not wanted.text:
        return None
    from perdure.operations.shown_text import ShownText

    text, anywhere = ShownText(wanted.text), wanted.anywhere

    def meets(run: RunRecord) -> bool:
        with suppress(PerdureError):  # nothing is shown of what cannot be read
            if text.text in run.id or (anywhere and text.text in run.workflow):
                return True
            if text.in_inputs(store.whole(msgspec.structs.replace(run, output=None)).input):
                return True
            if anywhere and run.output is not None and run.status in ("failed", "parked"):
                return text.in_error(store.whole(run).output)
        return False

    return meets


def _shown(store: Store, runs: Sequence[RunRecord], wanted: RunFilter) -> list[tuple[RunView, int]]:
    status = wanted.status
    if status in _JUDGED:
        # Most of those of that written status may stand otherwise; what is shown of a run is looked up for the others.
        holders = _holders(store, runs)
        letters = run_pages.letters_of(store, [run.rid for run in runs]) if status == "done" else {}
        runs = [run for run in runs if _standing(run, holders.get(run.rid), letters.get(run.rid, 0)) == status]
    views = views_of(store, runs, inputs=wanted.inputs)
    return [(view, run.rid) for view, run in zip(views, runs, strict=True) if status in (None, view.status)]


def standings_of(store: Store, runs: Sequence[RunRecord]) -> list[Standing]:
    """How runs that have not ended stand at this moment."""
    holders = _holders(store, runs)
    return [_standing(run, holders.get(run.rid), 0) for run in runs]


def view_of(store: Store, run: RunRecord) -> RunView:
    """How a run stands at this moment."""
    return views_of(store, [run])[0]


def views_of(store: Store, runs: Sequence[RunRecord], *, inputs: bool = True) -> list[RunView]:
    """How runs stand at this moment; with what they were called with, if `inputs` says so.

    Raises:
        StateError: the file cannot be read.
    """
    if not runs:
        return []
    facts, holders = run_pages.facts_of(store, runs), _holders(store, runs)
    related = {rid for run in runs for rid in (run.forked_from, run.superseded_by) if rid is not None}
    ids = run_pages.ids_of(store, sorted(related))
    if len(ids) < len(related):
        raise corrupt(store.path)
    return [_view(store, run, facts[run.rid], holders.get(run.rid), ids, inputs) for run in runs]


def _holders(store: Store, runs: Sequence[RunRecord]) -> dict[int, HolderInfo]:
    """Who executes them at this moment, by their numbers; each process is looked for once."""
    known: dict[int, HolderInfo | None] = {}
    found = {}
    for run in runs:
        if run.status != "running":
            continue
        holder = known[run.holder] if run.holder in known else store.holding(run)
        if run.holder is not None:
            known[run.holder] = holder
        if holder is not None:
            found[run.rid] = holder
    return found


def _standing(run: RunRecord, holder: HolderInfo | None, dead: int) -> Standing:
    if run.superseded:
        return "superseded"
    if run.status == "running" and holder is None:
        return "interrupted"
    if run.status == "running" and run.stop is not None:
        return "stopping"
    return "dead" if run.status == "done" and dead else run.status


def _view(
    store: Store, run: RunRecord, facts: Facts, holder: HolderInfo | None, ids: dict[int, str], inputs: bool
) -> RunView:
    failed = run.status in ("failed", "parked")
    whole = store.shown(run if failed else msgspec.structs.replace(run, output=None))
    return RunView(
        id=run.id,
        workflow=run.workflow,
        status=_standing(run, holder, facts.dead_letters),
        pid=holder.pid if holder else None,
        host=holder.host if holder else None,
        steps=facts.steps,
        dead_letters=facts.dead_letters,
        created=moment(run.created),
        started=moment(run.started),
        ended=moment(run.ended),
        seconds=_seconds(run, facts, holder is not None),
        last_step=_last_step(store, run, facts),
        script=run.path,
        child=run.parent is not None,
        forked_from=ids.get(run.forked_from or 0),
        superseded_by=ids.get(run.superseded_by or 0),
        waits=_waits(store, run, holder),
        wake=moment(run.wake),
        inputs=secrets.describe_inputs(whole.input, INPUTS) if inputs else "",
        error=_error(whole.output) if failed and whole.output is not None else None,
        counted=facts.exact,
    )


def _error(packed: bytes) -> str:
    from perdure.operations.stored_failures import error_line

    return error_line(packed)


def _waits(store: Store, run: RunRecord, holder: HolderInfo | None) -> str | None:
    if run.status == "running" and holder is None and run.stop is not None and not run.superseded:
        return BEING_CANCELLED
    if run.status == "queued":
        from perdure.operations.queues import place_in_queue

        return place_in_queue(store, run, time.time()).line
    if run.status == "suspended" and run.hold is not None:
        from perdure.store import claims

        return secrets.conceal(f"it is on hold: {claims.reason_of(run.hold)}")
    if run.status not in ("running", "suspended") or not (found := waits.standing_of(store, run.rid)):
        return None
    from perdure.operations.open_questions import waited_for

    return waited_for(store, run, found, time.time())


def _last_step(store: Store, run: RunRecord, facts: Facts) -> str | None:
    """The step that the run came to: the one that failed, if none was saved after that."""
    last, tried = facts.last, facts.tried
    if tried is not None and (last is None or tried.started > last.started):
        return tried.name
    if last is None or last.kind != "defer":
        return last.name if last else None
    return called(last.kind, last.name, store.shown(last).input)[0]


def _seconds(run: RunRecord, facts: Facts, alive: bool) -> float | None:
    if run.ended is not None:
        return max(run.ended - run.created, 0.0)
    if alive:
        return max(time.time() - run.created, 0.0)
    last = facts.last
    return max(last.started + last.ms / 1000 - run.created, 0.0) if last else None
