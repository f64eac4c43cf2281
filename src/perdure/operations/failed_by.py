"""By which other run a run has failed: a child run, one that it calls by an id, or one whose result it waits for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Literal

import msgspec

from perdure.core.exceptions import capture
from perdure.core.exceptions.fault import Fault
from perdure.core.records import RunRecord
from perdure.errors import NotDecodable, NotFound
from perdure.operations.why_waiting import Way
from perdure.store.calls_by_id import begun_by, calls_by_id
from perdure.store.runs import Store

DEEP = 20
"""Runs below one another that are looked through."""

ERRORS = 100
"""Errors from which one came that are looked through."""

MOST = 1_000
"""Child runs, and calls by an id, that are looked through, the newest."""

OF_ANOTHER_RUN = re.compile(r"perdure: run .+ is (?:failed|parked); see it with `perdure show (.+)`\Z", re.DOTALL)
"""What api/run_outcome.py notes on the error of a run that another one has waited for."""


class FailedBy(msgspec.Struct, frozen=True):
    """A run that another one has failed by. Going on with that one goes on with this one as well, unless it `awaited`
    its result, or this one is parked, or was cancelled: then it has the id that the other one calls."""

    run: RunRecord
    how: Literal["child", "called", "awaited"]

    @property
    def name(self) -> str:
        """What it is to the run that failed by it."""
        id = self.run.id
        match self.how:
            case "child":
                return f"its child run {id}"
            case "called":
                return f"run {id}, which it calls,"
            case _:
                return f"run {id}, for whose end it waits,"

    @property
    def deed(self) -> str:
        """What `way` does, in a sentence."""
        match self.run.status:
            case "parked":
                return "re-drive that one first"
            case "cancelled":
                return "fork that one first, and its id stands for the fork; or call another id"
            case _:
                return "go on with that one first"

    def way(self, store: Store, option: str) -> Way | None:
        """The command without which the run that failed by it fails again, if one is needed."""
        id = shlex.quote(self.run.id)
        if self.run.status == "cancelled":
            index = store.index(self.run.rid)
            cleaned = any(kind == "defer" for *_, kind in index)  # what it had made is not there any more
            point = 1 if cleaned or not index else index[-1][0] + 1
            return Way(f"first fork {self.run.id}", f"perdure fork {id} --from '#{point}'{option}")
        if self.run.status == "parked":
            return Way(f"first re-drive {self.run.id}", f"perdure dlq redrive --run {id}{option}")
        return Way(f"first go on with {self.run.id}", f"perdure resume {id}{option}") if self.how == "awaited" else None


def failed_by(store: Store, run: RunRecord) -> list[FailedBy]:
    """The run by which one has failed, the one by which that has, and so on: the last one is where it began.

    Args:
        store: the state file, or the records of a cluster.
        run: which.

    Raises:
        StateError: the file cannot be read.
    """
    found: list[FailedBy] = []
    seen = {run.id}
    while len(found) < DEEP and (one := _by_one(store, run)) is not None and one.run.id not in seen:
        found.append(one)
        run = one.run
        seen.add(run.id)
    return found


def undone_with(store: Store, run: RunRecord) -> RunRecord | None:
    """The run that has failed by itself, if a child run was only undone with it: then it has ended with that error."""
    found = None
    for parent in store.parents(run):
        if run.output is None or parent.output != run.output or parent.status not in ("failed", "parked"):
            break
        found = run = parent
    return found


def _by_one(store: Store, run: RunRecord) -> FailedBy | None:
    if run.status not in ("failed", "parked") or run.output is None:
        return None
    try:
        chain = _chain(capture.decode(run.output))
    except NotDecodable:
        return None
    for id in _awaited(chain):
        try:
            other = store.newest(store.run(id))
        except NotFound:  # it is removed, or a cluster has not listed it
            continue
        if other.status in ("failed", "parked"):
            return FailedBy(other, "awaited")
    lines = {fault.line for fault in chain}
    for id in store.children(run.rid)[: -MOST - 1 : -1]:
        if (child := _failed(store, id, lines)) is not None and child.output != run.output:
            return FailedBy(child, "child")
    for id in _called(store, run):
        if (called := _failed(store, id, lines, called=True)) is not None:
            return FailedBy(called, "called")
    return None


def _failed(store: Store, id: str, lines: set[str], *, called: bool = False) -> RunRecord | None:
    """The run of that id, if it has failed with one of these errors.

    Of one that is `called` by its id the newest fork counts, and that it is parked or was cancelled is another error.
    """
    try:
        run = store.newest(store.run(id)) if called else store.run(id)
        if called and run.status in ("parked", "cancelled"):
            return run
        if run.superseded or run.status not in ("failed", "parked") or run.output is None:
            return None
        return run if capture.decode(run.output).line in lines else None
    except (NotFound, NotDecodable):
        return None


def _chain(fault: Fault) -> list[Fault]:
    """An error, what it came from, and the members of a group, the outermost first."""
    found = [fault]
    for one in found:  # which grows meanwhile
        found += [each for each in (one.cause, one.context, *one.members) if each is not None]
        if len(found) >= ERRORS:
            break
    return found


def _awaited(chain: list[Fault]) -> Iterator[str]:
    for note in (note for fault in chain for note in fault.notes):
        if (named := OF_ANOTHER_RUN.match(note)) is not None:
            yield from shlex.split(named[1])


def _called(store: Store, run: RunRecord) -> Iterator[str]:
    """The ids of the runs that it has called and whose end it has not recorded, as it has of a failure it handled."""
    begun = [seq for seq, ended in calls_by_id(store, run).items() if ended is None]
    for seq in sorted(begun, reverse=True)[:MOST]:
        if (id := begun_by(store, run.rid, seq)) is not None:
            yield id
