"""A call of a step beside what its run has recorded: when it may be made at once, and what a record says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perdure.api.step import step
from perdure.core.exceptions import capture
from perdure.core.execution.call import at_once, recall, recheck, recorded, unrecorded
from perdure.core.execution.call_end import Failed, Parked, Succeeded
from perdure.core.execution.effects import Load, WaitGivenUp
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, spec_of
from perdure.core.execution.spending import Amounts
from perdure.core.policies.guard import Guard
from perdure.core.records import StepRecord
from perdure.core.values import codec
from perdure.errors import Drift, NotDecodable, StateCorrupt, StopRun

KEY = b"k" * 16
FAULT = capture.encode(capture.to_fault(OSError(5, "gone")))


def called(given: Any = 1, **more: Any) -> Call:
    @step(name="made", retry=None)
    def made(x: int) -> int: ...

    spec = spec_of(made)
    assert spec is not None
    spec.guard, spec.isolate, spec.max_repeats, spec.record_kind = None, False, None, "step"
    return Call(spec, (given,), {}, codec.pack_inputs([given], {}, owner="made"), KEY, **more)


def record(given: Any = 1, value: Any = 5, **changed: Any) -> StepRecord:
    packed = codec.pack_inputs([given], {}, owner="made"), codec.pack_value(value, owner="made")
    return msgspec.structs.replace(StepRecord(3, "made", KEY, 0, "done", *packed, 1.0, 20, 1, 0, "step"), **changed)


def history(*statuses: str, **more: Any) -> History:
    """Of a run with such records of calls that are alike, numbered from 3."""
    index = [(seq, "made", KEY, seq - 3, status, "step") for seq, status in enumerate(statuses, 3)]
    found = History(7, "run", index, last=2 + len(index))  # type: ignore[arg-type]
    for name, value in more.items():
        setattr(found, name, value)
    return found


QUIET: dict[str, Any] = dict.fromkeys(
    ("open", "replaying", "elsewhere", "undone", "known_tries", "crashes", "lives", "edits", "unsaved", "fired")
) | {"largest": 1000}


@pytest.mark.parametrize("busy", [None, *(name for name in QUIET if name != "largest")])
def test_a_call_is_made_at_once_if_nothing_is_to_be_looked_at_before_it(busy: str | None) -> None:
    """Neither a record, nor what earlier lives have done, nor what is to be saved first."""
    of: Any = SimpleNamespace(**QUIET | ({busy: True} if busy else {}))
    assert at_once(called(), of) is (busy is None)


@pytest.mark.parametrize(
    ("name", "value", "may"),
    [
        ("guard", Guard("mail"), False),
        ("isolate", True, False),
        ("max_repeats", 2, False),
        ("max_repeats", 3, True),
    ],
)
def test_a_step_may_ask_for_a_decision_before_its_first_attempt(name: str, value: Any, may: bool) -> None:
    """What guards it, a process of its own, and as many repeats of it as there may be."""
    call = called(n=2)
    setattr(call.spec, name, value)
    of: Any = SimpleNamespace(**QUIET)
    assert at_once(call, of) is may


def test_a_call_while_an_exit_is_handled_or_of_arguments_that_are_too_large_is_not_made_at_once() -> None:
    """As many bytes as a record holds are not too many."""
    size = len(called().input)
    exact, short = (SimpleNamespace(**QUIET | {"largest": most}) for most in (size, size - 1))
    assert at_once(called(), exact)  # type: ignore[arg-type]
    assert not at_once(called(), short)  # type: ignore[arg-type]
    assert not at_once(called(due_to_exit=True), exact)  # type: ignore[arg-type]


class Ledger:
    """A budget, and what was counted for it."""

    def __init__(self) -> None:
        self.counted: list[Amounts] = []

    def replayed(self, spent: Amounts) -> None:
        self.counted.append(spent)


@pytest.mark.parametrize("by_record", [True, False])
def test_what_a_record_says(by_record: bool) -> None:
    """The value; a call that counts by its record alone has taken its time."""
    ledger: Any = Ledger()
    end = recall(called(ledgers=(ledger,), by_record=by_record), history(), record())
    assert end == Succeeded(5, 3)
    assert ledger.counted == ([Amounts(ms=20)] if by_record else [])


def test_the_failure_of_a_record_is_raised_again() -> None:
    """It is known to the run as one of an earlier life, or of this one; as a dead letter it is one where it may be."""
    of = history()
    end = recall(called(), of, record(status="failed", output=FAULT))
    assert isinstance(end, Failed)
    assert (type(end.error), end.error.args, end.replayed) == (OSError, (5, "gone"), True)
    assert of.root_cause(end.error).replayed
    now = recall(called(), of, record(status="failed", output=FAULT), replayed=False)
    assert isinstance(now, Failed)
    assert not now.replayed
    dead = record(status="dead", output=FAULT)
    assert recall(called(), of, dead, park=True) == Parked(3)
    assert isinstance(recall(called(), of, dead), Failed)
    assert recall(called(), of, record(), park=True) == Succeeded(5, 3)


@pytest.mark.parametrize("changed", [{"n": 1}, {"key": bytes(16)}, {"name": "other"}], ids=str)
def test_a_record_of_another_call_is_damage(changed: dict[str, Any]) -> None:
    """Whichever part of its identity is another."""
    with pytest.raises(StopRun) as stopped:
        recall(called(), history(), record(**changed))
    assert isinstance(stopped.value.error, StateCorrupt)


@pytest.mark.parametrize(
    ("named", "kind", "exempt", "drifts"),
    [
        (True, "step", False, True),
        (True, "step", True, False),
        (True, "builtin", False, False),
        (False, "step", False, False),
    ],
)
def test_other_inputs_of_a_call_that_goes_by_a_key_are_drift(
    named: bool, kind: Any, exempt: bool, drifts: bool
) -> None:
    """Unless they were accepted. What goes by its inputs has them in its key; of a step of perdure's own the key alone
    counts, since there may be a path in its inputs."""
    call = called(2, named=named)
    call.spec.record_kind = kind
    of = history()
    if exempt:
        of = History(7, "run", exempt=[(0, 3)])
    if drifts:
        with pytest.raises(StopRun) as stopped:
            recall(call, of, record(1))
        assert isinstance(stopped.value.error, Drift)
    else:
        assert recall(call, of, record(1)) == Succeeded(5, 3)
    assert recall(called(1, named=named), of, record(1)) == Succeeded(5, 3)


def test_a_value_that_cannot_be_read_names_the_fork_that_makes_it_again() -> None:
    """From the call of the run that a person knows, if it is one of a child run."""
    of = history(top=lambda: ("above", "calls"))
    for known, says in ((history(), "perdure fork run --from made"), (of, "perdure fork above --from calls")):
        with pytest.raises(StopRun) as stopped:
            recall(called(), known, record(output=b"\xc1"))
        assert isinstance(stopped.value.error, NotDecodable)
        assert stopped.value.error.hint.endswith(says)


@pytest.mark.parametrize(
    ("status", "park", "more", "looked", "end"),
    [
        ("done", False, {}, False, Succeeded(None, 3)),
        ("done", True, {}, False, Succeeded(None, 3)),
        ("done", True, {"named": True}, True, Succeeded(None, 3)),
        ("done", True, {"by_record": True}, True, Succeeded(None, 3)),
        ("dead", True, {}, False, Parked(3)),
        ("dead", False, {}, True, Failed),
        ("failed", True, {}, True, Failed),
        ("failed", False, {}, True, Failed),
    ],
)
def test_an_item_of_a_batch_is_read_only_if_there_is_something_to_look_at(
    status: str, park: bool, more: dict[str, Any], looked: bool, end: Any
) -> None:
    """Its value is read later, all at once."""
    call, effects = called(**more), []
    steps = recheck(call, history(status), 3, park)
    try:
        effects.append(next(steps))
        steps.send(record() if status == "done" else record(status=status, output=FAULT))
    except StopIteration as stopped:
        found = stopped.value
    assert effects == ([Load(call, 3)] if looked else [])
    assert found == end or type(found) is end


def test_a_call_that_the_workflow_gave_up_waits_until_it_is_given_up_again() -> None:
    """If that does not happen, the script was edited, and it is made after all, with a record of its own."""
    call = called(seq=3)
    steps = unrecorded(call, history(), 3)
    assert next(steps) == WaitGivenUp(call)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is None
    assert call.seq == 0


def test_a_call_that_has_a_record_is_not_made() -> None:
    """It is loaded by its number."""
    call = called()
    steps = recorded(call, history("done"))
    assert next(steps) == Load(call, 3)
    with pytest.raises(StopIteration) as end:
        steps.send(record())
    assert end.value.value == record()
    with pytest.raises(StopIteration) as none:
        next(recorded(called(), history()))
    assert none.value.value is None
