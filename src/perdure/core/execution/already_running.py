"""Who has a run or a lock, in words: the process, its host, since when, how far it is; and the error that says so."""

from __future__ import annotations

from datetime import datetime

from perdure.core.execution.run_effects import Held, HolderInfo, Locked, Start
from perdure.core.execution.spec import Call
from perdure.core.records import StepRecord
from perdure.errors import AlreadyRunning, Skipped


def refused(call: Call, start: Start, answer: Held | Locked) -> AlreadyRunning:
    """Somebody has the run, or its lock: for a script that is begun again, nothing is to be done then."""
    what = who(answer)
    if isinstance(answer, Held) and answer.letter:
        return AlreadyRunning(what, f"wait until that has ended, then go on with run {answer.run.id}")
    if answer.by is None and not (isinstance(answer, Locked) and answer.run is not None):
        return AlreadyRunning(what, "wait until it has ended, or start another run under an id: with_options(id=...)")
    if call.spec.rules.if_locked == "fail" or start.parent is not None:  # a parent run needs the result: no skipping
        return AlreadyRunning(what, 'run again when it is free, or wait for it: if_locked="wait"')
    return Skipped(what, "do nothing: it goes on there by itself; `perdure ps` shows it")


def being_redriven(lid: int, by: HolderInfo, then: str) -> AlreadyRunning:
    """That somebody re-drives a dead letter, and what is to be done `then`."""
    what = f"dead letter {lid} is being re-driven by pid {by.pid} on {by.host}"
    return AlreadyRunning(what, f"wait until that has ended, then {then}")


def who(answer: Held | Locked) -> str:
    """Who has the run, or its lock, in a line."""
    if isinstance(answer, Locked):
        return describe_locked(answer)
    by = answer.by
    if by is None:
        return f"run {answer.run.id} is already running in this process"
    if answer.letter:
        return f"dead letter {answer.letter} is being re-driven by pid {by.pid} on {by.host}"
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
