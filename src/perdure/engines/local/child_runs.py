"""Which child runs of a run end with it: what they have left is put away, and what they have done is undone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf

from perdure.core.execution.idempotency import child_id, is_child
from perdure.core.execution.run_effects import Start, Undoable, UndoableChild, Unended
from perdure.core.records import RunRecord
from perdure.engines.local.resources import Resources
from perdure.errors import NotFound
from perdure.store import listing
from perdure.store.lineage import origin, sources
from perdure.store.runs import Store


def unended(resources: Resources, effect: Unended) -> list[tuple[Start, bytes | None]]:
    """The child runs of a run that have something to be put away, and what those have failed with that have."""
    run, store = effect.run, resources.store
    children = store.undoing(run.rid) if effect.undoing else store.unended(run.rid)
    return [(_start(run, child), child.output if child.status == "failed" else None) for child in children]


def undoable(resources: Resources, effect: Undoable) -> tuple[UndoableChild, ...]:
    """The child runs that have something to be undone at this end of a run.

    What one that its source has called has done, a fork stands on until its final end, and for ever if the source
    is done.
    """
    store, run = resources.store, effect.run
    children = store.undoable(run.rid)
    if not children:
        return ()
    records = _records(store, run, children)
    line = [] if run.forked_from is None else list(sources(store, run))
    found = []
    for child in children:
        seqs = records.get(child.id, ())
        place: float = seqs[0] if seqs else inf
        source = next((one for one in line if is_child(child.id, one.id)), None)
        if source is not None and not _is_own(run, seqs):
            if not effect.final or _is_done(store, source):
                continue
            place = min(place, _place_in_source(store, [run, *line], child))
        found.append(UndoableChild(_start(run, child), place, tuple(seqs), child.status == "done"))
    return tuple(found)


def kept_of_source(resources: Resources, effect: Undoable) -> tuple[int, bool]:
    """How many calls with undo= of child runs that its source has called stay, and whether they do at every end."""
    store, run = resources.store, effect.run
    undone = {child.start.rid for child in undoable(resources, effect)}
    kept = [child for child in store.undoable(run.rid) if child.status == "done" and child.rid not in undone]
    if not kept:
        return 0, False
    calls = listing.kept_undos(store, run.rid)
    done = any(_is_done(store, one) for one in sources(store, run))
    return sum(calls.get(child.id, 0) for child in kept), done


def _is_own(run: RunRecord, seqs: Sequence[int]) -> bool:
    """Has a fork itself executed the child run that these records of it stand on? Else it has them from its source."""
    return run.forked_at is not None and any(seq >= run.forked_at for seq in seqs)


def _start(run: RunRecord, child: RunRecord) -> Start:
    names = (child.script, child.path, child.workflow, child.key, child.input)
    return Start(*names, fresh="", parent=run.rid, rid=child.rid, ends=True)


def _records(store: Store, run: RunRecord, children: list[RunRecord]) -> dict[str, list[int]]:
    """The numbers of the records that stand on each of these child runs, by its id.

    One that is run once may have been begun by another run, and has an id of there: all calls with its inputs that
    have no run of their own stand on it.
    """
    by_call = {(child.workflow, child.key): child.id for child in children}
    known = {child.id for child in children}
    found: dict[str, list[int]] = {}
    for seq, name, key, n, _, kind in store.index(run.rid):
        if kind == "step" and (name, key) in by_call:
            id = child_id(origin(store, run, seq).id, name, key, n)
            if id in known or not _exists(store, id):
                found.setdefault(id if id in known else by_call[name, key], []).append(seq)
    return found


def _exists(store: Store, id: str) -> bool:
    try:
        store.run(id)
    except NotFound:
        return False
    return True


def _is_done(store: Store, run: RunRecord) -> bool:
    """Is a run done, or the one that it is a child of, however deep? What that did is never undone."""
    return [run, *store.parents(run)][-1].status == "done"


def _place_in_source(store: Store, line: list[RunRecord], child: RunRecord) -> float:
    """Where a child run that a source of the first of these forks has called stands among the records of that one."""
    bound = inf
    for fork, maker in pairwise(line):
        bound = min(bound, inf if fork.forked_last is None else fork.forked_last + 0.5)
        for seq, name, key, n, *_ in store.index(maker.rid):
            if (name, key) == (child.workflow, child.key) and child_id(maker.id, name, key, n) == child.id:
                return min(seq, bound)
    return bound
