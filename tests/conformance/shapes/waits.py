"""Durable waits: sleeps, signals, the first of several; side by side, and with what ends a run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import ado, do, shape

import perdure
from perdure import aio, step, workflow
from perdure.engines.interface import StepContext, here

broken = [False]


@dataclass
class Payment:
    """What a signal carries."""

    amount: int


@step(retry=None)
def tell(event: str, *values: Any) -> None:
    """Send signals to the run that calls it, each twice, so that they are there before they are waited for."""
    run = cast(StepContext, here.get()).run_id
    for n, value in enumerate(values):
        for _ in range(2):
            perdure.signal(run, event, value, id=f"{event}{n}")
    note("tell", event)


@step(retry=None)
def tell_other(run: str, event: str, key: str, value: Any) -> None:
    """Send a run a signal."""
    perdure.signal(run, event, value, key=key)


@step(retry=None)
def fragile(name: str) -> str:
    """Fails as long as it is broken."""
    note(name)
    if broken[0]:
        raise ConnectionError(name)
    return name


def resumed(bench: Bench, flow: Any) -> tuple[Any, list[Any]]:
    """Run a workflow that fails at `fragile`, and resume it: its result, and what its steps did after that."""
    broken[0] = True
    error = bench.run(flow)
    assert isinstance(error, ConnectionError), error
    broken[0] = False
    before = len(ledger)
    result = bench.run(flow)
    return result, steps()[before:]


@shape
def sleeps_are_slept_once(bench: Bench) -> None:
    moments: list[float] = []

    @workflow
    def naps() -> str:
        do("a")
        moments.append(datetime.now(UTC).timestamp())
        perdure.sleep(0)
        perdure.sleep("200ms")
        perdure.sleep_until(datetime.now(UTC) - timedelta(days=1))
        moments.append(datetime.now(UTC).timestamp())
        return fragile("b")

    assert resumed(bench, naps) == ("b", ["b"])
    assert steps() == ["a", "b", "b"]
    assert max(later - former for former, later in pairwise(moments)) > 0.19


@shape
def signals_are_taken_in_order(bench: Bench) -> None:
    @workflow
    def asks() -> list[Any]:
        tell("n", 1, 2, 3)
        first = perdure.wait_for("n")
        fragile("f")
        return [first, perdure.wait_for("n", type=int), perdure.wait_for("n", timeout="1h")]

    result, made = resumed(bench, asks)
    assert result == [1, 2, 3]
    assert made == ["f"]


@shape
def what_does_not_fit_is_set_aside(bench: Bench) -> None:
    @workflow
    def paid() -> int:
        tell("paid", "much", {"amount": "x"}, {"amount": 5}, {"amount": 6})
        return sum(perdure.wait_for("paid", type=Payment).amount for _ in range(2))

    assert bench.run(paid) == 11


@shape
def nobody_sends_anything(bench: Bench) -> None:
    @workflow
    def insists() -> str:
        try:
            perdure.wait_for("never", timeout="50ms")
        except TimeoutError as error:
            do(type(error).__name__)
        found = perdure.wait_for("never", timeout="10ms", default="nothing")
        fragile("f")
        return str(found)

    assert resumed(bench, insists) == ("nothing", ["f"])
    assert steps() == ["WaitTimeout", "f", "f"]


@shape
def a_timeout_that_ends_the_run_is_waited_for_anew(bench: Bench) -> None:
    @workflow
    def waits() -> Any:
        do("a")
        return perdure.wait_for("go", timeout="50ms")

    for _ in range(2):
        assert type(bench.run(waits)).__name__ == "WaitTimeout"
    assert steps() == ["a"]


@shape
def the_first_of_several(bench: Bench) -> None:
    @workflow
    def races() -> list[Any]:
        tell("b", "x")
        tell("a", 1)
        waits = perdure.event("a", type=int), perdure.timer("100ms"), perdure.event("b")
        won = [perdure.wait_any(*waits) for _ in range(3)]
        fragile("f")
        return [(waits.index(one.wait), one.value, one.status) for one in won]

    result, made = resumed(bench, races)
    assert result == [(2, "x", "done"), (0, 1, "done"), (1, None, "done")]
    assert made == ["f"]


@shape
def branches_wait_side_by_side(bench: Bench) -> None:
    @workflow
    async def gathers() -> list[Any]:
        gate = asyncio.Event()

        async def branch(n: int) -> list[Any]:
            await aio.sleep(n)
            return [await aio.wait_for("n"), n]

        async def opens() -> str:
            await aio.wait_for("never", timeout="10ms", default=None)
            gate.set()
            return await ado("opened")

        tell("n", "one", "two")
        first = await asyncio.gather(branch(0), opens(), gate.wait())
        return [*first[:2], await branch(0), fragile("f")]

    result, made = resumed(bench, gathers)
    assert result == [["one", 0], "opened", ["two", 0], "f"]
    assert made == ["f"]


@shape
def a_wait_is_given_up(bench: Bench) -> None:
    @workflow
    async def gives_up() -> list[Any]:
        try:
            async with asyncio.timeout(0.05):
                await aio.wait_for("n")
        except TimeoutError:
            await ado("given up")
        tell("n", 7)
        try:
            return [await aio.wait_for("n"), fragile("f")]
        finally:
            await aio.sleep("10ms")

    result, made = resumed(bench, gives_up)
    assert result == [7, "f"]
    assert made == ["f"]


@shape
def children_sleep(bench: Bench) -> None:
    @workflow
    def inner(n: int) -> str:
        do(f"before {n}")
        perdure.sleep("30ms")
        return do(f"after {n}")

    @workflow
    def children() -> list[str]:
        return [inner(1), inner(2), fragile("f")]

    result, made = resumed(bench, children)
    assert result == ["after 1", "after 2", "f"]
    assert made == ["f"]


@shape
def children_take_the_signals_of_their_root(bench: Bench) -> None:
    """Whoever began to wait first is first, root or child; what does not fit, or is not taken, is not lost."""

    @workflow
    def grandchild(n: int) -> list[Any]:
        won = perdure.wait_any(perdure.timer("1h"), perdure.event("n", type=int))
        return [n, won.value, perdure.wait_for("never", timeout="20ms", default="nobody")]

    @workflow
    def asks_child(n: int) -> list[Any]:
        found = [perdure.wait_for("n", type=int), perdure.wait_for("key", key=f"{n}", timeout="1h"), *grandchild(n)]
        return [*found, fragile("f")]

    @workflow
    def has_children() -> list[Any]:
        tell("n", 1, "no number", 2, 3, 4, 5)
        tell("key", "without")
        run = cast(Any, here.get()).root_id
        tell_other(run, "key", "2", "second")
        tell_other(run, "key", "1", "first")
        return [asks_child(1), perdure.wait_for("n"), asks_child(2)]

    result, made = resumed(bench, has_children)
    assert result == [[1, "first", 1, 2, "nobody", "f"], 3, [4, "second", 2, 5, "nobody", "f"]]
    assert made == ["f", "f"]


@shape
def a_child_gives_up_what_it_waits_for(bench: Bench) -> None:
    @workflow
    async def gives_up_at_once() -> Any:
        try:
            async with asyncio.timeout(0.05):
                await aio.wait_for("late")
        except TimeoutError:
            await ado("given up")
        tell_other(cast(Any, here.get()).root_id, "late", "", 1)
        return await aio.wait_for("other", timeout="10ms", default=None)

    @workflow
    async def outlives_it() -> list[Any]:
        return [await gives_up_at_once(), await aio.wait_for("late"), fragile("f")]

    result, made = resumed(bench, outlives_it)
    assert result == [None, 1, "f"]
    assert made == ["f"]


@shape
def a_run_that_waits_is_out_of_time(bench: Bench) -> None:
    @workflow(timeout="300ms")
    def sync_waits() -> None:
        perdure.wait_for("never")

    @workflow(timeout="300ms")
    async def async_waits() -> None:
        await asyncio.gather(aio.wait_for("never"), aio.sleep("1d"))

    for late in (sync_waits, async_waits):
        assert type(bench.run(late)).__name__ == "DeadlineExceeded"
    bench.outcomes.clear()
