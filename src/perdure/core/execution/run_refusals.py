"""Why a run is not begun, or not gone on with, in words: somebody has it, it has ended, it is another one."""

from __future__ import annotations

import shlex
from datetime import datetime

from perdure.core.execution.run_effects import Held, HolderInfo, Locked, Start
from perdure.core.execution.spec import Call
from perdure.core.records import RunRecord, StepRecord
from perdure.core.values import codec
from perdure.errors import AlreadyRunning, Cancelled, OtherInputs, RunError, Skipped, Suspended


def cancelled(id: str) -> Cancelled:
    """The error for a run that was cancelled."""
    return Cancelled(
        f"run {id} was cancelled", "call it again: that is a new run; one that has an id of its own needs another id"
    )


def other_inputs(id: str, workflow: str, given: bytes, now_workflow: str, now: bytes) -> OtherInputs:
    """The id stands for a run with other inputs, or of another workflow."""
    return OtherInputs(
        f"run {id} was started with other inputs\n"
        f"    recorded: {workflow}{codec.describe_inputs(given)}\n"
        f"    now:      {now_workflow}{codec.describe_inputs(now)}",
        "give these inputs another id: an id stands for exactly one run",
    )


def suspended(run: RunRecord) -> Suspended:
    """All branches of the run wait: it is left, or not begun again."""
    return Suspended(
        f"run {run.id} is suspended",
        f"run the script again when it is due; `perdure resume --wait {shlex.quote(run.id)}` and "
        "`perdure worker` stay and go on with it",
        run=run.id,
        wake=run.wake,
    )


def after_others(id: str) -> RunError:
    """The run cannot be gone on with: others of its schedule come before it."""
    return RunError(
        f"run {id} begins when the runs of its schedule before it have ended, and not now",
        f"see those with `perdure why {shlex.quote(id)}`, and wait, or cancel them",
    )


def superseded(run: RunRecord, by: RunRecord) -> RunError:
    """The run cannot be gone on with: its fork stands on what it has done."""
    fork = shlex.quote(by.id)
    return RunError(
        f"run {run.id} is superseded by its fork {by.id}, which stands on what it has done",
        f"name the fork: `perdure resume {fork}`, `perdure fork {fork} --from STEP` or `perdure cancel {fork}`",
    )


def refused(call: Call, start: Start, answer: Held | Locked) -> AlreadyRunning:
    """Somebody has the run, or its lock: for a script that is begun again, nothing is to be done then."""
    what = who(answer)
    if answer.by is None and not (isinstance(answer, Locked) and answer.run is not None):
        return AlreadyRunning(what, "wait until it has ended, or start another run under an id: with_options(id=...)")
    if call.spec.rules.if_locked == "fail" or start.parent is not None:  # a parent run needs the result: no skipping
        return AlreadyRunning(what, 'run again when it is free, or wait for it: if_locked="wait"')
    return Skipped(what, "do nothing: it goes on there by itself; `perdure ps` shows it")


def who(answer: Held | Locked) -> str:
    """Who has the run, or its lock, in a line."""
    if isinstance(answer, Locked):
        return describe_locked(answer)
    by = answer.by
    if by is None:
        return f"run {answer.run.id} is already running in this process"
    return f"run {answer.run.id} is already running: {_process(by, by.started)}, {_last(answer.last)}"


def describe_locked(locked: Locked) -> str:
    """Who has a lock, in a line: the process, since when, and what it does with it."""
    run = locked.run
    if locked.by is None and run is not None:
        return f"lock {locked.name!r} is taken by run {run.id} of workflow {run.workflow!r}, which is suspended"
    if locked.by is None:
        return f"lock {locked.name!r} is taken by this process"
    text = f"lock {locked.name!r} is taken: {_process(locked.by, locked.since)}"
    if locked.run is None:
        return text
    return f"{text}, run {locked.run.id} of workflow {locked.run.workflow!r}, {_last(locked.last)}"


def _process(by: HolderInfo, since: float) -> str:
    return f"pid {by.pid} on {by.host} since {datetime.fromtimestamp(since).isoformat(' ', 'seconds')}"


def _last(record: StepRecord | None) -> str:
    return f"last saved step: #{record.seq} {record.name}" if record else "no step saved yet"
