"""Budgets: the steps of a block stop at the same call in every life of a run, and what they spend is kept with them."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

import perdure
from conftest import Died, Machine, Trouble
from perdure import Retry, step, workflow
from perdure.cli import main
from perdure.engines.local import engine as local
from perdure.errors import BudgetExceeded, OptionError, UsageError


def dying(machine: Machine) -> Any:
    @step(retry=None)
    def die() -> None:
        if "died" not in machine.ran:
            machine.ran.append("died")
            raise Died

    return die


def test_the_next_step_is_refused_and_again_on_resume(machine: Machine) -> None:
    """What there is can be returned; the bound stops the same call after a death, and nothing is counted twice."""
    die = dying(machine)

    @step(retry=None)
    def ask(number: int) -> int:
        machine.ran.append(number)
        perdure.spend(usd=0.1, tokens=100)
        perdure.spend(usd=Decimal("0.2"))
        return number

    @workflow
    def agent() -> tuple[list[int], float, int, int]:
        done = []
        with perdure.budget(usd=1, tokens=10_000) as b:
            try:
                for number in range(10):
                    done.append(ask(number))
                    if number == 2:
                        die()
            except BudgetExceeded as error:
                assert "ask" in error.what  # noqa: PT017
                assert "$1.2 of $1 are spent" in error.what  # noqa: PT017
        return done, b.spent.usd, b.spent.tokens, b.spent.calls

    with pytest.raises(Died):
        agent()
    machine.boot()
    assert agent() == ([0, 1, 2, 3], 1.2, 400, 5)
    assert machine.ran == [0, 1, 2, "died", 3]


def test_failed_attempts_and_children_count(machine: Machine) -> None:
    """Each attempt's spending is the parent's, and the error names the step that was not called."""
    failures = iter([True, True, False, False])

    @step(retry=Retry(delay=0))
    def ask() -> int:
        perdure.spend(tokens=10)
        if next(failures):
            raise OSError("again")
        return 1

    @workflow
    def inner() -> int:
        return ask()

    @workflow
    def outer() -> int:
        with perdure.budget(tokens=40) as b:
            inner()
            assert b.spent.tokens == 30
            assert b.left.tokens == 10
            inner()
            assert b.left.tokens == 0
            inner()
        return 0

    with pytest.raises(BudgetExceeded, match="inner"):
        outer()


def test_a_raised_bound_lets_the_run_go_on(machine: Machine) -> None:
    """It holds for all later lives of the run."""

    @step(retry=None)
    def ask(number: int) -> int:
        machine.ran.append(number)
        perdure.spend(usd=1)
        return number

    @workflow
    def agent() -> int:
        with perdure.budget(usd=2):
            return sum(ask(number) for number in range(4))

    with pytest.raises(BudgetExceeded):
        agent()
    machine.boot()
    with pytest.raises(BudgetExceeded):
        agent()
    (run,) = machine.engine.store.runs()
    from perdure.api.budget import bounds_of

    machine.engine.raise_bounds(run, bounds_of(usd=5))
    machine.boot()
    assert agent() == 6
    assert machine.ran == [0, 1, 2, 3]


def test_why_names_the_command_that_raises_the_bound(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Going on without it would fail at once, with the same error."""

    @step(retry=None)
    def ask() -> None:
        perdure.spend(usd=2)

    @workflow
    def agent() -> None:
        with perdure.budget(usd=1):
            ask()
            ask()

    with pytest.raises(BudgetExceeded):
        agent()
    local.close_all()
    assert main(["why", "last", "--json"]) == 0
    (way,) = [each for each in json.loads(capsys.readouterr().out)["ways"] if each["purpose"] == "go on"]
    assert way["command"].startswith("perdure resume ")
    assert way["command"].endswith(" --budget usd=2")


def test_calls_and_seconds(machine: Machine) -> None:
    """A bound of calls, and one of the time that attempts take."""

    @step(retry=None)
    def work(number: int) -> int:
        machine.world.sleep(10)
        return number

    @workflow
    def by_calls() -> int:
        with perdure.budget(calls=3):
            return sum(work(number) for number in range(9))

    @workflow
    def by_seconds() -> int:
        with perdure.budget(seconds="25s"):
            return sum(work(number) for number in range(9))

    with pytest.raises(BudgetExceeded, match="3 of 3 calls"):
        by_calls()
    with pytest.raises(BudgetExceeded, match="30 s of 25 s"):
        by_seconds()
    assert [len(machine.steps(run)) for run in (0, 1)] == [3, 3]


def test_maps_in_threads_and_tasks(machine: Machine) -> None:
    """Items that the budget does not let through become dead letters; the others are counted exactly."""

    @step(retry=None)
    def ask(number: int) -> int:
        perdure.spend(tokens=1)
        return number

    @step(retry=None)
    async def aask(number: int) -> int:
        perdure.spend(tokens=1)
        return number

    @workflow
    def threads() -> tuple[int, int, int]:
        with perdure.budget(calls=7) as b:
            batch = ask.map(range(20), concurrency=5)
            return len(batch.results), len(batch.dead), b.spent.tokens

    @workflow
    async def tasks() -> tuple[int, int, int]:
        async with perdure.budget(calls=7) as b:
            batch = await aask.map(range(20), concurrency=5)
            return len(batch.results), len(batch.dead), b.spent.tokens

    assert threads() == (7, 13, 7)
    assert asyncio.run(tasks()) == (7, 13, 7)


@pytest.mark.parametrize("pooled", [False, True])
def test_threads_of_the_workflow_spend_of_the_budget_that_they_are_started_in(machine: Machine, pooled: bool) -> None:
    """Their own and those of a pool, also in a later life; a thread of the pool does not keep it for its next job."""

    @step(retry=None)
    def ask(number: int) -> int:
        perdure.spend(tokens=1)
        return number

    def asked(number: int) -> object:
        try:
            return ask(number)
        except BudgetExceeded:
            return "over"

    died = dying(machine)

    @workflow
    def agent() -> tuple[list[object], int]:
        found: list[object] = []

        def on_a_thread(pool: ThreadPoolExecutor, number: int) -> None:
            if pooled:
                found.append(pool.submit(asked, number).result())
                return
            thread = threading.Thread(target=lambda: found.append(asked(number)))
            thread.start()
            thread.join()

        with ThreadPoolExecutor(1) as pool:
            with perdure.budget(calls=3) as b:
                for number in range(5):
                    on_a_thread(pool, number)
                spent = b.spent.tokens
            on_a_thread(pool, 9)
        died()
        return found, spent

    with pytest.raises(Died):
        agent()
    machine.boot()
    assert agent() == ([0, 1, 2, "over", "over", 9], 3)


@pytest.mark.parametrize(
    "given", [{"usd": None}, {"tokens": None}, {}, {"usd": -1}, {"usd": float("nan")}, {"tokens": 1.5}, {"usd": True}]
)
def test_spending_that_is_not_known_is_not_nothing(given: dict[str, Any]) -> None:
    """A price that is None, negative or no number is refused, also outside of a workflow."""
    with pytest.raises(OptionError):
        perdure.spend(**given)


def test_misuse_is_named(machine: Machine) -> None:
    """A budget outside a workflow, without a bound, twice; spending in the workflow itself."""
    with pytest.raises(OptionError):
        perdure.budget()
    with pytest.raises(UsageError), perdure.budget(usd=1):
        pass

    @workflow
    def w() -> None:
        perdure.spend(usd=1)

    with pytest.raises(UsageError):
        w()
    perdure.spend(usd=1)


def test_a_plain_step_costs_nothing_more(machine: Machine) -> None:
    """Without a budget and without spending there is no row and no file."""

    @step
    def plain() -> int:
        return 1

    @workflow
    def w() -> int:
        return plain()

    assert w() == 1
    assert not (machine.folder / "state.db-spend").exists()
    assert machine.engine.store.spent_by_calls(1) == {}


@pytest.mark.parametrize(
    "spent",
    [{"tokens": 10**30}, {"tokens": -(10**5000)}, {"usd": 10**30}, {"usd": Decimal("1e999999")}, {"usd": 1e300}],
)
def test_more_than_can_be_counted_is_refused(spent: dict[str, Any]) -> None:
    """By name; it does not end in an error from the inside, and neither does a budget of that."""
    with pytest.raises(OptionError, match=next(iter(spent))):
        perdure.spend(**spent)
    with pytest.raises(OptionError, match=next(iter(spent))):
        perdure.budget(**spent)


def test_a_resumed_run_reads_what_its_first_life_read(machine: Machine) -> None:
    """Also of calls that spend nothing, whatever the bounds are: what a workflow decides by it stays decided."""
    down = [True]

    @step
    def free(n: int) -> int:
        return n

    @step
    def paid(n: int) -> int:
        perdure.spend(tokens=n)
        return n

    @step(retry=None)
    def last() -> None:
        if down[0]:
            raise Trouble

    read = []

    @workflow
    def wf() -> None:
        with perdure.budget(tokens=100) as budget:
            free(1)
            paid(5)
            read.append((budget.spent.calls, budget.spent.tokens))
        last()

    with pytest.raises(Trouble):
        wf()
    down[0] = False
    wf()
    assert read == [(2, 5), (2, 5)]
