"""A run that nobody executes is ended for good: what is asked and put away on the way, effect by effect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from perdure.core.execution.history import History
from perdure.core.execution.run import call_off
from perdure.core.execution.run_effects import (
    Begin,
    End,
    Held,
    Recall,
    Start,
    Taken,
    Undoable,
    UndoableChild,
    Unended,
    Unwind,
)
from perdure.core.records import RunRecord
from perdure.errors import DiskFull

RUN = RunRecord(7, "run", "s.py", "/s.py", "w", bytes(16), True, None, "running", 1, 0, b"", None, 1.0, 1.0, None, 0)
CHILD = msgspec.structs.replace(RUN, rid=8, id="child", parent=7)
START, START_OF_CHILD = (Start("s.py", "/s.py", "w", bytes(16), b"", "", rid=rid) for rid in (7, 8))


class CalledOff:
    """The end of a run that has called others: its effects, those of the run itself alone, and what was not put away.

    Args:
        ending: the undoing of the run was broken off.
        undoable: what is to be undone of its child runs.
        unended: what is left of them.
    """

    def __init__(
        self,
        *,
        children: bool = True,
        ending: int | None = None,
        undoable: tuple[UndoableChild, ...] = (),
        unended: Any = (),
        trouble: Exception | None = None,
        **options: Any,
    ) -> None:
        self.effects: list[Any] = []
        steps, answer = call_off(START, **options), None
        try:
            while True:
                effect = steps.send(answer)
                answer = None
                match effect:
                    case Begin(start=start):
                        answer = Taken(RUN if start.rid == 7 else CHILD, resumed=True)
                    case Recall(run=run):
                        answer = History(run.rid, run.id)
                        if run is RUN:
                            answer.has_children = answer.undoes_children = children
                            answer.ending = ending
                    case Unended():
                        answer = unended
                    case Undoable():
                        answer = undoable
                    case Unwind():
                        answer = ["the bill is not cancelled"]
                    case End():
                        answer = trouble
                self.effects.append(effect)
        except StopIteration as end:
            self.missed = end.value

    @property
    def asked(self) -> list[tuple[type, Any]]:
        """What is asked about child runs, and which of them are begun to be ended."""
        return [
            (type(one), one.start.rid if isinstance(one, Begin) else getattr(one, "undoing", None))
            for one in self.effects
            if isinstance(one, Unended | Undoable | Begin)
        ][1:]


LEFT, BROKEN_OFF, TO_UNDO = (Unended, False), (Unended, True), (Undoable, None)


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"children": False}, []),
        ({}, [LEFT, TO_UNDO]),
        ({"ok": True}, [LEFT]),
        ({"final": False}, [TO_UNDO]),
        ({"final": False, "ok": True}, []),
        ({"ending": 3}, [LEFT, BROKEN_OFF, TO_UNDO]),
        ({"ending": 3, "ok": True}, [LEFT]),
    ],
    ids=str,
)
def test_which_child_runs_are_looked_for(options: dict[str, Any], asked: list[Any]) -> None:
    """Those left are for the final end alone; what is done is undone unless the end is a good one; and what was broken
    off in its undoing only where this run's own was."""
    called_off = CalledOff(**options)
    assert called_off.asked == asked
    assert not any(isinstance(one, Unwind) for one in called_off.effects), "nothing is there to be put away"
    assert called_off.missed == []


def test_each_child_run_that_is_left_is_called_off() -> None:
    """Before this one ends, and for good; one that has failed keeps its failure."""
    called_off = CalledOff(unended=[(START_OF_CHILD, b"fault")], ok=True)
    assert called_off.asked == [LEFT, (Begin, 8)]
    ends = [(one.run.rid, one.status, one.output) for one in called_off.effects if isinstance(one, End)]
    assert ends == [(8, "failed", b"fault"), (7, "cancelled", b"")]


def test_what_is_not_put_away_is_said() -> None:
    """With the child runs that are undone with it."""
    child = UndoableChild(START_OF_CHILD, 2.0)
    called_off = CalledOff(undoable=(child,), fault=b"fault", ending=3)
    (unwind,) = (one for one in called_off.effects if isinstance(one, Unwind))
    assert (unwind.children, unwind.fault, unwind.ok, unwind.final) == ((child,), b"fault", False, True)
    assert called_off.missed == ["the bill is not cancelled"]
    end = called_off.effects[-1]
    assert (end.status, end.output, end.forget) == ("failed", b"fault", (3,))


def test_an_end_that_cannot_be_written_is_an_error() -> None:
    """Nobody takes the run for ended."""
    with pytest.raises(DiskFull):
        CalledOff(trouble=DiskFull("no space is left", "free some"))


def test_a_run_that_somebody_executes_is_left_alone() -> None:
    """Nothing is asked of it, and nobody says that something was not put away."""
    steps = call_off(START)
    assert next(steps) == Begin(START)
    with pytest.raises(StopIteration) as end:
        steps.send(Held(RUN, None, None))
    assert end.value.value is None
