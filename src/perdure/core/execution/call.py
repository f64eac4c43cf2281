"""The life of a call: look it up, run it, retry it, wait, write it down, park it. Written once, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from perdure.core import commands
from perdure.core.exceptions import attempt_notes, capture, notes
from perdure.core.exceptions.program_faults import Suspicion, suspicion
from perdure.core.execution import crash_loop
from perdure.core.execution.admission import Patience, admission, report_failure
from perdure.core.execution.cleanup_records import salt, undo_row
from perdure.core.execution.drift import drift, settle
from perdure.core.execution.effects import (
    ClearCrashes,
    Effect,
    Execute,
    Guarded,
    Load,
    Outcome,
    Report,
    Save,
    SaveAttempt,
    Wait,
    WaitGivenUp,
)
from perdure.core.execution.history import History
from perdure.core.execution.identity import refuse_change
from perdure.core.execution.kept_input import kept_input
from perdure.core.execution.result_check import ensure
from perdure.core.execution.spec import Call
from perdure.core.execution.spending import Amounts
from perdure.core.policies.classify import Assessment, assess
from perdure.core.policies.failure_rules import Rules
from perdure.core.policies.retry import Again, Retry, Verdict, reassess, verdict
from perdure.core.policies.verdicts import pack_verdict
from perdure.core.records import SEQ, AttemptRecord, Marks, Row, StepRecord, StepStatus
from perdure.core.values import codec
from perdure.core.values.pieces import Large
from perdure.errors import (
    ArgumentChanged,
    BreakerOpen,
    BudgetExceeded,
    CrashLoop,
    NotDecodable,
    NotStorable,
    RepeatLimit,
    StateCorrupt,
    StopRun,
)

_WHY = {
    "permanent": "an error of this kind is permanent: trying again does not help",
    "attempts": "",
    "total": "there was no time left for another try",
}


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """The call has a result, and the result is saved under the number `seq`."""

    value: Any
    seq: int


class Failed(msgspec.Struct, frozen=True):
    """The call has failed for good, and the caller of the workflow's function is to raise `error`.

    It is returned rather than raised: a generator cannot raise StopIteration, which a step may well do. `last` is the
    last attempt, `attempts` how many there were; both are empty for a failure that comes from the history (`replayed`).
    `unsaved` is the record of the last attempt, which is to be saved in one commit with that of the call.
    `program` says how surely the program is at fault, of a failure that was to be parked and is not for that reason.
    `verdict` is what is known of it, packed.
    """

    error: Exception
    last: Outcome | None = None
    attempts: int = 0
    replayed: bool = False
    unsaved: AttemptRecord | None = None
    program: Suspicion = "none"
    verdict: bytes | None = None


class Parked(msgspec.Struct, frozen=True, gc=False):
    """The call has failed for good and is a dead letter, saved under the number `seq`; its caller gets None."""

    seq: int
    value: None = None


End = Succeeded | Failed | Parked
Decision = Generator[Effect, Any, End]


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
    if seq is not None or history.unsettled(call.spec.name, call.key):
        record = yield from _unrecorded(call, history, seq)
        if record is not None:
            return recall(call, history, record, park)
    first = None
    if at_once(call, history):
        first = yield Execute(call, 1, park)
        save = first_success(call, history, first)
        if save is not None:
            yield save
            return Succeeded(first.value, call.seq)
    end = yield from _with_failures(call, history, park, None, first)
    if type(end) is Failed:
        yield from fail(call, history, end)
    return end


def at_once(call: Call, history: History) -> bool:
    """Is nothing to be looked at before the first attempt of a call, or after its success?

    Nearly no call has anything. Then its decision yields its effects itself, which would otherwise pass through each of
    the generators that judge failures.
    """
    spec = call.spec
    return (
        spec.storable
        and spec.guard is None
        and spec.ensure is None
        and spec.max_repeats is None
        and not call.ledgers
        and len(call.input) <= history.largest
        and not (history.undone or history.known_tries or history.crashes or history.lives)
    )


def first_success(call: Call, history: History, outcome: Outcome) -> Save | None:
    """What is to be saved of a first attempt that has succeeded; None if it has not, or is judged as if it had not.

    The value of `outcome` is the one that the workflow sees then.
    """
    if outcome.error is not None or outcome.attempts or call.spending is not None:
        return None
    spec = call.spec
    try:
        refuse_change(call)
        payload, value = spec.plan.round_trip(outcome.value)
    except (NotStorable, ArgumentChanged, MemoryError):
        return None
    if len(payload) + len(call.input) > history.largest:
        return None
    outcome.value = value
    if call.extras is not None:
        call.extras.began(outcome.began())
    return success(call, history, payload, outcome, 1)


def success(call: Call, history: History, payload: bytes, outcome: Outcome, attempts: int, cut: int = 0) -> Save:
    """What is to be saved of a call that has succeeded.

    Args:
        call: which.
        history: of the run.
        payload: its value, packed.
        outcome: of its last attempt.
        attempts: how many there were.
        cut: in how many earlier lives of the run it was executed.
    """
    spec = call.spec
    if len(payload) > spec.artifact_above:
        payload = Large(payload)
    row = history.row(call, "done", payload, outcome.started, outcome.seconds, attempts)
    rows = (row,) if spec.undo is None else (row, undo_row(call, history, row))
    if not (cut or attempts > 1 or call.drop):
        return Save(history.with_notes(rows))
    marks = _marks(call, cut) if (cut or attempts > 1) and not outcome.attempts else ()
    # What came after a call that is undone may follow from its result, and it is made again.
    aftermath = (min(call.drop) + 1, row[SEQ]) if call.drop else None
    return Save(history.with_notes(rows), drop=call.drop, aftermath=aftermath, marks=marks)


def recorded(call: Call, history: History) -> Generator[Effect, Any, StepRecord | None]:
    """The record of the call; None if it has to be made.

    Raises:
        StopRun: with Drift, if completed calls of the same name remain that nobody has made again.
    """
    seq = history.claim(call)
    if seq is not None and not history.is_abandoned(seq):
        record: StepRecord = yield Load(call, seq)
        return record
    return (yield from _unrecorded(call, history, seq))


def _unrecorded(call: Call, history: History, seq: int | None) -> Generator[Effect, Any, StepRecord | None]:
    """The same for a call that has no record, or that the workflow gave up (`seq`).

    Such a one is not made again: it waits until it is given up again. If nothing else moves, the script has been
    edited, and it is made after all.
    """
    if seq is not None:
        yield WaitGivenUp(call)
        call.seq = 0
    if history.unsettled(call.spec.name, call.key):
        return (yield from settle(call, history))
    return None


def recall(call: Call, history: History, record: StepRecord, park: bool = False) -> End:
    """What the record says; of a dead letter, that it is one, if it may be (`park`), or else what it failed with.

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
    if call.named and not codec.same_inputs(record.input, call.input) and not history.is_exempt(record.seq):
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
        top, above = history.top()
        misfit.hint += f": {commands.fork(top, above or call.spec.name)}"
        raise StopRun(misfit) from misfit
    history.failed(error, record.seq, replayed=True)
    return Failed(error, replayed=True)


class Judged(msgspec.Struct, frozen=True):
    """A failed attempt: what the policy says, the error as data, and what is known about it.

    `assessment` is what the policy went by, with its own exceptions; `seen` is what speaks about the service.
    """

    decision: Verdict
    fault: capture.Fault
    assessment: Assessment
    seen: Assessment


class Series(msgspec.Struct):
    """The attempts of a call, one after the other, as far as its policy has to know them.

    `before` is how many were made by an earlier process, `counted` how many used up the policy's, `first` when the
    first of this process began (by the clock of `Outcome.began`), `tried` what those said that failed.
    """

    before: int = 0
    counted: int = 0
    first: float | None = None
    tried: list[attempt_notes.AttemptNote] = []

    def judge(
        self,
        policy: Retry,
        owner: str,
        number: int,
        error: Exception,
        outcome: Outcome,
        uniform: Callable[[], float],
        rules: Rules,
    ) -> Judged:
        """What the policy says about attempt `number`, which failed with `error`, by the `rules` of failures.

        When the verdict is to give up, all attempts of `owner` are added to the notes of the exception.
        """
        first = self.first = outcome.began() if self.first is None else self.first
        took = outcome.began() + outcome.seconds - first
        seen = assess(error, outcome.started + outcome.seconds, rules)
        assessment = reassess(policy, error, seen)
        decision = verdict(policy, assessment, number - self.before, self.counted, took, uniform)
        capture.add_output(error)
        fault = capture.to_fault(error)
        self.tried.append(attempt_notes.AttemptNote(fault.name, fault.message))
        if isinstance(decision, Again):
            self.counted += decision.counts
        else:
            for line in attempt_notes.note(owner, self.tried, took, _WHY[decision.reason]):
                notes.add(error, line)
        return Judged(decision, fault, assessment, seen)


def attempts(call: Call, history: History, parked: bool = False, first_outcome: Outcome | None = None) -> Decision:
    """Try the call until it succeeds or its policy gives up; what succeeds is saved.

    `first_outcome` is how its first attempt went, if that was made.
    """
    spec = call.spec
    spec.refuse_unstorable()
    history.refuse_oversized(spec.owner, call.input)
    if history.undone:
        call.salt += salt(call, history)
    tries = history.tries(call)
    number = tries.made
    series, last, patience = None, None, Patience()
    if spec.max_repeats is not None and call.n >= spec.max_repeats:
        return Failed(_repeated(call), None, 0)
    if call.ledgers and (refusal := _admit(call, history)) is not None:
        return Failed(refusal, None, tries.made)
    crashes = crash_loop.against(history.crashes, call) if history.crashes else ()
    cut = crash_loop.lives_cut(history.lives, call) if history.lives else 0
    crashed = len(crashes)
    if crashed and crash_loop.verdict(crashed, history.crash_limit) == "given up":
        return Failed(_crash_loop(call, crashes), None, number)
    while True:
        number += 1
        guard, ticket = spec.guard, None
        outcome: Outcome
        if first_outcome is not None:
            outcome, first_outcome = first_outcome, None
        elif guard is None:
            outcome = yield Execute(call, number, parked, crashed > 0)
        else:
            wait = partial(_hold_on, call, number)
            entry = yield from admission(guard, spec.retry.total, patience, history.uniform, wait)
            if isinstance(entry, BreakerOpen):
                return _not_made(call, entry, number - 1, series, last, patience.spent)
            for reason, seconds in patience.waits.items():
                call.more().wait(reason, seconds)
            patience.waits.clear()
            ticket = entry
            outcome = yield Guarded(Execute(call, number, parked, crashed > 0), guard, ticket)
        if crashed:
            yield ClearCrashes(history.rid, call)
            crashed = 0
        if call.extras is not None:
            call.extras.began(outcome.began())
        error = outcome.error
        if error is None:
            if guard is not None and ticket is not None:
                yield Report(guard, ticket, "success")
            try:
                refuse_change(call)
                if spec.ensure is not None and not outcome.attempts:
                    ensure(spec, outcome.value)
                payload, value = _read(call, outcome) if outcome.attempts else spec.plan.round_trip(outcome.value)
                history.refuse_oversized(spec.owner, call.input, payload)
            except (NotStorable, ArgumentChanged, MemoryError) as refusal:
                error = refusal
            except Exception as raised:
                if spec.ensure is None:
                    raise
                error = raised
            else:
                yield success(call, history, payload, outcome, outcome.attempts or number, cut)
                if call.spending is not None and history.spent_saved is not None:
                    history.spent_saved(call)
                return Succeeded(value, call.seq)
        if outcome.attempts:
            return Failed(error, outcome, outcome.attempts)
        if series is None:
            # A series that is used up, and has no record, was taken back with the end of the run: this is asking again.
            series = Series(tries.made, tries.counted % spec.retry.attempts, outcome.began() - patience.spent)
        elif patience.queued and series.first is not None:
            series.first += patience.queued  # who stands in a queue of their own making is not out of time for it
        patience.queued = 0.0
        judged = series.judge(spec.retry, spec.owner, number, error, outcome, history.uniform, spec.failures())
        decision, fault = judged.decision, judged.fault
        if outcome.error is not None:
            yield from report_failure(call, ticket, error, fault, decision, judged.seen)
        elif history.failed_after_all is not None:
            history.failed_after_all(call, outcome.seconds)
        counts = decision.counts if isinstance(decision, Again) else True
        known = pack_verdict(judged.assessment)
        record = _attempt(call, history, number, counts, fault, outcome, known)
        if isinstance(decision, Again):
            by = "policy" if judged.assessment.retry_after is None else "server"
            record = msgspec.structs.replace(record, delay=decision.delay, delayed_by=by).sealed(history.rid)
        if not isinstance(decision, Again):
            return Failed(error, outcome, number, unsaved=record, verdict=known)
        yield SaveAttempt(history.rid, record)
        last = Failed(error, outcome, number, verdict=known)
        patience.spent += outcome.seconds + decision.delay
        call.more().began(outcome.began())
        late = yield Wait(call, decision.delay, number, error)
        call.more().wait("retry", decision.delay + (late or 0.0))
        if late and series.first is not None:
            series.first += late  # other items were made meanwhile: that is no time of this one's


def _marks(call: Call, cut: int) -> tuple[Marks, ...]:
    """Of a call that was executed more than once: in how many lives, and whether it asked for its key."""
    keyed = None if call.spec.isolate else int(getattr(call, "keyed", False))  # of another process that is not known
    return (Marks(call.seq, cut + 1 if cut else None, keyed),)


def _crash_loop(call: Call, crashes: Sequence[str]) -> CrashLoop:
    error = CrashLoop(
        f"{call.spec.owner} was in flight at {len(crashes)} crashes in a row, and is not tried again",
        "find out what it does to its process (memory, native code; isolate=True contains it), then run it again",
    )
    for line in crashes:
        notes.add(error, f"perdure: {line}")
    return error


def _admit(call: Call, history: History) -> BudgetExceeded | None:
    """Do the budgets around the call let it begin?"""
    earlier = history.spent_by(call)
    for place, ledger in enumerate(call.ledgers):
        refusal = ledger.admit(call.spec.owner, earlier)
        if refusal is not None:
            for other in call.ledgers[:place]:
                other.withdraw()
            return refusal
    return None


def _repeated(call: Call) -> RepeatLimit:
    spec = call.spec
    return RepeatLimit(
        f"{spec.owner} has been called {spec.max_repeats} times with {codec.describe_inputs(call.input)} in this run, "
        "and is not called once more (max_repeats)",
        "let the workflow catch it, and go on with what there is: the same call comes to the same end",
    )


def _hold_on(call: Call, number: int, seconds: float, reason: str) -> Wait:
    return Wait(call, seconds, number, reason=reason)


def _not_made(
    call: Call, refusal: BreakerOpen, made: int, series: Series | None, last: Failed | None, seconds: float
) -> Failed:
    """The breaker lets no further attempt through. What the last one failed with comes first, if there was one."""
    if series is None or last is None:
        return Failed(refusal, None, made)
    for line in attempt_notes.note(call.spec.owner, series.tried, seconds, refusal.what):
        notes.add(last.error, line)
    return last


def _read(call: Call, outcome: Outcome) -> tuple[bytes, Any]:
    assert outcome.packed is not None
    try:
        return outcome.packed, call.spec.plan.unpack(outcome.packed)
    except NotDecodable as misfit:
        raise StopRun(misfit) from misfit


def fail(call: Call, history: History, end: Failed) -> Generator[Effect, Any, None]:
    """A step has failed for good: that is saved, like a result, before the workflow sees it.

    If it turns out to be what ends the run, the record is taken back with the end.
    """
    row = ended_row(call, history, "failed", end)
    yield Save(history.with_notes((row,)), attempt=end.unsaved)
    history.failed(end.error, row[SEQ], verdict=end.verdict)


def ended_row(call: Call, history: History, status: StepStatus, end: Failed) -> Row:
    """The record of a call that has failed for good."""
    last = end.last or Outcome(None, end.error, 0.0, 0.0)
    return history.row(
        call, status, capture.encode(capture.to_fault(end.error)), last.started, last.seconds, end.attempts
    )


def item(
    call: Call,
    history: History,
    park: bool,
    doubted: Callable[[], bool] | None = None,
    around: Callable[[Decision], Decision] | None = None,
) -> Decision:
    """A call that has no record: its result is saved; if it fails for good, it is parked if asked to.

    Args:
        call: which.
        history: of the run.
        park: it may be parked.
        doubted: says whether the program may be at fault rather than the item, as matters stand.
        around: what is put around all that comes after a first attempt that has not succeeded.
    """
    first = None
    if at_once(call, history):
        first = yield Execute(call, 1, park)
        save = first_success(call, history, first)
        if save is not None:
            yield save
            return Succeeded(first.value, call.seq)
    rest = _with_failures(call, history, park, doubted, first)
    return (yield from (rest if around is None else around(rest)))


def _with_failures(
    call: Call, history: History, park: bool, doubted: Callable[[], bool] | None, first: Outcome | None
) -> Decision:
    """The same for a call that is not `at_once`, or whose `first` attempt has not succeeded.

    A fault of the program is never parked, and one that is possibly the program's not while that is `doubted`: the map
    decides at its end. That it was tried is saved, so that a later life does not begin with it.
    """
    end = yield from attempts(call, history, park, first)
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


def parked(call: Call, history: History, end: Failed) -> Decision:
    """A call that has failed for good becomes a dead letter."""
    row = ended_row(call, history, "dead", end)
    yield Save(history.with_notes((row,)), letters=(row[SEQ],), attempt=end.unsaved)
    return Parked(row[SEQ])


def recheck(call: Call, history: History, seq: int, park: bool) -> Decision:
    """One item of a batch that has a record; it is read only if there is something to look at in it."""
    done = history.is_done(seq)
    if call.named or call.by_record or not (done or park):
        end = recall(call, history, (yield Load(call, seq)), park)
        if isinstance(end, Failed) and not park:
            return end
    return Succeeded(None, seq) if done else Parked(seq)


def _attempt(
    call: Call, history: History, number: int, counted: bool, fault: capture.Fault, outcome: Outcome, verdict: bytes
) -> AttemptRecord:
    packed = capture.encode(fault)
    name = call.spec.name
    ms = int(outcome.seconds * 1000)
    return AttemptRecord(
        history.epoch,
        name,
        call.key,
        call.n,
        number,
        counted,
        kept_input(call),
        packed,
        outcome.started,
        ms,
        0,
        verdict,
    ).sealed(history.rid)
