"""The life of a call: look it up, run it, retry it, wait, write it down, park it. Written once, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final

import msgspec

from perdure.core.exceptions import capture
from perdure.core.exceptions.program_faults import Suspicion, suspicion
from perdure.core.execution.attempts import attempts
from perdure.core.execution.call_end import Decision, End, Failed, Parked, Succeeded, fail, parked
from perdure.core.execution.effects import Effect, Load, Outcome, Save, SaveAttempt, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.repeats_and_budgets import admit
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import Amounts
from perdure.core.records import StepRecord
from perdure.core.values import codec
from perdure.errors import NotDecodable, StateCorrupt, StopRun

UNCLAIMED: Final = -1


def perform(call: Call, history: History, seq: int | None = UNCLAIMED) -> Decision:
    """One call of a step from a workflow.

    Args:
        call: which.
        history: of the run.
        seq: the number of its record, None if it has none, if the call has claimed that already.
    """
    park = call.spec.park
    if seq == UNCLAIMED:
        seq = history.claim(call)
    if seq is not None and not history.is_abandoned(seq):
        return recall(call, history, (yield Load(call, seq)), park)
    if seq is not None or history.unsettled(call.spec.name, call):
        record = yield from unrecorded(call, history, seq)
        if record is not None:
            return recall(call, history, record, park)
    return (yield from _or_fail(call, history, item(call, history, park)))


def at_once(call: Call, history: History) -> bool:
    """May the first attempt of a call without a record be made, and its success be saved, without a decision?

    Nearly every call may: nothing is to be looked at before it, and after its success only its value. An engine makes
    it then, and saves what `first_success` says; if that is nothing, what is left is decided by `after_first`. A call
    that its guards do not let begin is judged by its decision.

    Raises:
        UnstorableType: no value of the type that the step declares can be stored.
    """
    spec = call.spec
    if not spec.storable:
        spec.refuse_unstorable()
    return (
        spec.guard is None
        and not spec.isolate
        and len(call.input) <= history.largest
        and not (history.open or history.replaying or history.elsewhere)
        and not (history.undone or history.known_tries or history.crashes or history.lives or history.edits)
        and not (history.unsaved or history.fired or call.due_to_exit)
        and (spec.max_repeats is None or call.n < spec.max_repeats)
        and (not call.ledgers or admit(call, history) is None)
    )


def after_first(call: Call, history: History, first: Outcome) -> Decision:
    """What comes of a call from a workflow whose first attempt was made `at_once`, and has not succeeded."""
    return _or_fail(call, history, item(call, history, call.spec.park, first=first))


def _or_fail(call: Call, history: History, trying: Decision) -> Decision:
    end = yield from trying
    if type(end) is Failed:
        yield from fail(call, history, end)
    return end


def recorded(call: Call, history: History) -> Generator[Effect, Any, StepRecord | None]:
    """The record of the call; None if it has to be made.

    Raises:
        StopRun: with Drift, if completed calls of the same name remain that nobody has made again.
    """
    seq = history.claim(call)
    if seq is not None and not history.is_abandoned(seq):
        record: StepRecord = yield Load(call, seq)
        return record
    return (yield from unrecorded(call, history, seq))


def unrecorded(call: Call, history: History, seq: int | None) -> Generator[Effect, Any, StepRecord | None]:
    """The same for a call that has no record, or that the workflow gave up (`seq`).

    Such a one is not made again: it waits until it is given up again. If nothing else moves, the script has been
    edited, and it is made after all.
    """
    if seq is not None:
        yield WaitGivenUp(call)
        call.seq = 0
    if history.unsettled(call.spec.name, call):
        from perdure.core.execution.drift import settle

        return (yield from settle(call, history))
    return None


def recall(call: Call, history: History, record: StepRecord, park: bool = False, *, replayed: bool = True) -> End:
    """What the record says; of a dead letter, that it is one, if it may be (`park`), or else what it failed with.

    `replayed`: the record was there before this life.

    Raises:
        StopRun: with Drift, if a call that goes by a key has other inputs now; with NotDecodable, if the saved value
            does not fit what the script now declares; with StateCorrupt, if it is another call's.
    """
    if record.n != call.n or record.key != call.key or record.name != call.spec.name:
        raise StopRun(
            StateCorrupt(
                f"record #{record.seq} of run {history.id} is not that of the call that it was found for",
                "see `perdure doctor`, or restore a backup: the state file was edited from outside meanwhile",
            )
        )
    # The key of a step of perdure's own says all that counts; its inputs may hold a path, which moves with its folder.
    compared = call.named and call.spec.record_kind != "builtin"
    if compared and not codec.same_inputs(record.input, call.input) and not history.is_exempt(record.seq):
        from perdure.core.execution.drift import drift
        from perdure.core.execution.recorded_inputs import are_inputs_of

        if not are_inputs_of(record.input, call, by_key=True):
            raise StopRun(drift(call, history, [record]))
    if call.by_record:
        for ledger in call.ledgers:
            ledger.replayed(Amounts(ms=record.ms))
    if park and record.status == "dead":
        return Parked(record.seq)
    try:
        if record.status == "done":
            return Succeeded(call.spec.plan.unpack(record.output), record.seq)
        error = capture.restore(capture.decode(record.output), main=call.spec.module)
    except NotDecodable as misfit:
        from perdure.core import commands

        top, above = history.top()
        misfit.hint += f": {commands.fork(top, above or call.spec.name)}"
        raise StopRun(misfit) from misfit
    history.failed(error, record.seq, replayed=replayed)
    return Failed(error, replayed=replayed)


def item(
    call: Call,
    history: History,
    park: bool,
    doubted: Callable[[], bool] | None = None,
    first: Outcome | None = None,
) -> Decision:
    """A call that has no record: its result is saved; if it fails for good, it is parked if asked to.

    A fault of the program is never parked, and one that is possibly the program's not while that is `doubted`: the map
    decides at its end. That it was tried is saved, so that a later life does not begin with it.

    Args:
        call: which.
        history: of the run.
        park: it may be parked.
        doubted: says whether the program may be at fault rather than the item, as matters stand.
        first: how its first attempt went, if that was made `at_once`.
    """
    if first is None and (history.unsaved or history.fired) and (notes := history.with_notes(())):
        yield Save(notes, beforehand=True)
    given = history.edits.get((call.spec.name, call.key, call.n)) if history.edits else None
    if given is None:
        end = yield from attempts(call, history, park, first)
    else:
        from perdure.core.execution.edited_calls import attempts_as_edited

        end = yield from attempts_as_edited(call, history, given, park)
    if park and isinstance(end, Failed):
        fault = _suspicion(end) if call.spec.record_kind == "step" else "none"
        if fault == "certain" or (fault == "possible" and doubted is not None and doubted()):
            if end.unsaved is not None:
                yield SaveAttempt(history.rid, end.unsaved)
            return msgspec.structs.replace(end, program=fault, unsaved=None)
        return (yield from parked(call, history, end))
    return end


def _suspicion(end: Failed) -> Suspicion:
    """Whose fault it is; where the attempt was made elsewhere, its traceback was looked at there."""
    told = None if end.last is None else end.last.program
    return suspicion(end.error) if told is None else told


def recheck(call: Call, history: History, seq: int, park: bool) -> Decision:
    """One item of a batch that has a record; it is read only if there is something to look at in it.

    One that has failed and is no dead letter has ended its map: a fault of the program, an exit, or as was asked for.
    """
    done, failed = history.is_done(seq), history.has_failed(seq)
    if call.named or call.by_record or failed or not (done or park):
        end = recall(call, history, (yield Load(call, seq)), park)
        if isinstance(end, Failed) and (failed or not park):
            return end
    return Succeeded(None, seq) if done else Parked(seq)
