"""The beginning and the end of a run in the state file, and who hears of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

from perdure.config import command_line, settings
from perdure.config.script_identity import script_identity, whole_path
from perdure.core.exceptions import capture
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import child_id
from perdure.core.execution.run_effects import End, Recall, Start
from perdure.core.execution.spec import OWN_LOCK, Call
from perdure.core.records import RunRecord, begun_by
from perdure.engines import functions
from perdure.engines.events import RunEnded, RunStopped, RunSuspended
from perdure.engines.interface import Enqueued
from perdure.engines.local import notices
from perdure.engines.local.resources import Resources
from perdure.engines.local.runs_of_before import as_begun
from perdure.engines.local.unfinished import note_run_once, note_unfinished
from perdure.engines.registry import is_known
from perdure.engines.runtime import orphans
from perdure.errors import NotFound, Released, StateError, StopRun, Suspended, UsageError
from perdure.store import record_index
from perdure.store.crashes import crashes_of, deaths_of
from perdure.store.group_commit import Operation
from perdure.store.parking import Parking
from perdure.store.runs import Store

if TYPE_CHECKING:
    from perdure.core.execution.queueing import QueuedRun
    from perdure.core.policies.verdicts import Stop


def start_of(
    resources: Resources,
    call: Call,
    script: str,
    id: str | None = None,
    resume: str | None = None,
    parent: int | None = None,
    *,
    attach: bool = False,
    apart: bool = False,
) -> Start:
    """What to look for in the state file, and what to write there if it is not found.

    Args:
        resources: the state file.
        call: the workflow's function and arguments.
        script: the path of the script that it is in.
        id: the id that the run is to have, if it does not follow from the inputs.
        resume: the id of a run to go on with.
        parent: the number of the run that it is a child of.
        attach: a run that is under way will do.
        apart: so will one that is suspended.
    """
    name, rules, state = call.spec.name, call.spec.rules, resources.store.path
    path = whole_path(script)
    rid = resources.store.run(resume).rid if resume is not None else None
    identity, defaults = script_identity(path, state), None
    if resume is None and parent is None:
        call, defaults = _as_recorded(resources, call, identity)
    if resume is None and (parent is None or rules.once):
        once = rules.once and (id is None or parent is not None)
        call = as_begun(resources.store, call, identity, id, once=once)
    start = Start(
        script=identity,
        path=path,
        workflow=name,
        key=call.key,
        input=call.input,
        fresh=f"{name}-{resources.world.new_id()}",
        id=id,
        named=id is not None and parent is None,
        parent=parent,
        rid=rid,
        once=rules.once,
        attach=attach,
        apart=apart,
        patience=patience(resources, path),
        lock=f"{script_identity(call.spec.file, state)}:{name}" if rules.lock == OWN_LOCK else rules.lock,
        defaults=defaults,
        again=resources.starts_again,
        line=command_line.given() if resume is None and parent is None else None,
    )
    if id is None and resume is None and parent is None:
        note_unfinished(resources.store, start)
    if resume is None and start.once and not start.named:
        note_run_once(resources.store, start)
    return start


def _as_recorded(resources: Resources, call: Call, script: str) -> tuple[Call, dict[str, bytes] | None]:
    """The call of a workflow, by the defaults that it had when a run was first made; and what of them is to be kept."""
    store, spec = resources.store, call.spec
    if not (now := spec.signature.defaults()):
        return call, None
    from perdure.core.execution.defaults import identify_as_recorded

    place = script, spec.name
    if place not in store.defaults:
        from perdure.store import workflow_defaults

        store.defaults[place] = workflow_defaults.known(store.journal, store.path, *place)
    recorded = store.defaults[place]
    return identify_as_recorded(call, recorded), None if now.keys() <= recorded.keys() else now | recorded


def patience(resources: Resources, script: str) -> float:
    """Seconds within which a wait is waited for in the process: as the engine was told, or as the settings say."""
    told = resources.suspend_after
    return settings.suspend_after(script) if told is None else told


def queued_runs(
    resources: Resources, calls: Sequence[Call], how: Enqueued, ids: Sequence[str] | None = None
) -> list[QueuedRun]:
    """Runs of one workflow that are to stand in a queue.

    Args:
        resources: the state file.
        calls: the workflow's function and the arguments of each.
        how: the same for all of them.
        ids: of the runs, if they follow from where these are enqueued.
    """
    queued_run = _queued_run()
    given = [how.id] * len(calls) if ids is None else ids
    spec, state, world = calls[0].spec, resources.store.path, resources.world
    path, wake, name = os.path.abspath(spec.file), how.wake(world.now()), spec.name
    script = script_identity(path, state)
    once = spec.rules.once and how.id is None
    asked: list[tuple[Call, dict[str, bytes] | None]] = (
        [_as_recorded(resources, each, script) for each in calls]
        if spec.signature.defaults()
        else [(each, None) for each in calls]
    )
    if once or how.id is not None:
        asked = [(as_begun(resources.store, call, script, how.id, once=once), kept) for call, kept in asked]
    runs = [
        queued_run(
            Start(
                script=script,
                path=path,
                workflow=name,
                key=call.key,
                input=call.input,
                defaults=kept,
                fresh=f"{name}-{world.new_id()}" if id is None else id,
                id=id,
                named=id is not None,
                once=once,
            ),
            how.queue,
            how.priority,
            how.key,
            how.dedup,
            wake,
        )
        for id, (call, kept) in zip(given, asked, strict=True)
    ]
    if once:
        for run in runs:
            note_run_once(resources.store, run.start)
    elif how.dedup is not None:
        note_run_once(resources.store, runs[0].start, how.dedup)
    return runs


@cache
def _queued_run() -> type[QueuedRun]:
    from perdure.core.execution.queueing import QueuedRun

    return QueuedRun


def history_of(resources: Resources, run: RunRecord, *, resumed: bool) -> History:
    """What the run has done so far; read from the state file if it is `resumed`."""
    store, uniform = resources.store, resources.world.uniform
    if not resumed:
        history = History(run.rid, run.id, epoch=run.epoch, uniform=uniform, largest=store.largest)
        history.undoes_children = history.notes_endings = True
        return history
    record_index.refuse_misplaced(store.journal, run.rid, store.path)
    exempt = store.exempted(run.rid)
    last = None if exempt else record_index.last_of_calls(store.journal, run.rid)
    from perdure.core.execution.recorded_inputs import InputsOfBefore
    from perdure.store import set_aside
    from perdure.store.lives import lives_of

    history = History(
        run.rid,
        run.id,
        (),
        store.attempts(run.rid, run.epoch),
        exempt=exempt,
        epoch=run.epoch,
        uniform=uniform,
        crashes=crashes_of(store, run.rid),
        crash_limit=settings.crash_limit(run.path),
        largest=store.largest,
        lives=lives_of(store, run.rid),
        pages=record_index.pages(store.journal, run.rid, store.path) if last is None else (),
        last=last or 0,
    )
    history.edits = set_aside.edits(store, run.rid)
    history.spent = store.spent_by_calls(run.rid)
    history.spent_by_children = store.spent_by_children(run.rid)
    if history.spent_by_children and run.forked_from is not None:
        _find_children_of_source(store, run, history)
    history.resumed = history.undoes_children = history.notes_endings = True
    history.has_children = True  # which earlier lives may have called, whatever this one comes to
    history.inputs_of_before = InputsOfBefore(store.record)
    history.tried_calls = lambda name: store.tried_calls(run.rid, name)
    history.deaths = deaths_of(store, run.rid) if run.parent is None else ()
    history.may_be_renamed = lambda before, now: _may_be_renamed(store, run, before, now)
    if run.parent is not None:
        history.top = lambda: top_of(store, run)
    return history


def top_of(store: Store, run: RunRecord) -> tuple[str, str]:
    """The id of the run that a run is a child of, however deep, and the workflow that it has called to come here."""
    called = ""
    for parent in store.parents(run):
        called, run = run.workflow, parent
    return run.id, called


def _find_children_of_source(store: Store, run: RunRecord, history: History) -> None:
    """What child runs have spent that a fork has from its source, under the ids that they would have in the fork."""
    from perdure.store.lineage import origin

    spent = history.spent_by_children
    for seq, name, key, n, _, kind in store.index(run.rid):
        if kind == "step" and (amounts := spent.get(child_id(origin(store, run, seq).id, name, key, n))) is not None:
            spent[child_id(run.id, name, key, n)] = amounts


def _may_be_renamed(store: Store, run: RunRecord, before: str, now: str) -> bool:
    """Has the script no step or workflow of the name `before` any more, and is `now` one of the same kind?"""
    way, workflow = begun_by(before)
    if way:
        return not is_known(workflow, "workflow")
    from perdure.store.code_versions import kind_of_call

    kind = kind_of_call(store, run.rid, before)
    return (kind is None or is_known(now, kind)) and not _defines(store, run, before, kind)


def _defines(store: Store, run: RunRecord, name: str, kind: str | None) -> bool:
    """Does the script of a run have a step, or a workflow, of that name, as far as this process has loaded it?"""
    record = store.function(run.rid, "step", name)
    if record is None or kind == "workflow":  # a child run, or a record of before functions were noted
        return is_known(name, *(() if kind is None else (kind,)))
    try:
        functions.find(record, run.path, b"")
    except (NotFound, UsageError):
        return False
    return True


def end_orphans(resources: Resources, effect: Recall) -> None:
    """Programs that an earlier process has started for steps of the run do not run beside what is made again."""
    import perdure.engines.runtime.command  # so that an error of a program, read back, is of its own class  # noqa: F401
    from perdure.store.lineage import sources

    lineage = [run.id for run in sources(resources.store, effect.run)]
    orphans.end_left(effect.run.id, lineage, effect.died)


def end_operation(resources: Resources, effect: End) -> Operation:
    """The operation that writes down how a run has ended."""
    store, now = resources.store, resources.world.now()
    if effect.status != "parked":
        return store.end(effect, now)
    return store.end(effect, now, resources.letters.terms(effect.run.path))


def ended(resources: Resources, effect: End, parking: Parking | None) -> None:
    """The end of a run is written: release the run, and notify."""
    resources.store.let_go(effect.run)
    if parking is not None:
        resources.letters.parked(parking)
    resources.monitor.ended(effect)
    if effect.run.rid in resources.store.done_first:
        notices.done_first(resources, effect.run)
    if effect.left:
        notices.left_behind(effect.run, effect.left)
    if effect.status == "done" and effect.run.parent is None:
        notices.dead_letters(resources, effect.run)
    elif effect.status != "done":
        notices.leaves(resources, effect.run, effect.status)
    if resources.observer is not None:
        resources.observer.notify(RunEnded(effect.run.id, effect.run.workflow, effect.status))


def not_ended(resources: Resources, effect: End, error: StateError) -> None:
    """The end of a run cannot be written: release the run, and notify."""
    resources.store.not_ended(effect.run, stop_of(effect.run, error, resources.world.now()))
    stopped(resources, effect.run, error)


def suspended(resources: Resources, run: RunRecord, error: Suspended) -> None:
    """A run has been left to its waits: notify. It has not ended, and nothing is wrong."""
    resources.monitor.suspended(run)
    if resources.observer is not None:
        resources.observer.notify(RunSuspended(run.id, run.workflow, error.wake))


def stop_of(run: RunRecord, error: BaseException, now: float) -> Stop:
    """What has stopped a run, to be kept; of what is not an Exception, its class and its message.

    Args:
        run: which.
        error: what has stopped it.
        now: when, in seconds since the epoch.
    """
    from perdure.catalogue.rules import assess_for
    from perdure.core.policies.verdicts import Stop, pack_verdict
    from perdure.engines.runtime.ctrl_c import ctrl_c_in_loop

    cause = error.error if isinstance(error, StopRun) else error
    if type(cause).__name__ == "CancelledError" and ctrl_c_in_loop():
        cause = KeyboardInterrupt()
    fault = capture.encode(capture.to_fault(cast(Exception, cause)))
    return Stop(now, fault, pack_verdict(assess_for(run.path, cause)))


def is_release(error: BaseException) -> bool:
    """Is a run left because it is given back to the workers?"""
    return isinstance(error, StopRun) and isinstance(error.error, Released)


def stopped(resources: Resources, run: RunRecord, error: BaseException) -> None:
    """A run breaks off in its middle: notify."""
    if is_release(error):
        resources.monitor.suspended(run)
    else:
        resources.monitor.stopped(run, error)
    if resources.observer is not None:
        resources.observer.notify(
            RunStopped(run.id, run.workflow, error.error if isinstance(error, StopRun) else error)
        )
