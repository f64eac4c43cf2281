"""Lists the runs of a cluster in perdure's own terms: what `ps` and `show` look at."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec

from perdure.core.exceptions import capture
from perdure.core.policies.verdicts import Stop, pack_stop
from perdure.core.records import AttemptRecord, RunRecord, StepRecord
from perdure.core.values import codec
from perdure.engines.temporal.commands import ended_by_cluster
from perdure.engines.temporal.connection import Cluster
from perdure.engines.temporal.event_history import EventHistory, OpenCall
from perdure.engines.temporal.executions import STATUS, Found, describe, find, memo_in, published_of, root_of
from perdure.engines.temporal.history_reader import read_whole
from perdure.engines.temporal.payloads import Carried, OpenRow, OpenWaitNote, Published
from perdure.engines.temporal.pending_calls import pending_calls
from perdure.engines.temporal.published_values import remarks_in
from perdure.engines.temporal.queued_runs import is_delayed, listed_so, waiting_in_schedule, waiting_in_schedules
from perdure.engines.temporal.run_records import UNSEALED, attempt_records
from perdure.errors import DecryptionError, NotFound, RunError
from perdure.store.cluster_snapshot import ListedLetter, ListedRun, ListedWait, PendingCall

LOOKED_AT = 1_000
"""Executions that are looked at to find runs, newest first."""
AT_A_TIME = 8
"""Histories that are read at a time."""

NO_INPUTS = codec.pack_inputs([], {}, owner="")
NO_VALUES: Mapping[str, Published] = {}
NOTHING = codec.plan(None, owner="").pack(None)


class _Known(msgspec.Struct):
    found: Found
    started: float
    ended: float | None


async def list_runs(cluster: Cluster, reference: str | None, most: int | None) -> list[ListedRun]:
    """The runs of a cluster, parents before their children.

    Args:
        cluster: which.
        reference: an id, the beginning of one, or "last": the runs that may be meant are listed in full.
        most: without a reference: so many of the newest are listed in full; None for all of them.

    Raises:
        EngineError: the cluster cannot be reached.
        DecryptionError: nothing there can be read; if it is only some, one line says so.
    """
    known = await _known(cluster, reference)
    newest = sorted(known.values(), key=lambda each: -each.started)
    if reference is None:
        wanted = {each.found.memo.id for each in newest[:most]}
    elif reference == "last":
        parents = [each.found.memo.id for each in newest if each.found.memo.parent is None]
        wanted = set(parents[:1])
    else:
        wanted = {id for id in known if id.startswith(reference)}
    family = {id for id, each in known.items() if _belongs(each, wanted, known)}
    waiting = [run for run in await _waiting(cluster) if run.id not in known]
    limit = asyncio.Semaphore(AT_A_TIME)

    async def one(each: _Known) -> ListedRun:
        if each.found.memo.id not in family:
            return _in_short(each)
        async with limit:
            client = await cluster.client()
            shown = await published_of(cluster, each.found) if each.found.memo.parent is None else {}
            history = await read_whole(client, each.found.workflow_id, each.found.run_id)
            return _in_full(each, history, await _pending(cluster, each.found, history), shown)

    # From the oldest on: numbers grow with time, and a parent is older than its children.
    runs = await asyncio.gather(*(one(each) for each in reversed(newest) if _is_complete(each, known)))
    return [*runs, *map(listed_so, waiting)]


async def _pending(cluster: Cluster, found: Found, history: EventHistory) -> list[PendingCall]:
    return await pending_calls(cluster, found, history.open) if found.status == "running" else []


async def _waiting(cluster: Cluster) -> list[RunRecord]:
    """The runs that wait for others of their schedule; what cannot be read of schedules is said in a line."""
    try:
        return [run for _, run in (await waiting_in_schedules(cluster)).values()]
    except DecryptionError as error:
        logging.getLogger("perdure").warning("runs that wait in schedules cannot be listed: %s", error)
        return []


async def list_family(cluster: Cluster, id: str) -> list[ListedRun]:
    """The run that one belongs to, and its child runs, in full; parents before their children.

    Raises:
        NotFound: there is no such run.
        EngineError: the cluster cannot be reached.
    """
    try:
        root = await root_of(cluster, id)
    except NotFound:
        if (waiting := await waiting_in_schedule(cluster, id)) is None:
            raise
        return [listed_so(waiting[1])]
    client = await cluster.client()
    listed: list[ListedRun] = []
    left = [root]
    while left:
        found = left.pop()
        history = await read_whole(client, found.workflow_id, found.run_id)
        pending = await _pending(cluster, found, history)
        listed.append(_in_full(_Known(found, found.memo.created, None), history, pending))
        children = [await describe(cluster, child) for child in dict.fromkeys(history.every_child)]
        left += [child for child in children if child is not None and child.memo.parent == found.memo.id]
    return listed


async def _known(cluster: Cluster, reference: str | None) -> dict[str, _Known]:
    client = await cluster.client()
    known: dict[str, _Known] = {}
    unread: list[DecryptionError] = []
    async for execution in client.list_workflows(limit=LOOKED_AT):
        try:
            memo = await memo_in(execution)
        except DecryptionError as error:
            unread.append(error)
            continue
        if memo is not None and memo.id not in known:
            found = Found(execution.id, execution.run_id, memo, STATUS.get(execution.status, "running"))
            ended = execution.close_time.timestamp() if execution.close_time else None
            known[memo.id] = _Known(found, execution.start_time.timestamp(), ended)
    if unread and not known:
        raise unread[0]
    if unread:
        logging.getLogger("perdure").warning("%d executions cannot be listed: %s", len(unread), unread[0])
    if reference is not None and reference != "last":
        # The list may lag behind by a second; the run itself does not.
        try:
            found = await find(cluster, reference)
        except NotFound:
            return known
        before = known.get(found.memo.id)
        started = before.started if before is not None else found.memo.created
        known[found.memo.id] = _Known(found, started, before.ended if before is not None else None)
    return known


def _belongs(each: _Known, wanted: set[str], known: dict[str, _Known]) -> bool:
    while each.found.memo.id not in wanted:
        parent = known.get(each.found.memo.parent or "")
        if parent is None:
            return False
        each = parent
    return True


def _is_complete(each: _Known, known: dict[str, _Known]) -> bool:
    """A child whose parent the cluster has forgotten is not shown."""
    return each.found.memo.parent is None or each.found.memo.parent in known


def _in_short(each: _Known) -> ListedRun:
    memo = each.found.memo
    output = {"done": NOTHING, "failed": _unknown("it failed")}.get(each.found.status)
    rest = (memo.parent, each.found.status, NO_INPUTS, output, memo.created, each.started, each.ended)
    return ListedRun(memo.id, memo.script, memo.name, memo.key, *rest)


def _in_full(
    each: _Known, history: EventHistory, pending: Sequence[PendingCall], shown: Mapping[str, Published] = NO_VALUES
) -> ListedRun:
    memo, status = each.found.memo, each.found.status
    if status == "running" and memo.queue and (not history.begun or is_delayed(each.found)):
        status = "queued"
    output = None
    if status == "done":
        output = history.output if history.output is not None else NOTHING
    elif status == "failed":
        output = history.failed.fault if history.failed is not None else _ended_by_cluster(memo.id, history)
    steps = [_step(seq, record) for seq, record in enumerate(history.records, start=1)]
    attempts: list[AttemptRecord] = []
    for step, record in zip(steps, history.records, strict=True):
        attempts += attempt_records(step, record.tried)
    for call in history.open:
        attempts += _tries(call)
    remarks, values = remarks_in(shown)
    return ListedRun(
        id=memo.id,
        path=memo.script,
        workflow=memo.name,
        key=memo.key,
        parent=memo.parent,
        status=status,
        input=history.command.input if history.command is not None else NO_INPUTS,
        output=output,
        created=memo.created,
        started=each.started if history.resumed and status != "queued" else memo.created,
        ended=(each.ended or history.last) if status not in ("running", "queued") else None,
        stopped=_stopped(output, attempts, each.ended or history.last) if status == "failed" else None,
        steps=steps,
        attempts=[*attempts, *remarks],
        waits=[_wait(note, place, row) for note in history.waits.values() for place, row in enumerate(note.rows)]
        if status == "running"
        else [],
        letters=[
            ListedLetter(one.event, one.topic, one.id, one.value or NOTHING, one.stamp, one.status, one.reason or None)
            for one in history.mailbox.letters
        ],
        pending=pending,
        published=[(one.name, one.value, one.stamp) for one in values],
        queue=memo.queue or None,
        wake=memo.not_before if status == "queued" else None,
    )


def _wait(note: OpenWaitNote, position: int, row: OpenRow) -> ListedWait:
    topic = row.topic if row.event is not None else None
    return ListedWait(note.name, note.key, note.n, position, row.event, topic, row.began, row.due, row.run)


def _stopped(output: bytes | None, attempts: Sequence[AttemptRecord], ended: float) -> bytes | None:
    """What was known of the failure that ended a run: that of the attempt that failed with it."""
    if output is None:
        return None
    line = capture.decode(output).line
    for one in reversed(attempts):
        if one.verdict is not None and capture.decode(one.error).line == line:
            return pack_stop(Stop(ended, b"", one.verdict))
    return None


def _step(seq: int, record: Carried) -> StepRecord:
    rest = (record.started, int(record.seconds * 1000), record.attempts, UNSEALED, record.kind)
    return StepRecord(seq, record.name, record.key, record.n, record.status, record.input, record.output, *rest)


def _tries(call: OpenCall) -> list[AttemptRecord]:
    """What was tried of a call that has no record; the last failure in full."""
    record = Carried(call.name, call.key, call.n, "failed", call.input, call.fault, call.started, call.seconds, 0)
    made = attempt_records(record, call.tried)
    if made and call.fault:
        made[-1] = msgspec.structs.replace(made[-1], error=call.fault, ms=int(call.seconds * 1000))
    return made


def _ended_by_cluster(id: str, history: EventHistory) -> bytes:
    return capture.encode(capture.to_fault(ended_by_cluster(history.ended_by, id)))


def _unknown(what: str) -> bytes:
    return capture.encode(capture.to_fault(RunError(what, "see the logs of the workers")))
