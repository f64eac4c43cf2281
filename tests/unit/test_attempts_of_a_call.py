"""The attempts of a call, effect by effect: what is executed, written down and waited for, and what comes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from classified import RULES

from perdure import Retry
from perdure.api.step import step
from perdure.core import records
from perdure.core.exceptions import capture
from perdure.core.execution import call_end
from perdure.core.execution.attempts import attempts
from perdure.core.execution.call_end import Failed, Parked, Succeeded
from perdure.core.execution.crash_loop import MARGIN, CrashLine
from perdure.core.execution.effects import (
    Admit,
    ClearCrashes,
    Execute,
    Guarded,
    MakeReady,
    Outcome,
    Report,
    Save,
    SaveAttempt,
    Wait,
)
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, spec_of
from perdure.core.execution.spending import NOTHING, Amounts
from perdure.core.policies.breaker import Ticket
from perdure.core.policies.guard import Guard, Hold, Pass
from perdure.core.records import Marks
from perdure.errors import BreakerOpen, CrashLoop, EnsureFailed, RepeatLimit, TooLarge

KEY = b"k" * 16
THREE = Retry(attempts=3, delay=2, factor=3, jitter=1, total=100)


def called(
    policy: Retry | None = THREE, *, isolate: bool = False, timeout: float | None = None, **options: Any
) -> Call:
    @step(name="tried", retry=policy, **options)
    def tried(x: int) -> Any: ...

    spec = spec_of(tried)
    assert spec is not None
    spec.failures, spec.isolate, spec.timeout = lambda: RULES, isolate, timeout
    return Call(spec, (1,), {}, b"in", KEY)


def history(**more: Any) -> History:
    return History(7, "run", uniform=lambda: 0.5, **more)


class Series:
    """Attempts one after the other, a second each, of a call that is made at 1000.0: their effects, and the end.

    Args:
        ends: what each attempt gives; an exception is raised.
    """

    def __init__(
        self, call: Call, of: History, *ends: Any, late: float | None = None, answers: Any = (), **more: Any
    ) -> None:
        self.effects: list[Any] = []
        self.rows: list[Any] = []
        self.now = 1000.0
        steps, given, asked, answer = attempts(call, of, **more), iter(ends), iter(answers), None
        try:
            while True:
                effect = steps.send(answer)
                self.effects.append(effect)
                answer = None
                match effect:
                    case Execute() | Guarded():
                        answer = self.outcome(next(given))
                        self.now += 1.0
                    case Wait(seconds=seconds):
                        self.now += seconds + (late or 0.0)
                        answer = late
                    case Admit():
                        answer = next(asked)
                    case Save(rows=rows):
                        self.rows += rows
        except StopIteration as end:
            self.end = end.value

    def outcome(self, end: Any) -> Outcome:
        if isinstance(end, Outcome):
            return end
        failed = isinstance(end, Exception)
        return Outcome(None if failed else end, end if failed else None, self.now + 5e8, 1.0, at=self.now)

    @property
    def kinds(self) -> list[str]:
        return [type(effect).__name__ for effect in self.effects]

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


def test_a_first_attempt_that_succeeds_is_one_record() -> None:
    """With its value as the workflow sees it, and nothing beside it."""
    call = called()
    series = Series(call, history(), [1])
    assert series.effects == [Execute(call, 1), Save(tuple(series.rows))]
    assert series.end == Succeeded([1], 1)
    (row,) = series.rows
    assert row[records.STATUS : records.KIND] == (
        "done",
        b"in",
        b"\x91\x01",
        5e8 + 1000,
        1000,
        1,
        row[records.KIND - 1],
    )


def test_each_failure_is_written_down_with_what_is_waited_for_after_it() -> None:
    """The waits grow, half of the jitter is added here, and the last record says how many attempts there were."""
    call = called()
    errors = [OSError("one"), OSError("two")]
    series = Series(call, history(epoch=4), *errors, "three")
    assert series.kinds == ["Execute", "SaveAttempt", "Wait"] * 2 + ["Execute", "Save"]
    assert [each.attempt for each in series.of(Execute)] == [1, 2, 3]
    assert [(each.seconds, each.attempt, each.error) for each in series.of(Wait)] == [
        (2.5, 1, errors[0]),
        (6.5, 2, errors[1]),
    ]
    for number, (saved, began) in enumerate(zip(series.of(SaveAttempt), (1000.0, 1003.5), strict=True), 1):
        record = saved.record
        assert (saved.rid, record.epoch, record.name, record.key, record.n) == (7, 4, "tried", KEY, 0)
        assert (record.number, record.counted, record.input) == (number, True, b"in")
        assert (record.started, record.ms) == (5e8 + began, 1000)
        assert (record.delay, record.delayed_by) == ((2.5, 6.5)[number - 1], "policy")
        assert record.intact(7)
        assert capture.restore(capture.decode(record.error)).args == errors[number - 1].args
        assert record.verdict
    assert series.end == Succeeded("three", 1)
    assert series.effects[-1].marks == (Marks(1, None, 0),)
    record = records.StepRecord(*series.rows[0][1:])
    assert (record.attempts, record.asked, record.waits) == (3, 11_000, '{"retry":9000}')


def test_the_last_failure_is_saved_with_the_end_of_its_call() -> None:
    """With the attempts as notes; the record of the last one is left to whoever saves the end.

    The error is in the end alone, until it is taken to be raised: what engines hold leads to none.
    """
    call = called()
    last = OSError("three")
    series = Series(call, history(), OSError("one"), OSError("two"), last)
    assert series.kinds == ["Execute", "SaveAttempt", "Wait"] * 2 + ["Execute"]
    end = series.end
    assert isinstance(end, Failed)
    assert (end.error, end.attempts, end.replayed) == (last, 3, False)
    assert end.last is not None
    assert end.last.error is None
    assert end.unsaved is not None
    assert (end.unsaved.number, end.unsaved.counted, end.unsaved.delay, end.verdict) == (
        3,
        True,
        None,
        end.unsaved.verdict,
    )
    assert end.unsaved.intact(7)
    assert last.__notes__[0].startswith("perdure: step 'tried' failed 3 times in 12 s")
    assert end.take() is last
    assert end.error is not last
    assert series.now == 1012.0


@pytest.mark.parametrize(
    ("error", "attempts_made", "says"),
    [(ValueError("no"), 1, "permanent"), (OSError("no"), 3, ""), (KeyError("no"), 1, "permanent")],
)
def test_what_is_permanent_is_not_tried_again(error: Exception, attempts_made: int, says: str) -> None:
    """The note says why there was no further attempt."""
    series = Series(called(), history(), *[error] * 3)
    assert len(series.of(Execute)) == series.end.attempts == attempts_made
    assert (says in error.__notes__[0]) or not says


@pytest.mark.parametrize(
    ("total", "late", "made"), [(3.5, None, 2), (3.4, None, 1), (10.9, None, 2), (11.0, None, 3), (11.0, 40.0, 3)]
)
def test_no_attempt_begins_behind_the_time_there_is(total: float, late: float | None, made: int) -> None:
    """Counted from the first attempt; what a call waits longer since others are made is no time of its own."""
    series = Series(
        called(Retry(attempts=9, delay=2, factor=3, jitter=1, total=total)), history(), *[OSError("no")] * 9, late=late
    )
    assert len(series.of(Execute)) == made
    if total < 11:
        assert "no time left" in series.end.error.__notes__[0]


@pytest.mark.parametrize(
    ("made", "counted", "delays"), [(0, 0, [2.5, 6.5]), (4, 1, [2.5]), (4, 2, []), (9, 3, [2.5, 6.5])]
)
def test_attempts_of_earlier_lives_count(made: int, counted: int, delays: list[float]) -> None:
    """They are numbered on; the backoff begins anew, and a policy that was used up is asked again."""
    attempts_before = [("tried", KEY, 0, number, number <= counted, 1.0) for number in range(1, made + 1)]
    series = Series(called(), history(attempts=attempts_before), *[OSError("no")] * 3)
    assert [each.attempt for each in series.of(Execute)] == list(range(made + 1, made + 2 + len(delays)))
    assert [each.seconds for each in series.of(Wait)] == delays
    assert series.end.attempts == made + 1 + len(delays)


def test_what_a_server_names_is_waited_for_and_no_attempt_is_used() -> None:
    """Not sooner than the policy would; it is written down who has named the wait."""

    class Busy(OSError):
        status_code = 429
        headers = {"Retry-After": "30"}  # noqa: RUF012

    call = called()
    series = Series(call, history(), *[Busy("busy")] * 2, OSError("no"), 5, answers=[Pass(Ticket(3, "lease"))] * 3)
    assert [each.seconds for each in series.of(Wait)] == [30.5, 30.5, 18.5]
    assert [report.pause for report in series.of(Report)] == [30.5, 30.5, None, None]
    saved = [each.record for each in series.of(SaveAttempt)]
    assert [(one.counted, one.delayed_by) for one in saved] == [(False, "server"), (False, "server"), (True, "policy")]
    assert series.end.value == 5


def test_a_call_that_was_in_flight_at_crashes_is_executed_alone() -> None:
    """Once it has come past them they are forgotten; at so many in a row it is not tried again."""
    lines = (CrashLine("first", 3.0), CrashLine("second", 8.0))
    call = called()
    series = Series(call, history(crashes={("tried", KEY, 0): lines}, crash_limit=3), OSError("no"), 5)
    assert series.effects[:2] == [Execute(call, 1, False, 8.0 + MARGIN), ClearCrashes(7, call)]
    assert series.of(Execute)[1] == Execute(call, 2)
    assert len(series.of(ClearCrashes)) == 1
    series = Series(called(), history(crashes={("tried", KEY, 0): lines}, crash_limit=2), 5)
    assert series.effects == []
    assert isinstance(series.end.error, CrashLoop)
    assert "at 2 crashes in a row" in series.end.error.what
    assert series.end.error.__notes__ == ["perdure: first", "perdure: second"]
    withdrawn: list[Amounts] = []
    book: Any = SimpleNamespace(admit=lambda owner, earlier: None, withdraw=withdrawn.append, undoable=False)
    call = called()
    call.ledgers = (book,)
    Series(call, history(crashes={("tried", KEY, 0): lines}, crash_limit=1), 5)
    assert withdrawn == [NOTHING], "it is no call for the budgets around it"
    assert series.end.attempts == 0


@pytest.mark.parametrize(("cut", "lives"), [(0, None), (1, 2), (3, 4)])
def test_a_call_that_was_executed_in_several_lives_says_in_how_many(cut: int, lives: int | None) -> None:
    """And whether it has asked for its key, which nobody knows of one in another process."""
    for isolate, keyed in ((False, 0), (True, None)):
        call = called(isolate=isolate)
        series = Series(call, history(lives={("tried", KEY, 0): cut}), 5)
        assert series.effects[-1].marks == ((Marks(1, lives, keyed),) if cut else ())
    call = called()
    call.keyed = True
    assert Series(call, history(lives={("tried", KEY, 0): 1}), 5).effects[-1].marks == (Marks(1, 2, 1),)


def test_a_record_that_replaces_others_frees_what_came_after_them() -> None:
    """It may follow from their result, and is made again; a call that an exit has led to is free itself."""
    call = called()
    call.drop = (3, 5)
    assert (saved := Series(call, history(last=8), 5).effects[-1]).drop == (3, 5)
    assert (saved.aftermath, saved.marks) == ((4, 9), ())
    call = called()
    call.due_to_exit = True
    assert Series(call, history(last=8), 5).effects[-1].aftermath == (9, 9)
    call.drop = (3,)
    assert Series(call, history(last=8), 5).effects[-1].aftermath == (4, 9)


def test_a_first_attempt_that_was_made_already_is_taken_as_it_went() -> None:
    """Of this process, or of an engine that has made them all."""
    call = called()
    series = Series(call, history(), 5, first_outcome=Outcome(None, OSError("one"), 3.0, 1.0))
    assert series.kinds == ["SaveAttempt", "Wait", "Execute", "Save"]
    assert series.of(Execute)[0].attempt == 2
    assert series.effects[-1].marks == (Marks(1, None, 0),)
    series = Series(call, history(), Outcome(None, None, 3.0, 1.0, attempts=6, packed=b"\x05"))
    assert series.end == Succeeded(5, 1)
    assert (series.rows[0][records.ATTEMPTS], series.effects[-1].marks) == (6, ())
    error = OSError("no")
    series = Series(called(), history(), Outcome(None, error, 3.0, 1.0, attempts=6))
    assert series.kinds == ["Execute"]
    assert (series.end.error, series.end.attempts, series.end.unsaved) == (error, 6, None)


def test_a_value_that_the_step_may_not_return_is_a_failure() -> None:
    """It is judged like one: what a check refuses is tried again, what cannot be stored is not."""
    series = Series(called(ensure=lambda value: value > 3), history(), 1, 5)
    assert series.kinds == ["Execute", "SaveAttempt", "Wait", "Execute", "Save"]
    assert isinstance(series.of(Wait)[0].error, EnsureFailed)
    assert series.end == Succeeded(5, 1)
    assert Series(called(ensure=lambda value: value > 3), history(), 5).end == Succeeded(5, 1)
    told: list[float] = []
    of = history()
    of.failed_after_all = lambda call, seconds: told.append(seconds)
    series = Series(called(), of, object())
    assert (series.kinds, told) == (["Execute"], [1.0])
    series = Series(called(), history(largest=5), "12345")
    assert isinstance(series.end.error, TooLarge)
    assert Series(called(), history(largest=5), "12").end == Succeeded("12", 1)
    with pytest.raises(TooLarge):
        Series(called(), history(largest=1), 5)


def test_a_call_that_is_not_let_begin_makes_no_attempt() -> None:
    """It was made too often, or a budget around it is used up: it has failed, with what it had spent."""
    call = called(max_repeats=2)
    for n, made in ((1, True), (2, False)):
        call.n = n
        series = Series(call, history(), 5)
        assert bool(series.effects) is made
        assert isinstance(series.end, Succeeded if made else Failed)
    assert isinstance(series.end.error, RepeatLimit)
    said: list[Any] = []
    refusal = RepeatLimit("no", "no")
    book: Any = SimpleNamespace(
        admit=lambda owner, earlier: said.append((owner, earlier)) or refusal, replayed=said.append, undoable=False
    )
    call = called()
    call.ledgers = (book,)
    of = history(attempts=[("tried", KEY, 0, 2, 1, 1.0)])
    of.spent = {("tried", KEY, 0): Amounts(tokens=4, calls=1)}
    series = Series(call, of, 5)
    assert (series.effects, series.end) == ([], Failed(refusal, None, 2))
    assert said == [("step 'tried'", Amounts(tokens=4, calls=1)), Amounts(tokens=4, calls=1)]
    assert not book.undoable


def test_a_guard_lets_each_attempt_begin_and_hears_of_its_end() -> None:
    """While it holds the call, that counts toward the time there is; what it waits for is recorded."""
    call = called()
    call.spec.guard = guard = Guard("mail")
    ticket = Ticket(3, "lease")
    series = Series(call, history(), 5, answers=[Hold("rate", 4.0), Pass(ticket)])
    assert series.kinds == ["Admit", "Wait", "Admit", "Guarded", "Report", "Save"]
    assert series.effects[1] == Wait(call, 4.0, 1, reason=series.effects[1].reason)
    assert series.effects[3] == Guarded(Execute(call, 1), guard, ticket)
    assert series.effects[4] == Report(guard, ticket, "success")
    assert records.StepRecord(*series.rows[0][1:]).waits == '{"rate":4000}'
    call = called()
    call.spec.guard = guard
    series = Series(call, history(), OSError("no"), answers=[Pass(ticket), Hold("open", 500.0)])
    assert series.kinds == ["Admit", "Guarded", "Report", "SaveAttempt", "Wait", "Admit"]
    assert series.effects[2].grade != "success"
    end = series.end
    assert (str(end.error), end.attempts, end.unsaved) == ("no", 1, None)
    assert any("mail" in line for line in end.error.__notes__)
    series = Series(call, history(), answers=[Hold("open", 500.0)])
    assert isinstance(series.end.error, BreakerOpen)
    assert (series.end.attempts, series.end.last) == (0, None)


@pytest.mark.parametrize(("more", "made"), [(0.0, 2), (0.25, 1)])
def test_a_breaker_is_waited_for_as_long_as_attempts_and_waits_have_left(more: float, made: int) -> None:
    """Both count for the time that the policy gives all in all."""
    call, ticket = called(Retry(attempts=3, delay=2, jitter=0, total=10)), Ticket()
    call.spec.guard = Guard("mail")
    answers = [Pass(ticket), Hold("open", 10.0 - 1.0 - 2.0 + more), Pass(ticket)]
    series = Series(call, history(), OSError("no"), 5, answers=answers)
    assert len(series.of(Guarded)) == made
    assert isinstance(series.end, Succeeded if made == 2 else Failed)


@pytest.mark.parametrize(
    ("isolate", "timeout", "guarded", "ready"),
    [(True, 5, False, True), (True, None, True, True), (True, None, False, False), (False, 5, True, False)],
)
def test_a_process_for_the_attempts_is_made_before_their_time_runs(
    isolate: bool, timeout: float | None, guarded: bool, ready: bool
) -> None:
    """Where there is a time or a turn that could pass."""
    call = called(isolate=isolate, timeout=timeout)
    call.spec.guard = Guard("mail") if guarded else None
    series = Series(call, history(), 5, answers=[Pass(Ticket(3, "lease"))])
    assert bool(series.of(MakeReady)) is ready


def test_how_a_failure_is_saved_as_the_end_of_its_call() -> None:
    """As a failed step, or as a dead letter; with the record of the last attempt, in one commit."""
    error = OSError("no")
    outcome = Outcome(None, error, 9.0, 0.5)
    call = called()
    end = Series(call, history(), *[error] * 3).end
    of = history()
    (saved,) = list(call_end.fail(call, of, end))
    assert saved.attempt is end.unsaved
    (row,) = saved.rows
    assert (row[records.STATUS], row[records.ATTEMPTS], of.handled, saved.letters) == ("failed", 3, [1], ())
    assert capture.restore(capture.decode(row[records.OUTPUT])).args == ("no",)
    of = history()
    of.edits = {("tried", KEY, 0): b"edited"}
    decision = call_end.parked(called(), of, Failed(error, outcome, 2))
    saved = next(decision)
    assert (saved.letters, saved.edited, saved.rows[0][records.STATUS]) == ((1,), b"edited", "dead")
    assert saved.rows[0][records.OUTPUT + 1 :][:3] == (9.0, 500, 2)
    with pytest.raises(StopIteration) as stopped:
        decision.send(None)
    assert stopped.value.value == Parked(1)
    row = call_end.ended_row(called(), history(), "failed", Failed(error))
    assert row[records.OUTPUT + 1 :][:3] == (0.0, 0, 0)
