"""A workflow enqueues runs, effect by effect: what is new is one transaction, and what was enqueued before stays so."""

from __future__ import annotations

from typing import Any

import msgspec

from perdure.api.step import step
from perdure.core.exceptions import capture
from perdure.core.execution.call_end import Failed, Succeeded
from perdure.core.execution.effects import Load, Save, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.queueing import QueuedRun, enqueue
from perdure.core.execution.run_effects import Start
from perdure.core.execution.spec import Call, spec_of
from perdure.core.records import ENQUEUED, STARTED, STATUS, StepRecord
from perdure.core.values import codec
from perdure.errors import OtherInputs

NAME = ENQUEUED + "mail"


def call(number: int) -> Call:
    @step(name="mail", retry=None)
    def mail(x: int) -> str: ...

    spec = spec_of(mail)
    assert spec is not None
    spec.name = NAME
    return Call(spec, (), {}, codec.pack_inputs([number], {}, owner="mail"), bytes([number]) * 16)


def record(seq: int, of: Call, value: str, **changed: Any) -> StepRecord:
    packed = codec.pack_value(value, owner="mail")
    return msgspec.structs.replace(
        StepRecord(seq, NAME, of.key, 0, "done", of.input, packed, 1.0, 0, 1, 0, "step"), **changed
    )


class Enqueued:
    """What comes of these calls: the effects, and their ends.

    Args:
        answers: the records that are loaded, by their numbers.
        queued: changes what the runs are.
    """

    def __init__(
        self, calls: list[Call], of: History, *answers: StepRecord, named: str | None = None, **queued: Any
    ) -> None:
        self.effects: list[Any] = []
        self.asked: list[list[Call]] = []
        known = {one.seq: one for one in answers}

        def runs(new: list[Call]) -> list[QueuedRun]:
            self.asked.append(new)
            once = queued.pop("once", False)
            starts = [
                Start("s.py", "/s.py", "mail", one.key, one.input, f"mail-{one.key[0]}", once=once) for one in new
            ]
            return [QueuedRun(start, **queued) for start in starts]

        steps, answer = enqueue(calls, of, runs, 50.0, left=lambda *_: None, named=named), None
        try:
            while True:
                effect = steps.send(answer)
                self.effects.append(effect)
                answer = known[effect.seq] if isinstance(effect, Load) else None
        except StopIteration as end:
            self.ends: list[Any] = end.value


def test_new_runs_are_enqueued_in_one_transaction() -> None:
    """With the records of the calls, in their order; each call gives the id of its run."""
    calls = [call(1), call(2)]
    enqueued = Enqueued(calls, History(7, "run"))
    (save,) = enqueued.effects
    assert isinstance(save, Save)
    assert [run.id for run in save.enqueue] == ["mail-1", "mail-2"]
    assert [(row[STATUS], row[STARTED]) for row in save.rows] == [("done", 50.0)] * 2
    assert enqueued.asked == [calls]
    assert enqueued.ends == [Succeeded("mail-1", 1), Succeeded("mail-2", 2)]
    assert save.aftermath is None


def test_what_was_enqueued_before_is_not_enqueued_again() -> None:
    """Only the call that an edit has added is new, wherever it stands; and nothing is written if there is none."""
    before, added = call(1), call(2)
    index: Any = [(3, NAME, before.key, 0, "done", "step")]
    known = record(3, before, "mail-old")
    enqueued = Enqueued([added, before], History(7, "run", index, last=3), known)
    assert [type(one) for one in enqueued.effects] == [Load, Save]
    assert enqueued.asked == [[added]]
    assert enqueued.ends == [Succeeded("mail-2", 4), Succeeded("mail-old", 3)]
    again = Enqueued([call(1)], History(7, "run", index, last=3), known)
    assert [type(one) for one in again.effects] == [Load]
    assert (again.asked, again.ends) == ([], [Succeeded("mail-old", 3)])


def test_another_run_may_stand_for_the_call() -> None:
    """One with the same key of deduplication, or of these inputs, or of that id: then its record says which."""
    for more in ({"dedup": "k"}, {"once": True}, {"named": "mine"}):
        one = call(1)
        enqueued = Enqueued([one], History(7, "run"), record(1, one, "mail-other"), **more)
        assert [type(each) for each in enqueued.effects] == [Save, Load]
        assert enqueued.effects[1].peek
        assert enqueued.ends == [Succeeded("mail-other", 1)]


def test_an_id_that_stands_for_a_run_with_other_inputs_is_a_failure_of_this_life() -> None:
    """The record says so, and the call raises it."""
    one = call(1)
    fault = capture.encode(capture.to_fault(OtherInputs("run mine was started with other inputs", "give another id")))
    enqueued = Enqueued([one], History(7, "run"), record(1, one, "", status="failed", output=fault), named="mine")
    (end,) = enqueued.ends
    assert isinstance(end, Failed)
    assert isinstance(end.error, OtherInputs)
    assert not end.replayed


def test_an_abandoned_call_waits_until_it_is_given_up_again() -> None:
    """If it is not, it is new."""
    one = call(1)
    index: Any = [(3, NAME, one.key, 0, "abandoned", "step")]
    enqueued = Enqueued([one], History(7, "run", index, last=3))
    assert [type(each) for each in enqueued.effects] == [WaitGivenUp, Save]
    assert enqueued.ends == [Succeeded("mail-1", 4)]


def test_runs_that_are_enqueued_while_an_exit_is_handled_are_not_held_against_a_life_without_it() -> None:
    """The numbers of all their records are exempt."""
    calls = [call(1), call(2)]
    calls[1].due_to_exit = True
    (save,) = Enqueued(calls, History(7, "run")).effects
    assert save.aftermath == (2, 2)
