"""Finds a step of a run by a reference as it was typed: its name, or the number of its record."""

from __future__ import annotations

import difflib
import shlex

from perdure.core.execution.crash_loop import fitted
from perdure.core.records import RunRecord
from perdure.errors import NotFound
from perdure.operations.processes import process_of
from perdure.store import crashes, lives, step_pages
from perdure.store.lineage import behind as behind_point
from perdure.store.runs import Store

SHOWN = 12

CALLED = ("step", "builtin")
"""Kinds of records that are of a call of the workflow; the others are notes and clean-ups."""


def check_name(store: Store, run: RunRecord, name: str) -> None:
    """Check that the run has a step of that name.

    Raises:
        NotFound: there is none; the error names those that are.
    """
    names = {one.name for one in step_pages.groups(store, run.rid)} | set(step_pages.tried_names(store, run.rid))
    if name not in names:
        raise _no_such_step(run, name, sorted(names))


def find_step(store: Store, run: RunRecord, reference: str, *, behind: bool = False) -> int:
    """The number of the record that is meant: "charge" is the first of that name, "#7" or "7" the one of that number.

    Of a fork, what its source did behind the point that it was forked from is not meant by a name.

    Args:
        store: the state file.
        run: which.
        reference: as it was typed.
        behind: any number up to the one behind the last record will do (what was undone has left its own free), and a
            step that was begun but has no record.

    Raises:
        NotFound: there is none.
    """
    index = store.index(run.rid)
    is_behind = behind_point(store, run)
    for seq, name, *_ in index:
        if name == reference and not is_behind(seq):
            return seq
    last = index[-1][0] if index else 0
    if behind and not _begun(store, run).isdisjoint({reference, fitted(reference)}):
        return last + 1  # it was begun, and has no record
    number = reference.removeprefix("#")
    if number.isdecimal():
        at = int(number)
        if any(seq == at for seq, *_ in index) or (behind and 0 < at <= last + 1):
            return at
    called = [name for _, name, *_, kind in index if kind in CALLED]
    begun = sorted(_begun(store, run)) if behind else ()
    names = list(dict.fromkeys((*called, *begun)))
    if behind and not names:
        what = f"run {run.id} has no step {reference!r}, and none that has completed"
        raise NotFound(what, f"name the one that would be next: '#{last + 1}'")
    raise _no_such_step(run, reference, names)


def _begun(store: Store, run: RunRecord) -> set[str]:
    """The steps that were tried, or were under way when a life of the run ended."""
    process = process_of(store, run)
    names = {one.name for one in store.attempt_records(run.rid)}
    names |= {one.name for one in lives.list_of(store, run.rid)}
    names |= {one.name for one in crashes.list_of(store, run.rid)}
    return names | {one.step for one in (process.in_flight if process else ()) if one.run == fitted(run.id)}


def _no_such_step(run: RunRecord, reference: str, names: list[str]) -> NotFound:
    what = f"run {run.id} has no step {reference!r}"
    if not names:
        return NotFound(what, f"see `perdure show {shlex.quote(run.id)}`: no step has completed yet")
    close = difflib.get_close_matches(reference, names, n=1)
    meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
    some = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return NotFound(what, f"{meant}name one of: {some}; `perdure show {shlex.quote(run.id)}` numbers them")
