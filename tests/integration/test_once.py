"""@workflow(once=True): the same inputs are run to their end once, ever."""

from __future__ import annotations

import pytest

from conftest import Machine, Trouble
from perdure import step, workflow
from perdure.errors import HasDeadLetters, OptionError
from perdure.store import listing


def test_called_again_it_returns_what_was_recorded(machine: Machine) -> None:
    """In another process too; other inputs are another run, and an earlier run without the option counts."""

    @step
    def mail(day: str) -> str:
        machine.ran.append(day)
        return f"mail of {day}"

    def body(day: str) -> str:
        return mail(day)

    often = workflow(body, name="report")
    assert often("mon") == "mail of mon"
    once = workflow(body, name="report", once=True)
    assert once("mon") == "mail of mon"
    machine.boot()
    for day in ("mon", "tue", "tue"):
        assert once(day) == f"mail of {day}"
    assert machine.ran == ["mon", "tue"]
    assert machine.runs() == [("report", "done")] * 2
    assert often("tue") == "mail of tue"
    assert machine.ran == ["mon", "tue", "tue"]


def test_what_is_not_done_is_gone_on_with(machine: Machine) -> None:
    """A run that failed is resumed, as without the option."""
    fails = [True]

    @step(retry=None)
    def first() -> int:
        machine.ran.append("first")
        return 1

    @step(retry=None)
    def second() -> int:
        if fails:
            raise Trouble
        return 2

    @workflow(once=True)
    def wf() -> int:
        return first() + second()

    with pytest.raises(Trouble):
        wf()
    fails.clear()
    assert (wf(), wf()) == (3, 3)
    assert machine.ran == ["first"]
    assert machine.runs() == [("wf", "done")]


def test_called_from_a_workflow(machine: Machine) -> None:
    """What is done is not done again by a child run either, nor by a run after one; other inputs are."""

    @step
    def bill(order: int) -> int:
        machine.ran.append(order)
        return order * 10

    @workflow(once=True)
    def pay_once(order: int) -> int:
        return bill(order)

    @workflow
    def nightly_orders(orders: list[int]) -> list[int]:
        return [pay_once(order) for order in orders]

    assert pay_once(1) == 10
    assert nightly_orders([1, 2, 2]) == [10, 20, 20]
    machine.boot()
    assert nightly_orders([1, 2, 2]) == [10, 20, 20]
    assert pay_once(2) == 20
    assert machine.ran == [1, 2]


@pytest.mark.parametrize("options", [{"once": 1}, {"fail_on_dead": 0}, {"fail_on_dead": "3"}, {"fail_on_dead": -1}])
def test_mistakes_in_the_options(options: dict[str, object]) -> None:
    """A truth value, and a number of dead letters."""
    with pytest.raises(OptionError, match=f"{next(iter(options))} is"):
        workflow(lambda: None, name="wf", **options)  # type: ignore[call-overload]


def test_a_parked_run_is_no_dead_letter_of_its_own(machine: Machine) -> None:
    """With its items mended it comes to its end; the letter that stands for the run as a whole does not count."""
    broken = [True]

    @step(retry=None)
    def item(n: int) -> int:
        if broken[0]:
            raise ConnectionError("down")
        return n

    @workflow(park_after=1, fail_on_dead=True)
    def wf() -> int:
        return len(item.map(range(2)).results)

    with pytest.raises(HasDeadLetters):
        wf()
    assert listing.dead_letters(machine.engine.store, 1) == 2


@step
def once_closed(day: str) -> str:
    return f"{day} is closed"


@workflow(once=True)
def close_once(day: str) -> str:
    return once_closed(day)


@workflow(name="closes-once")
def closes() -> list[str]:
    return [close_once.enqueue(day).id for day in ("mon", "mon")]


def test_what_is_enqueued_is_run_once_too(machine: Machine) -> None:
    """The same inputs are one run: enqueued again, together, from a workflow, or called; also once it is done."""
    mon = close_once.enqueue("mon")
    assert [close_once.enqueue("mon").id, *(one.id for one in close_once.enqueue_many([("mon",), ("mon",)]))] == [
        mon.id
    ] * 3
    tue = [one.id for one in close_once.enqueue_many([("tue",), ("tue",)])]
    assert tue[0] == tue[1] != mon.id
    assert close_once.with_options(id="by-hand").enqueue("mon").id == "by-hand"
    assert closes() == [mon.id] * 2
    machine.boot()
    assert close_once("mon") == "mon is closed"  # what stands in the queue is begun by whoever calls it
    assert mon.result(60) == "mon is closed"
    assert close_once.enqueue("mon").id == mon.id
    assert close_once.start("mon").result() == "mon is closed"
    ended = [run.id for run in machine.engine.store.runs() if run.status == "done" and run.workflow == "close_once"]
    assert ended == [mon.id]
