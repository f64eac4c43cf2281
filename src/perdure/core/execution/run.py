"""The life of a run: take it, call the workflow's function, write down how it ended. Written once, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution import crash_loop
from perdure.core.execution.call_end import Failed
from perdure.core.execution.effects import Outcome
from perdure.core.execution.history import History
from perdure.core.execution.run_effects import (
    Answer,
    Asked,
    Asleep,
    Begin,
    Body,
    End,
    Ending,
    Finished,
    Forget,
    Held,
    Locked,
    NotTaken,
    Other,
    Recall,
    RecallEnding,
    Reopen,
    RunEffect,
    StandBy,
    Start,
    Superseded,
    Taken,
    Undoable,
    UndoableChild,
    Unended,
    Unwind,
)
from perdure.core.execution.spec import Call, Rules
from perdure.core.records import RunRecord
from perdure.errors import Cancelled, NotStorable

if TYPE_CHECKING:
    from perdure.core.execution.cleanup import Find


class UnderWay(Exception):
    """The run that was to be started, or gone on with, is executed already, by this process or another.

    Args:
        id: its id.
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


Life = Generator[RunEffect, Any, "Ended | Failed"]


class Ended(msgspec.Struct, frozen=True):
    """How a run ended well: its result, as the caller sees it and packed, and the time it took in all."""

    value: Any
    payload: bytes
    started: float
    seconds: float


def live(call: Call, start: Start, began: Callable[[str], None] | None = None, taken: Taken | None = None) -> Life:
    """One run from its start or resumption to its end.

    Args:
        call: the workflow's function and arguments.
        start: what to look for, and what to write if it is not found.
        began: called with the id of the run.
        taken: the run, if it is this process's already: nothing is looked for.
    """
    call.spec.refuse_unstorable()
    answer = (yield from _taking(call, start)) if taken is None else taken
    ended: tuple[str, ...] = ()
    while isinstance(answer, Taken):
        run = answer.run
        if began is not None:
            began(run.id)
            began = None  # it may be taken once more below
        history = yield Recall(run, answer.resumed, answer.died, answer.said, call.spec, ended)
        if history.ending is None:
            return (yield from _execute(call, run, history))
        error, ended = yield from _end_at_last(run, history)
        if taken is not None or not start.again:
            return Failed(error, Outcome(None, error, run.started, 0.0), 1)
        answer = yield from _taking(call, start)
    return _not_taken(call, start, answer, began)


def _end_at_last(run: RunRecord, history: History) -> Generator[RunEffect, Any, tuple[Exception, tuple[str, ...]]]:
    """Undo the rest of a run whose process died while it undid, and write down the end that it was coming to.

    Returns:
        What the run has failed with, or that it was cancelled; and what is to be said before another run begins, or
        this one is gone on with.
    """
    from perdure.core.exceptions import notes
    from perdure.core.execution.run_refusals import cancelled

    ending, missed = yield from _end_as_noted(run, history)
    error = cancelled(run.id) if ending.status == "cancelled" else capture.restore(capture.decode(ending.output))
    for line in (*missed, f"run {run.id} {_ENDED[ending.status]}; its clean-ups were interrupted, and are made now"):
        notes.add(error, f"perdure: {line}")
    if ending.status == "cancelled":
        from perdure.core.execution.run_refusals import way_on

        missed = [f"run {run.id} was cancelled; {way_on(run, ending.status, error)}", *missed]
    return error, tuple(missed)


def _end_as_noted(run: RunRecord, history: History) -> Generator[RunEffect, Any, tuple[Ending, list[str]]]:
    """The rest of that undoing, and the end that was noted; and what was not put away, a line each."""
    assert history.ending is not None
    ending = Ending("cancelled")
    if run.stop is None:  # else its end was asked for since, whatever it was coming to
        ending = msgspec.msgpack.decode((yield RecallEnding(run, history.ending)), type=Ending)
    final = ending.status == "cancelled"
    missed = yield from _put_away(Unwind(run, history, ok=False, final=final, fault=ending.output))
    forget = (*ending.forget, history.ending)
    trouble = yield End(run, ending.status, ending.output, (), forget, ending.aftermath, ending.stopped)
    if trouble is not None:
        raise trouble
    return ending, missed


def _execute(call: Call, run: RunRecord, history: History) -> Life:
    while True:
        stuck: Exception | None = None
        if run.stop is not None:  # asked for, and not done: whoever was to end it has died
            from perdure.core.execution.run_refusals import cancelled

            stuck = cancelled(run.id)
        elif history.deaths:
            stuck = crash_loop.stuck(run.id, history.deaths, history.crashes, history.crash_limit)
        outcome: Outcome = (yield Body(call, run, history)) if stuck is None else Outcome(None, stuck, run.started, 0.0)
        error = outcome.failed_with()
        if error is None:
            try:
                payload, value = call.spec.plan.round_trip(outcome.value)
                history.refuse_oversized(call.spec.owner, run.input, payload)
            except (NotStorable, MemoryError) as refusal:
                error = refusal
            else:
                yield from _put_away(Unwind(run, history, ok=True, final=True))
                left = tuple(history.left_behind())
                trouble = yield End(run, "done", payload, rows=history.with_notes(()), left=left)
                if trouble is not None:
                    raise trouble
                began = run.created if run.begun is None else run.begun
                return Ended(value, payload, began, outcome.started + outcome.seconds - began)
        cause = history.root_cause(error)
        if cause.replayed:
            # A failure was taken for handled (a sibling branch had moved on), and turns out to be what ends the run.
            # It is not history, so the step gets its chance.
            yield Forget(run, cause.records, cause.aftermath)
            history = yield Recall(run, resumed=True)
            continue
        from perdure.core.exceptions import notes
        from perdure.core.execution.run_refusals import way_on
        from perdure.core.policies.classify import assess
        from perdure.core.policies.verdicts import Stop, pack_stop, pack_verdict

        if not cause.records and history.handled and not isinstance(error, Cancelled):
            from perdure.core.execution.run_refusals import handled

            notes.add(error, f"perdure: {handled(history)}")
        capture.add_output(error)
        fault, _ = capture.to_record(error, call.spec.module)
        status = _how(error, call.spec.rules, run)
        now = outcome.started + outcome.seconds
        verdict = cause.verdict or pack_verdict(assess(error, now, call.spec.failures()))
        stopped = pack_stop(Stop(now, b"", verdict))
        final = status == "cancelled"  # what has failed, or was set aside, is gone on with
        ending = msgspec.msgpack.encode(Ending(status, fault, cause.records, cause.aftermath, stopped))
        unwind = Unwind(run, history, ok=False, final=final, fault=fault, cause=cause, ending=ending)
        missed = yield from _put_away(unwind)
        exits = history.exits(cause.records)
        if not final and run.parent is None and history.notes_endings and (yield Asked(run)):
            # Its end was asked for while it undid what it had done: what waits for the final end is due now.
            status, history = "cancelled", (yield Recall(run, resumed=True))
            missed = yield from _put_away(Unwind(run, history, ok=False, final=True, ending=_ending_of_child(None)))
        for line in missed:
            notes.add(error, f"perdure: {line}")
        forget = (*cause.records, *_note_of_ending(history))
        trouble = yield End(run, status, fault, exits, forget=forget, aftermath=cause.aftermath, stopped=stopped)
        if trouble is not None:
            notes.add(error, f"perdure: that the run {_ENDED[status]} could not be saved: {trouble}")
        notes.add(error, f"perdure: run {run.id} {_ENDED[status]}; {way_on(run, status, error)}")
        return Failed(error, outcome, 1, verdict=verdict)


def _note_of_ending(history: History) -> tuple[int, ...]:
    return () if history.ending is None else (history.ending,)


def up_to_end(life: Life, run: RunRecord) -> Generator[RunEffect, Any, tuple[End, Life]]:
    """The life of a run that is taken, up to what is to be written of its end: that is left to the caller.

    Args:
        life: from `live`.
        run: the run; the ends of its child runs are part of its life.

    Returns:
        The effect, and the life that waits for its answer.
    """
    effect = next(life)
    while not (isinstance(effect, End) and effect.run.rid == run.rid):
        effect = life.send((yield effect))
    return effect, life


_ENDED = {"failed": "failed", "cancelled": "was cancelled", "parked": "has failed too often and was set aside"}


def _put_away(effect: Unwind) -> Generator[RunEffect, Any, list[str]]:
    """Put away what the run has left, at its final end also what its child runs have. Returns what was not."""
    missed: list[str] = []
    if effect.final and effect.history.has_children:
        for start, fault in (yield Unended(effect.run)):
            # One that has failed was undone then. What the parent gave up is undone, also if it has come to a good end.
            missed += (yield from call_off(start, ok=effect.ok and fault is not None, fault=fault)) or []
    if effect.history.undoes_children and effect.history.has_children and not effect.ok:
        if effect.history.ending is not None:  # of them all, one whose undoing was broken off had come last
            for start, _ in (yield Unended(effect.run, undoing=True)):
                missed += (yield from call_off(start, fault=effect.fault, final=effect.final)) or []
        effect = msgspec.structs.replace(effect, children=(yield Undoable(effect.run, effect.final)))
    if effect.history.to_clean() or effect.children:
        missed += yield effect
    return missed


def unwinding(effect: Unwind, find: Find) -> Generator[Any, Any, list[str]]:
    """What puts away what a run has left, with `find` to find the steps: its own, and what child runs have done."""
    from perdure.core.execution.cleanup import unwind

    children = [(child.place, partial(_undo_child, effect, child)) for child in effect.children]
    return unwind(effect.history, find, ok=effect.ok, final=effect.final, children=children, ending=effect.ending)


def _undo_child(effect: Unwind, child: UndoableChild) -> Generator[RunEffect, Any, list[str]]:
    """Undo what a child run has done. One that is done is reopened first, which whoever comes after a death finds."""
    fault = None if effect.final else effect.fault
    if child.done and not (yield Reopen(effect.run, child, again=not effect.final, ending=_ending_of_child(fault))):
        return []
    return (yield from call_off(child.start, fault=fault, final=effect.final)) or []


def _ending_of_child(fault: bytes | None) -> bytes:
    return msgspec.msgpack.encode(Ending("cancelled") if fault is None else Ending("failed", fault))


def call_off(
    start: Start, *, ok: bool = False, fault: bytes | None = None, final: bool = True
) -> Generator[RunEffect, Any, list[str] | None]:
    """End a run for good that nobody executes, with its clean-ups.

    Args:
        start: names the run.
        ok: it is a child run that has failed, and its parent has succeeded: what it did was undone when it failed.
        fault: it is a child run that has failed with this; that is how it has ended, also after its clean-ups.
        final: it is not gone on with.

    Returns:
        What could not be cleaned up, a line each; None if a process executes it after all, or it has ended.
    """
    answer = yield Begin(start)
    if not isinstance(answer, Taken):
        return None
    run = answer.run
    history = yield Recall(run, resumed=True, died=answer.died)
    if history.ending is not None and not final:  # its own undoing was broken off
        return (yield from _end_as_noted(run, history))[1]
    status, output = ("failed", fault) if fault is not None else ("cancelled", b"")
    unwind = Unwind(run, history, ok=ok, final=final, fault=output, ending=_ending_of_child(fault))
    missed = yield from _put_away(unwind)
    trouble = yield End(run, status, output, forget=_note_of_ending(history))
    if trouble is not None:
        raise trouble
    return missed


def _how(error: Exception, rules: Rules, run: RunRecord) -> str:
    """How a run has ended that did not end well."""
    if isinstance(error, Cancelled):
        return "cancelled"
    often = rules.park_after is not None and run.epoch + 1 >= rules.park_after
    return "parked" if often and run.parent is None else "failed"


PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds between two looks at who has it; the last one again and again."""


def _taking(call: Call, start: Start) -> Generator[RunEffect, Any, Answer]:
    """Begin, as soon as no other process has the run or its lock, if it is to wait for that."""
    answer: Answer = yield Begin(start)
    looks = 0
    while _waits_for_place(answer, call, start):
        from perdure.core.execution.already_running import who

        yield StandBy(call.spec.name, who(answer), PAUSES[min(looks, len(PAUSES) - 1)], first=looks == 0)
        answer = yield Begin(start)
        looks += 1
    return answer


def _waits_for_place(answer: Answer, call: Call, start: Start) -> TypeGuard[Held | Locked]:
    if isinstance(answer, Held) and ((start.once and start.parent is not None) or (start.attach and answer.letter)):
        return True  # another run has called it first, and its result is this one's too; or nobody executes it yet
    attaches = start.attach and isinstance(answer, Held)
    return call.spec.rules.if_locked == "wait" and _in_the_way(answer) and not attaches


def _in_the_way(answer: Answer) -> TypeGuard[Held | Locked]:
    # What this process executes itself may be what the caller is inside of: that would be waited for in vain.
    return isinstance(answer, Locked) or (isinstance(answer, Held) and answer.by is not None)


def _not_taken(call: Call, start: Start, answer: NotTaken, began: Callable[[str], None] | None) -> Ended:
    waits_for_end = start.apart or start.parent is not None
    if (start.attach and isinstance(answer, Held)) or (waits_for_end and isinstance(answer, Asleep)):
        raise UnderWay(answer.run.id)
    if isinstance(answer, Held | Locked):
        from perdure.core.execution.already_running import refused

        raise refused(call, start, answer)
    run = answer.run
    if isinstance(answer, Superseded):
        from perdure.core.execution.run_refusals import superseded

        raise superseded(run, answer.by)
    if isinstance(answer, Asleep):
        from perdure.core.execution.run_refusals import suspended

        raise suspended(run)
    match answer:
        case Finished() if run.status == "done" and run.output is not None:
            if began is not None:
                began(run.id)
            return Ended(
                call.spec.plan.unpack(run.output), run.output, run.started, (run.ended or run.started) - run.started
            )
        case Finished():
            from perdure.core.execution.run_refusals import ended

            raise ended(run)
        case Other():
            from perdure.core.execution.run_refusals import other_inputs

            raise other_inputs(run.id, run.workflow, run.input, start.workflow, call.input)
