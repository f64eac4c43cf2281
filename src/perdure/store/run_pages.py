"""Runs a page at a time, newest first, and all that a listing shows of those on it: what is not shown costs nothing.

A page is looked for in windows of row numbers, each a read of its own, so that a filter which nearly nothing meets
keeps no snapshot for long, and can be left between two windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import msgspec

from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.redaction.printable import one_line
from perdure.store import sessions
from perdure.store.damaged_rows import if_sound, rows_of
from perdure.store.rows import checked_of_run, here, intact
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("run_pages.sql")
_RECORDS = load("runs.sql")
RUNS, STEPS, ATTEMPTS = (_RECORDS[name].partition("WHERE")[0] for name in ("get_run", "last_step", "last_attempt"))
"""Statements that read whole records: what they select, and from where."""
_PAGE = _SQL["page"].replace(":runs", RUNS)
_RUNNING, _BEGUN = "INDEXED BY run_running", "INDEXED BY run_workflow"
"""Runs under way are few beside those that rest, and are sorted."""
_LAST_STEPS = _SQL["last_steps"].replace(":steps", STEPS)
_NEWEST_ATTEMPT = _SQL["newest_attempt"].replace(":attempts", ATTEMPTS)

ID, WORKFLOW = 1, 4
"""Where these texts stand in a row."""

WINDOW = 50_000
"""Row numbers that are looked through in one read: some 25 ms where no index helps."""

TEXTS = 1_000
"""Runs that are read in one go to be judged by what is shown of them."""

COUNTED = 100_000
"""Steps that are counted for a page, of runs that do not say themselves how many they have."""

ENDS = 8
"""Records of a run that has not ended whose ends are looked at."""

TRIED = 2_000
"""Failed attempts of a run that are looked through, from those of its last life on."""


class Wanted(msgspec.Struct, frozen=True):
    """Which runs are meant, by what is written down.

    Attributes:
        status: with this stored status.
        superseded: those only that a fork has superseded, or (False) no such.
        workflow: of this workflow.
        children: child runs too.
        parent: the child runs of the run of this row number; then `children` does not count.
        meets: those that it is true of, by what no statement can tell; such as are damaged may be among them.
    """

    status: str | None = None
    superseded: bool | None = None
    workflow: str | None = None
    children: bool = False
    parent: int | None = None
    meets: Callable[[RunRecord | DamagedRun], bool] | None = None


class DamagedRun(NamedTuple):
    """A run that cannot be read: its row number; its id and its workflow's name as they stand there now."""

    rid: int
    id: str
    workflow: str


class Facts(msgspec.Struct):
    """What is shown of a run besides its own row.

    Attributes:
        steps: its records; if not `exact`, as many as the number of the last one.
        exact: were they counted?
        dead_letters: of the run and its child runs.
        last: its last record.
        until: of one that has not ended, the last moment at which it is known to have been under way; in seconds since
            the epoch, 0.0 if none is.
        tried: its failed attempt that began last, of those that are looked through.
    """

    steps: int = 0
    exact: bool = True
    dead_letters: int = 0
    last: StepRecord | None = None
    until: float = 0.0
    tried: AttemptRecord | None = None


def last_number(store: Store) -> int:
    """The highest row number of a run; 0 if there is none."""
    number: int = _all(store, "last_run")[0][0]
    return number


def question(wanted: Wanted, before: int, most: int, listed: Sequence[int] | None = None) -> tuple[str, dict[str, Any]]:
    """The statement that finds the runs of a chunk, and what it is given."""
    # What an index leads to is looked up beyond all windows: only what meets the filters is read then.
    roots = not wanted.children and wanted.parent is None
    running = wanted.status == "running"
    of_roots = {None: wanted.workflow is None, "done": wanted.workflow is not None}.get(wanted.status, True)
    by_index = listed is not None or wanted.parent is not None or running or (roots and of_roots)
    judged = wanted.meets is not None or wanted.superseded is True
    windowed = listed is None and (not by_index or judged)
    first = max(before - WINDOW, 0) if windowed else 0
    names = {
        **_standing(wanted),
        "only_workflow": wanted.workflow is not None,
        "in_window": windowed,
        "only_roots": roots,
        "only_children": wanted.parent is not None,
        "only_superseded": wanted.superseded is True,
        "not_superseded": wanted.superseded is False,
        "only_listed": listed is not None,
    }
    filters = [_SQL[name] for name, asked in names.items() if asked]
    statement = _PAGE.replace(":filters", " ".join(filters)).replace(":index", _RUNNING if running else "")
    given = {
        "first": first,
        "before": before,
        "most": most,
        "status": wanted.status,
        "workflow": wanted.workflow,
        "parent": wanted.parent,
        "listed": None if listed is None else _json(listed),
    }
    return statement, given


def chunk(
    store: Store, wanted: Wanted, before: int, most: int, listed: Sequence[int] | None = None
) -> tuple[list[RunRecord | DamagedRun], int]:
    """Up to `most` runs with row numbers below `before`, newest first, of one window; also those that are damaged.

    Args:
        store: the state file.
        wanted: which.
        before: where to begin.
        most: how many at most, at least 1.
        listed: only those with these numbers; the window is as wide as they are.

    Returns:
        The runs, and the number below which to go on: 0 if there are no more.
    """
    at_once = most if wanted.meets is None else TEXTS
    statement, given = question(wanted, before, at_once, listed)
    first: int = given["first"]

    def read(connection: apsw.Connection) -> list[RunRecord | DamagedRun]:
        runs: list[RunRecord | DamagedRun] = []
        for row in rows_of(connection, statement, given):
            run = intact(RunRecord, row)
            runs.append(_damaged(row) if run is None else here(run, store.path))
        return runs

    found: list[RunRecord | DamagedRun] = store.journal.read(read)
    following = found[-1].rid if len(found) == at_once else first
    if wanted.meets is None:
        return found, following
    meant = list(islice(filter(wanted.meets, found), most))
    return meant, meant[-1].rid if len(meant) == most else following


def newest(store: Store, most: int, status: str | None = None) -> tuple[list[RunRecord], list[DamagedRun]]:
    """The newest runs that are no child runs, and apart those of them that are damaged.

    Args:
        store: the state file.
        most: how many at most.
        status: only those with this stored status.
    """
    found, _ = chunk(store, Wanted(status=status), last_number(store) + 1, most)
    sound = [if_sound(partial(store.whole, run), partial(damaged, run)) for run in found if isinstance(run, RunRecord)]
    both = [*sound, *(run for run in found if isinstance(run, DamagedRun))]
    return (
        [run for run in both if isinstance(run, RunRecord)],
        [run for run in both if isinstance(run, DamagedRun)],
    )


def damaged(run: RunRecord) -> DamagedRun:
    """A run of which something else than its own row is damaged."""
    return DamagedRun(run.rid, run.id, run.workflow)


def _damaged(row: Sequence[Any]) -> DamagedRun:
    return DamagedRun(row[0], one_line(row[ID]), one_line(row[WORKFLOW]))


def count(store: Store, wanted: Wanted, most: int, listed: Sequence[int] | None = None) -> int:
    """How many runs are meant, up to `most`: what an index says costs little, if a status is named.

    Args:
        store: the state file.
        wanted: which, by status, workflow, `children` and `superseded`.
        most: where counting ends.
        listed: only those with these numbers.
    """
    names = {
        **_standing(wanted),
        "only_workflow": wanted.workflow is not None,
        "only_roots": not wanted.children,
        "not_superseded": wanted.superseded is False,
        "only_listed": listed is not None,
    }
    given = {
        "status": wanted.status,
        "workflow": wanted.workflow,
        "most": most,
        "listed": None if listed is None else _json(listed),
    }
    filters = " ".join(_SQL[name] for name, asked in names.items() if asked)
    by_status = {"running": _RUNNING, "done": _BEGUN}.get(wanted.status or "", "")
    index = by_status if listed is None else ""  # listed ones are looked up, however many others stand so
    statement = _SQL["count"].replace(":filters", filters).replace(":index", index)
    found: int = store.journal.read(lambda connection: next(connection.execute(statement, given))[0])
    return found


def _standing(wanted: Wanted) -> dict[str, bool]:
    """The filter for a status: it says of which index what is meant is not left out."""
    if wanted.status == "running":
        return {"only_running": True}
    by_workflow = wanted.status == "done" or (wanted.workflow is not None and wanted.status != "queued")
    return {"only_begun" if by_workflow else "only_waiting": wanted.status is not None}


def with_letters(store: Store, before: int) -> list[int]:
    """The numbers of the runs with parked calls, of their own or of a child run's, below `before`, newest first."""
    return [rid for (rid,) in _all(store, "with_letters", before)]


def letters_of(store: Store, rids: Sequence[int]) -> dict[int, int]:
    """How many calls of these runs, with their child runs, are dead letters; a run without any is left out."""
    return dict(_all(store, "letters_of_families", _json(rids)))


def damaged_of(store: Store, id: str) -> RunRecord:
    """What can be used of a run whose row is damaged, to find what else is known of it: its number, id and path."""
    statement = f"{RUNS} WHERE id = ?"
    (row,) = store.journal.read(lambda connection: rows_of(connection, statement, (id,)))
    run = RunRecord(*row)
    return RunRecord(
        run.rid,
        run.id,
        run.script,
        run.path,
        run.workflow,
        run.key,
        False,
        None,
        "running",
        None,
        0,
        b"",
        None,
        0.0,
        0.0,
        None,
        0,
    )


def facts_of(store: Store, runs: Sequence[RunRecord]) -> dict[int, Facts]:
    """What is shown of these runs, by row number: one question for all of them.

    Raises:
        StateCorrupt: a checksum does not match.
    """
    numbers = _json([run.rid for run in runs])
    path = store.path

    def question(connection: apsw.Connection) -> dict[int, Facts]:
        found = {run.rid: Facts() for run in runs}
        for rid, count in connection.execute(_SQL["letters_of_families"], (numbers,)):
            found[rid].dead_letters = count
        room = COUNTED
        for run in runs:
            facts = found[run.rid]
            for row in connection.execute(_LAST_STEPS, (run.rid, 1)):
                facts.last = checked_of_run(StepRecord, row, path)
            if run.steps is not None:
                facts.steps = run.steps
            else:
                (facts.steps,) = next(connection.execute(_SQL["count_steps"], (run.rid, room + 1)))
                room -= facts.steps
            if room < 0:
                facts.exact = False
                facts.steps = facts.last.seq if facts.last is not None else facts.steps
                room = 0
            if run.status in ("running", "failed", "parked"):
                for row in connection.execute(_NEWEST_ATTEMPT, (run.rid, TRIED)):
                    facts.tried = checked_of_run(AttemptRecord, row, path)
            if run.ended is None:
                facts.until = _until(connection, run.rid, facts.tried, path)
        return found

    facts: dict[int, Facts] = store.journal.read(question)
    return facts


def _until(connection: apsw.Connection, rid: int, tried: AttemptRecord | None, path: Path) -> float:
    """Its last records may be of what had ended before it began: of another run, or of the source of a fork."""
    last: list[StepRecord | AttemptRecord] = [] if tried is None else [tried]
    last += [checked_of_run(StepRecord, row, path) for row in connection.execute(_LAST_STEPS, (rid, ENDS))]
    return max([sessions.left_at(connection, rid), *(one.started + one.ms / 1000 for one in last)])


def ids_of(store: Store, rids: Sequence[int]) -> dict[int, str]:
    """The ids of runs, by their numbers."""
    return dict(_all(store, "ids", _json(rids))) if rids else {}


def count_steps(store: Store, rid: int) -> int:
    """How many records a run has, up to as many as are counted for a page."""
    number: int = _all(store, "count_steps", rid, COUNTED)[0][0]
    return number


def _json(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()


def _all(store: Store, query: str, *values: Any) -> list[Any]:
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL[query], values).fetchall())
    return rows
