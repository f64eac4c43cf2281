"""The attempts of a call, one after the other, until one succeeds or the policy gives up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from perdure.core.exceptions import attempt_notes, capture
from perdure.core.execution import crash_loop
from perdure.core.execution.admission import Patience, admission, report_failure
from perdure.core.execution.call_end import Decision, Failed, Succeeded, accept, success
from perdure.core.execution.effects import ClearCrashes, Execute, Guarded, MakeReady, Outcome, Report, SaveAttempt, Wait
from perdure.core.execution.history import History
from perdure.core.execution.repeats_and_budgets import admit, not_made, refuse_repeated, refused
from perdure.core.execution.spec import Call
from perdure.core.policies.retry import Again, Retry, Verdict, reassess, verdict
from perdure.core.records import AttemptRecord
from perdure.errors import (
    BreakerOpen,
    CrashLoop,
)

if TYPE_CHECKING:
    from perdure.core.policies.classify import Assessment
    from perdure.core.policies.failure_rules import Rules

_WHY = {
    "permanent": "an error of this kind is permanent: trying again does not help",
    "attempts": "",
    "total": "there was no time left for another try",
}


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
        from perdure.core.policies.classify import assess

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
            from perdure.core.exceptions import notes

            for line in attempt_notes.note(owner, self.tried, took, _WHY[decision.reason]):
                notes.add(error, line)
        return Judged(decision, fault, assessment, seen)


def attempts(call: Call, history: History, parked: bool = False, first_outcome: Outcome | None = None) -> Decision:
    """Try the call until it succeeds or its policy gives up; what succeeds is saved.

    `first_outcome` is how its first attempt went, if that was made: its guards have let it begin.
    """
    spec = call.spec
    spec.refuse_unstorable()
    history.refuse_oversized(spec.owner, call.input)
    if history.undone:
        from perdure.core.execution.cleanup_records import salt

        call.salt += salt(spec.name, call.key, call.n, history.undone)
    tries = history.tries(call)
    number = tries.made
    series, last, patience = None, None, Patience()
    if first_outcome is None:
        if (repeated := refuse_repeated(call)) is not None:
            refused(call, history)
            return Failed(repeated, None, 0)
        if call.ledgers and (refusal := admit(call, history)) is not None:
            refused(call, history)
            return Failed(refusal, None, tries.made)
    crashes = crash_loop.against(history.crashes, call) if history.crashes else ()
    cut = crash_loop.lives_cut(history.lives, call) if history.lives else 0
    crashed, alone = len(crashes), crash_loop.alone_for(crashes)
    if crashed and crash_loop.blames(crashes, history.crash_limit):
        not_made(call, history)
        return Failed(_crash_loop(call, crashes), None, number)
    while True:
        number += 1
        guard, ticket = spec.guard, None
        outcome: Outcome
        if spec.isolate and spec.stub is None and (guard is not None or spec.timeout is not None):
            yield MakeReady(spec)
        if first_outcome is not None:
            outcome, first_outcome = first_outcome, None
        elif guard is None:
            outcome = yield Execute(call, number, parked, alone)
        else:
            wait = partial(_hold_on, call, number)
            entry = yield from admission(guard, spec.retry.total, patience, history.uniform, wait)
            if isinstance(entry, BreakerOpen):
                not_made(call, history)
                return _not_made(call, entry, number - 1, series, last, patience.spent)
            for reason, seconds in patience.waits.items():
                call.more().wait(reason, seconds)
            patience.waits.clear()
            ticket = entry
            outcome = yield Guarded(Execute(call, number, parked, alone), guard, ticket)
        if crashed:
            yield ClearCrashes(history.rid, call)
            crashed, alone = 0, 0.0
        if call.extras is not None:
            call.extras.began(outcome.began())
        made = outcome.error is None
        if made:
            if guard is not None and ticket is not None:
                yield Report(guard, ticket, "success")
            payload = accept(call, history, outcome) if outcome.refused is None else None
            if payload is not None:
                yield success(call, history, payload, outcome, outcome.attempts or number, cut)
                if call.spending is not None:
                    call.spending.saved()
                return Succeeded(outcome.value, call.seq)
        error = outcome.failed_with()
        assert error is not None
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
        if not made:
            yield from report_failure(call, ticket, error, fault, decision, judged.seen)
        elif history.failed_after_all is not None:
            history.failed_after_all(call, outcome.seconds)
        counts = decision.counts if isinstance(decision, Again) else True
        from perdure.core.policies.verdicts import pack_verdict

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


def _crash_loop(call: Call, crashes: Sequence[crash_loop.CrashLine]) -> CrashLoop:
    from perdure.core.exceptions import notes

    error = CrashLoop(
        f"{call.spec.owner} was in flight at {len(crashes)} crashes in a row, and is not tried again",
        "find out what it does to its process (memory, native code; isolate=True contains it), then run it again",
    )
    for line in crashes:
        notes.add(error, f"perdure: {line.text}")
    return error


def _hold_on(call: Call, number: int, seconds: float, reason: str) -> Wait:
    return Wait(call, seconds, number, reason=reason)


def _not_made(
    call: Call, refusal: BreakerOpen, made: int, series: Series | None, last: Failed | None, seconds: float
) -> Failed:
    """The breaker lets no further attempt through. What the last one failed with comes first, if there was one."""
    from perdure.core.exceptions import notes

    if series is None or last is None:
        return Failed(refusal, None, made)
    for line in attempt_notes.note(call.spec.owner, series.tried, seconds, refusal.what):
        notes.add(last.error, line)
    return last


def _attempt(
    call: Call, history: History, number: int, counted: bool, fault: capture.Fault, outcome: Outcome, verdict: bytes
) -> AttemptRecord:
    from perdure.core.execution.kept_input import kept_input

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
