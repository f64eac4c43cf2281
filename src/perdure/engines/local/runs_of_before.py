"""Runs that were begun with the inputs of a call, though these looked otherwise: a class has gained a field since."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from perdure.core.execution.idempotency import child_id
from perdure.core.execution.inputs import look_as_always
from perdure.core.execution.spec import Call
from perdure.core.records import RunRecord
from perdure.errors import NotFound
from perdure.store.runs import Store

Left = dict[bytes, list[tuple[RunRecord, int]]]
"""Child runs, with the occurrence that their ids stand for, by the key that their inputs would have now."""


class Seen(msgspec.Struct):
    """Runs of one workflow whose recorded inputs would look otherwise now, by the key that they would have.

    Attributes:
        last: up to which row number they were looked at.
        runs: the numbers of those runs.
    """

    last: int = 0
    runs: dict[bytes, list[int]] = msgspec.field(default_factory=dict)


def as_begun(store: Store, call: Call, script: str, id: str | None, *, once: bool = False) -> Call:
    """The call of a workflow, by the inputs of the run that it goes on with, or whose result it takes.

    Args:
        store: the state file.
        call: the workflow's function and arguments.
        script: the identity of the script.
        id: the id of the run, if it does not follow from the inputs alone.
        once: if there is no run of that id, one of the same inputs will do, also one that is done.
    """
    if look_as_always(call.spec.signature, call.args, call.kwargs):
        return call
    if id is not None:
        try:
            runs = [store.run(id)]
        except NotFound:
            runs = _run_once(store, call, script) if once else []
    elif once:
        runs = _run_once(store, call, script)
    else:
        runs = [run for run in store.unfinished(call.spec.name) if run.script == script]
    if all(run.key != call.key for run in runs):
        from perdure.core.execution.recorded_inputs import are_inputs_of

        for run in runs:
            if run.workflow == call.spec.name and are_inputs_of(given := store.whole(run).input, call):
                return msgspec.structs.replace(call, key=run.key, input=given)
    return call


def _run_once(store: Store, call: Call, script: str) -> list[RunRecord]:
    """What stands for a call that is run once, if its inputs looked otherwise; each run of before is read once."""
    name = call.spec.name
    if call.named or store.is_run_once(name, call.key, script):
        return []
    from perdure.core.execution.recorded_inputs import Renewed, types_in
    from perdure.store import runs_by_inputs

    seen = store.of_before.setdefault((script, name, types_in(call)), Seen())
    renewed = Renewed(call)
    for run in runs_by_inputs.after(store, seen.last, name, script):
        now = renewed.of(store.whole(run).input)
        if now is not None and now[1] != run.key:
            seen.runs.setdefault(now[1], []).append(run.rid)
        seen.last = run.rid
    found = [store.run_by_number(rid) for rid in seen.runs.get(call.key, ())]
    left = [run for run in found if run.superseded_by is None and run.status not in ("cancelled", "parked")]
    return sorted(left, key=lambda run: (run.status == "done", run.rid), reverse=True)


def take_left_child(store: Store, above: RunRecord, call: Call, known: dict[Any, Left]) -> None:
    """Let a call that has no record be that of a child run which an earlier life has begun, if one has its inputs.

    The id of a child run goes by the key of its inputs, which is then the recorded one.

    Args:
        store: the state file.
        above: the run that calls.
        call: of the workflow; its key, occurrence and inputs become those of the child run.
        known: what earlier calls of this life have found.
    """
    if call.named or look_as_always(call.spec.signature, call.args, call.kwargs):
        return
    place = call.spec.name, tuple(map(type, (*call.args, *call.kwargs.values())))
    left = known.get(place)
    if left is None:
        left = known.setdefault(place, _left_children(store, above, call))
    if runs := left.get(call.key):
        run, call.n = runs.pop(0)
        call.key, call.input = run.key, run.input


def _left_children(store: Store, above: RunRecord, call: Call) -> Left:
    """The child runs that no record stands for and whose inputs would look otherwise now."""
    from perdure.core.execution.recorded_inputs import Renewed
    from perdure.store import runs_by_inputs

    name = call.spec.name
    recorded = [(key, n) for _, one, key, n, _, kind in store.each_index(above.rid) if one == name and kind == "step"]
    known = {child_id(above.id, name, key, n) for key, n in recorded}
    runs = [run for run in runs_by_inputs.children(store, above.rid, name) if run.id not in known]
    most = Counter(key for key, _ in recorded) + Counter(run.key for run in runs)
    renewed = Renewed(call)
    found: Left = {}
    for run in map(store.whole, runs):
        now = renewed.of(run.input)
        if now is None or now[1] == run.key:
            continue
        for n in range(most[run.key] + call.n):
            if child_id(above.id, name, run.key, n) == run.id:
                found.setdefault(now[1], []).append((run, n))
    for same in found.values():
        same.sort(key=lambda pair: pair[1])
    return found
