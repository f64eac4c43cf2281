"""A durable wait, effect by effect: when it is opened, left and closed, what it takes, and what becomes of a misfit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perdure.api.durable_wait import _spec
from perdure.api.wait_for import _WaitFor
from perdure.core import records
from perdure.core.execution.call_end import Failed, Succeeded
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.execution.waiting import CloseWait, Look, OpenWait, Park, SetAside, await_
from perdure.core.values import codec
from perdure.core.waits import Lapsed, Letter, View, Won
from perdure.errors import WaitTimeout

BEGAN = 1000.0


@dataclass
class Paid:
    amount: int


def letter(value: Any, sid: int = 1, stamp: float = BEGAN + 1) -> Letter:
    return Letter(sid, stamp, codec.pack_value(value, owner="a signal"))


def view(now: float, found: Letter | None = None, *, open: bool = True) -> View:
    return View(now, (BEGAN,), (found,), open)


class Waited:
    """A wait for the signal "paid" whose looks at the file show these views; its effects, and its end."""

    def __init__(self, *answers: Any, of: History | None = None, **options: Any) -> None:
        given = {"type": int, "key": "", "timeout": 10, "default": ..., **options}
        self.wait = _WaitFor("paid", **given)
        self.history = History(7, "run", uniform=lambda: 0.5) if of is None else of
        self.call = Call(_spec(self.wait), (), {}, b"in", bytes(16))
        self.effects: list[Any] = []
        steps, left, answer = await_(self.call, self.history, self.wait), iter(answers), None
        try:
            while True:
                self.effects.append(steps.send(answer))
                answer = next(left)
        except StopIteration as end:
            self.end: Any = end.value

    @property
    def kinds(self) -> list[type]:
        return [type(effect) for effect in self.effects]

    @property
    def row(self) -> records.Row:
        """The record that it is closed with."""
        row: records.Row = self.effects[-1].row
        return row


def test_a_signal_that_is_there_is_taken_at_once() -> None:
    """The wait is not opened first; its record has what the signal carries, and when it began."""
    found = letter(5)
    waited = Waited(view(BEGAN, found, open=False), None)
    assert waited.kinds == [Look, CloseWait]
    close = waited.effects[-1]
    assert (close.end, close.found, close.rows) == (Won(0, found.stamp), found, ())
    assert waited.row[records.STATUS] == "done"
    assert waited.row[records.STARTED] == BEGAN
    assert waited.end == Succeeded(5, waited.call.seq)


def test_it_is_opened_once_and_then_the_process_may_be_left() -> None:
    """Until the signal is there; how long that took is kept in milliseconds."""
    waited = Waited(
        view(BEGAN, open=False), view(BEGAN), view(BEGAN + 2), view(BEGAN + 3, letter(5, 1, BEGAN + 3)), None
    )
    assert waited.kinds == [Look, OpenWait, Park, Park, CloseWait]
    assert waited.row[records.MS] == 3000
    assert waited.end == Succeeded(5, waited.call.seq)


def test_a_clock_that_was_set_back_makes_no_wait_shorter_than_nothing() -> None:
    """Its length is 0 then."""
    waited = Waited(view(BEGAN - 50, letter(5, 1, BEGAN - 50)), None)
    assert waited.row[records.MS] == 0


def test_a_signal_that_does_not_fit_is_set_aside_and_the_wait_goes_on() -> None:
    """The reason is what is wrong with it, without what a programmer does about it; the next one that fits is taken."""
    wrong, right = letter("five"), letter(5, 2)
    waited = Waited(view(BEGAN + 1, wrong), view(BEGAN + 2, right), None)
    assert waited.kinds == [Look, SetAside, CloseWait]
    aside = waited.effects[1]
    assert aside.letter == wrong
    assert "'five'" in aside.reason
    assert "\n" not in aside.reason
    assert "[" not in aside.reason
    assert waited.effects[-1].found == right
    assert waited.end == Succeeded(5, waited.call.seq)


def test_a_signal_that_a_class_refuses_is_set_aside_for_what_the_class_says() -> None:
    """Whatever its reading raises."""
    waited = Waited(
        view(BEGAN + 1, letter({"amount": "a"})), view(BEGAN + 2, letter({"amount": 3}, 2)), None, type=Paid
    )
    assert waited.kinds == [Look, SetAside, CloseWait]
    assert waited.end == Succeeded(Paid(3), waited.call.seq)


def test_a_wait_that_is_over_has_failed_and_what_comes_is_judged_no_failure_of_a_service() -> None:
    """The failure is recorded with the time that it took, and is the run's root cause if nobody handles it."""
    waited = Waited(view(BEGAN + 10), None)
    close = waited.effects[-1]
    assert (close.end, close.found) == (Lapsed(BEGAN + 10), None)
    assert waited.row[records.STATUS] == "failed"
    assert isinstance(waited.end, Failed)
    assert isinstance(waited.end.error, WaitTimeout)
    assert waited.end.last is not None
    assert (waited.end.last.started, waited.end.last.seconds) == (BEGAN, 10.0)
    assert waited.history.root_cause(waited.end.error).records == (waited.call.seq,)


def test_what_is_returned_when_the_time_is_over() -> None:
    """The default, as the record has it."""
    waited = Waited(view(BEGAN + 10), None, default=0)
    assert waited.row[records.STATUS] == "done"
    assert waited.end == Succeeded(0, waited.call.seq)


def test_another_process_may_have_closed_it_otherwise() -> None:
    """What is not written is not the end of the wait: it is looked at anew, and has no record before it is written."""
    early, late = letter(5, 1), letter(6, 2)
    waited = Waited(view(BEGAN + 1, early), view(BEGAN + 2, late), None)
    assert waited.kinds == [Look, CloseWait, CloseWait]
    assert waited.end == Succeeded(6, waited.call.seq)


def test_a_signal_that_is_too_large_for_a_record_is_set_aside() -> None:
    """It says why, and the next one is taken."""
    history = History(7, "run", uniform=lambda: 0.5, largest=100)
    answers = view(BEGAN + 1, letter("x" * 1000)), view(BEGAN + 2, letter("y", 2)), None
    waited = Waited(*answers, of=history, type=str)
    assert waited.kinds == [Look, SetAside, CloseWait]
    assert "a record holds at most 100 bytes" in waited.effects[1].reason
