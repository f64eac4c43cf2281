"""@workflow(once=True): the same inputs are run to their end once, ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.core.execution.idempotency import child_id
from perdure.errors import HasDeadLetters, OptionError, RunError, Suspended
from perdure.store import forks, listing


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


def test_whoever_calls_it_next_goes_on_with_what_a_dead_process_has_left(machine: Machine) -> None:
    """It is that run's child from then on; the one that had begun it takes the result, as does a direct call."""
    dies = [True]

    @step
    def pay(customer: str) -> str:
        machine.ran.append(f"pay {customer}")
        return customer

    @step
    def mail(customer: str) -> str:
        if dies:
            raise Died
        machine.ran.append(f"mail {customer}")
        return customer

    @workflow(once=True)
    def payout(customer: str) -> str:
        return mail(pay(customer))

    @workflow
    def batch_of_payouts(name: str) -> str:
        return f"{name}: {payout('ada')}"

    with pytest.raises(Died):
        batch_of_payouts("first")
    machine.boot()
    dies.clear()
    assert batch_of_payouts("second") == "second: ada"
    assert batch_of_payouts("first") == "first: ada"
    assert payout("ada") == "ada"
    assert machine.ran == ["pay ada", "mail ada"]
    assert machine.runs().count(("payout", "done")) == 1


def test_a_direct_call_goes_on_with_what_a_dead_parent_has_left(machine: Machine) -> None:
    """It is no child run any more."""
    dies = [True]

    @step
    def pay(customer: str) -> str:
        machine.ran.append(customer)
        return customer

    @workflow(once=True)
    def payout(customer: str) -> str:
        paid = pay(customer)
        if dies:
            raise Died
        return paid

    @workflow
    def batch_of_payouts() -> str:
        return payout("ada")

    with pytest.raises(Died):
        batch_of_payouts()
    machine.boot()
    dies.clear()
    assert (payout("ada"), batch_of_payouts()) == ("ada", "ada")
    assert machine.ran == ["ada"]
    assert {run.workflow for run in machine.engine.store.runs()} == {"payout", "batch_of_payouts"}


DIES: list[bool] = []


@step
def once_paid(customer: str) -> str:
    return customer


@workflow(once=True)
def pay_out_once(customer: str) -> str:
    paid = once_paid(customer)
    if DIES.pop() if DIES else False:
        raise Died
    return paid


@workflow(name="pays-out-once")
def pays_out() -> str:
    return pay_out_once("ada")


def test_what_a_dead_parent_has_left_is_enqueued_as_a_run_of_its_own(machine: Machine) -> None:
    """A worker takes no child runs up; the parent still takes the result."""
    DIES.append(True)
    with pytest.raises(Died):
        pays_out()
    machine.boot()
    handle = pay_out_once.enqueue("ada")
    assert machine.engine.store.run(handle.id).parent is None
    assert machine.runs() == [("pays-out-once", "running"), ("pay_out_once", "running")]
    assert (pays_out(), handle.result()) == ("ada", "ada")
    assert machine.runs() == [("pays-out-once", "done"), ("pay_out_once", "done")]


def test_a_run_that_calls_it_while_another_executes_it_waits_for_that(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and takes the result."""
    executing, waiting = threading.Event(), threading.Event()

    @step
    def pay(customer: str) -> str:
        machine.ran.append(customer)
        executing.set()
        assert waiting.wait(60)
        return customer

    @workflow(once=True)
    def payout(customer: str) -> str:
        return pay(customer)

    @workflow
    def batch_of_payouts(name: str) -> str:
        return f"{name}: {payout('ada')}"

    monkeypatch.setattr(machine.world, "sleep", lambda seconds: waiting.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batch_of_payouts, "first")
        assert executing.wait(60)
        second = pool.submit(batch_of_payouts, "second")
        assert (first.result(60), second.result(60)) == ("first: ada", "second: ada")
    assert machine.ran == ["ada"]


def test_a_run_that_calls_it_while_it_is_suspended_waits_durably(machine: Machine) -> None:
    """Once that has ended, it goes on with the result."""

    @workflow(once=True)
    def payout(customer: str) -> str:
        perdure.wait_for("released")
        machine.ran.append(customer)
        return customer

    @workflow
    def batch_of_payouts(name: str) -> str:
        return f"{name}: {payout('ada')}"

    with pytest.raises(Suspended) as left:
        payout("ada")
    with pytest.raises(Suspended):
        batch_of_payouts("first")
    assert left.value.run is not None
    perdure.signal(left.value.run, "released")
    assert payout("ada") == "ada"
    machine.boot()
    assert batch_of_payouts("first") == "first: ada"
    assert machine.ran == ["ada"]


def test_one_that_calls_itself_with_its_own_inputs_does_not_wait_for_itself(machine: Machine) -> None:
    """That is said."""

    @workflow(once=True)
    def payout(customer: str) -> str:
        return payout(customer)

    with pytest.raises(RunError, match="waits for itself"):
        payout("ada")


def test_a_schedule_of_it_is_refused(machine: Machine) -> None:
    """The inputs of a schedule are the same at each tick: the second tick would execute nothing."""
    with pytest.raises(OptionError, match="once"):
        workflow(lambda: None, name="wf", once=True, schedule="0 3 * * *")

    @workflow(once=True)
    def payout(customer: str) -> str:
        return customer

    with pytest.raises(OptionError, match="once"):
        perdure.schedule(payout, "0 3 * * *", name="payday", args=("ada",))


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


def test_what_others_stand_on_is_not_undone_with_its_first_caller(machine: Machine) -> None:
    """Its result has been handed on: the run stands for itself from then on. What nobody else has called is undone."""

    @step
    def unmake(n: int) -> None:
        machine.ran.append(f"unmake {n}")

    @step(undo=unmake)
    def make(n: int) -> int:
        machine.ran.append(f"make {n}")
        return n

    @workflow(once=True)
    def account(n: int) -> int:
        return make(n)

    @workflow
    def other() -> int:
        return account(1)

    @workflow
    def first() -> None:
        account(1)
        account(2)
        raise dies.pop() if dies else Trouble

    dies = [Died]
    with pytest.raises(Died):
        first()
    machine.boot()
    assert other() == 1
    with pytest.raises(Trouble):
        first()
    assert other() == 1
    assert machine.ran == ["make 1", "make 2", "unmake 2"]


@pytest.mark.parametrize("left", ["undone", "interrupted", "forked"])
def test_it_is_undone_with_the_caller_that_has_executed_it(machine: Machine, left: str) -> None:
    """Though another had begun it; who has gone on with it undoes it, and makes it again, also if it calls it twice."""
    made: list[str] = []
    broken: dict[str, type[BaseException]] = {"account": Died, "caller": Trouble}

    @step(name="once.unmake")
    def unmake(what: str) -> None:
        made.remove(what)

    @step(name="once.make", undo=unmake)
    def make(what: str) -> str:
        made.append(what)
        return what

    def gate(name: str) -> None:
        if name in broken:
            raise broken[name]

    @workflow(name="once.account", once=True)
    def account() -> str:
        found = make("account")
        gate("account")
        return found

    def body() -> list[str]:
        found = [account(), account()]
        gate("caller")
        return found

    first, caller = workflow(body, name="once.first"), workflow(body, name="once.other")
    if left != "interrupted":
        del broken["account"]
    with pytest.raises((Died, Trouble)):
        first()
    assert made == (["account"] if left == "interrupted" else [])
    broken.pop("account", None)
    machine.boot()
    if left == "forked":
        store, caller = machine.engine.store, first
        (source,) = store.runs()
        store.journal.write((), forks.fork(store, source, "fork-1", 1, machine.world.now(), child_id))
        machine.boot()
    with pytest.raises(Trouble):
        caller()
    assert made == []
    machine.boot()
    broken.clear()
    assert caller() == ["account", "account"]
    assert made == ["account"]
