"""What a run on a cluster waits for, in sentences: the calls that the cluster has, and child runs under way."""

from __future__ import annotations

from perdure.config import secrets
from perdure.core.durations import roughly
from perdure.core.records import RunRecord
from perdure.core.redaction.printable import one_line
from perdure.operations.processes import INPUTS
from perdure.operations.why_sentences import SHOWN
from perdure.store.cluster_snapshot import PendingCall, Snapshot
from perdure.store.runs import Store


def pending_of(store: Store, run: RunRecord) -> list[PendingCall]:
    """The calls that the cluster still has to do for a run."""
    return list(store.pending.get(run.id, ())) if isinstance(store, Snapshot) else []


def pending_lines(store: Store, run: RunRecord, now: float) -> list[str]:
    """Which of them workers have, and which wait for one; and which child runs are under way."""
    calls = [one for one in pending_of(store, run) if one.begun or one.due is None]
    lines = [_line(one, now) for one in calls[:SHOWN]]
    if len(calls) > SHOWN:
        lines.append(f"and {len(calls) - SHOWN:,} more calls that workers have, or that wait for one")
    children = [child for child in store.family(run.rid) if child.parent == run.rid and child.status == "running"]
    lines += [f"child run {child.id} is under way" for child in children[:SHOWN]]
    if len(children) > SHOWN:
        lines.append(f"and {len(children) - SHOWN:,} more child runs are under way")
    return lines


def _line(one: PendingCall, now: float) -> str:
    call = f"{one.name}{secrets.describe_inputs(one.input, INPUTS)}"
    ago = roughly(max(now - one.since, 0.0))
    if not one.begun:
        return f"{call} waits for a worker, for {ago}"
    note = f": {one_line(secrets.conceal(one.note))}" if one.note else ""
    return f"in flight: {call}, attempt {one.attempt}, for {ago}{note}"
