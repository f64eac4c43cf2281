"""How runs end: what was deferred is done, what was done is undone, and time runs out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, ado, do, fail, shape

import perdure
from perdure import Retry, defer, defer_every_end, step, workflow
from perdure.core.durations import seconds
from perdure.errors import DeadlineExceeded


@step(retry=None)
def close(what: str) -> None:
    note("close", what)


@step(retry=None)
def refund(receipt: str) -> None:
    note("refund", receipt)


@step(retry=None, undo=refund)
def charge(what: str) -> str:
    note("charge", what)
    return f"receipt {what}"


@shape
def deferred_calls_when_it_goes_well(bench: Bench) -> None:
    @workflow
    def tidy() -> str:
        for name in "ab":
            defer(close, name)
        charge("c")
        return do("work")

    assert bench.run(tidy) == "work"
    assert steps() == [("charge", "c"), "work", ("close", "b"), ("close", "a")], "and nothing is undone"


@shape
def deferred_calls_when_it_fails_and_again_when_it_is_resumed(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def fragile() -> str:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    @workflow
    def tidy_twice() -> str:
        do("first")
        defer_every_end(close, "a")
        result = fragile()
        defer_every_end(close, "b")
        return result

    for _ in range(2):
        assert isinstance(bench.run(tidy_twice), ConnectionError)
    broken[0] = False
    assert bench.run(tidy_twice) == "up"
    again = ["fragile", ("close", "a")]
    assert steps() == ["first", *again, *again, "fragile", ("close", "b"), ("close", "a")]


@shape
def deferred_calls_wait_for_the_final_end(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def fragile() -> str:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    @workflow
    def tidy_once() -> str:
        defer(close, do("first"))
        defer(close, charge("b"))
        return fragile()

    for _ in range(2):
        error = bench.run(tidy_once)
        assert isinstance(error, ConnectionError)
        assert any("2 deferred calls wait until the run is done or cancelled" in line for line in error.__notes__)
    broken[0] = False
    assert bench.run(tidy_once) == "up"
    failing = [("charge", "b"), "fragile", ("refund", "receipt b")]
    away = [("close", "receipt b"), ("close", "first")]
    assert steps() == ["first", *failing, *failing, ("charge", "b"), "fragile", *away]


@shape
def a_clean_up_that_fails(bench: Bench) -> None:
    @step(retry=QUICK)
    def stubborn(what: str) -> None:
        note("stubborn", what)
        raise ConnectionError("cannot close")

    @workflow
    def untidy(how: str) -> str:
        defer_every_end(close, "a")
        defer_every_end(stubborn, "b")
        return do(how) if how == "well" else fail(how)  # type: ignore[return-value]

    assert bench.run(untidy, "well") == "well"
    error = bench.run(untidy, "badly")
    assert isinstance(error, KeyError), "what the run has failed with comes first"
    assert any("defer:stubborn has failed, and is a dead letter" in line for line in error.__notes__)
    cleaned = [*[("stubborn", "b")] * 3, ("close", "a")]
    assert steps() == ["well", *cleaned, ("fail", "badly"), *cleaned]


@shape
def what_was_undone_is_done_again(bench: Bench) -> None:
    keys: list[str] = []
    broken = [True]

    @step(retry=None, undo=refund)
    def pay(what: str) -> str:
        note("pay", what)
        keys.append(perdure.idempotency_key())
        return f"receipt {what}"

    @step(retry=None)
    def ship() -> None:
        note("ship")
        if broken[0]:
            raise ConnectionError("no truck")

    @workflow
    def ordering() -> list[str]:
        do("kept")
        receipts = [pay("a"), pay("b"), *pay.map(["c"]).results]
        ship()
        return receipts

    receipts = ["receipt a", "receipt b", "receipt c"]
    made = [("pay", "a"), ("pay", "b"), ("pay", "c"), "ship"]
    undone = [("refund", each) for each in reversed(receipts)]
    for _ in range(2):
        assert isinstance(bench.run(ordering), ConnectionError)
    broken[0] = False
    assert bench.run(ordering) == receipts
    assert steps() == ["kept", *made, *undone, *made, *undone, *made]
    assert len(set(keys)) == 9


@shape
def an_undo_that_fails(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def unpaid(receipt: str) -> None:
        note("unpaid", receipt)
        raise ValueError("the bank is closed")

    @step(retry=None, undo=unpaid)
    def pay(what: str) -> str:
        note("pay", what)
        return what

    @step(retry=None)
    def ship() -> None:
        if broken[0]:
            raise ConnectionError("no truck")

    @workflow
    def stuck() -> str:
        paid = pay("a")
        ship()
        return paid

    assert isinstance(bench.run(stuck), ConnectionError)
    broken[0] = False
    assert bench.run(stuck) == "a"
    assert steps() == [("pay", "a"), ("unpaid", "a")], "what could not be undone stands"


@shape
def async_workflows_clean_up(bench: Bench) -> None:
    @step(retry=None)
    async def aclose(what: str) -> None:
        note("aclose", what)

    @step(retry=None, undo=refund)
    async def acharge(what: str) -> str:
        note("acharge", what)
        return what

    @workflow
    async def atidy() -> None:
        await acharge("a")
        defer_every_end(aclose, "b")
        defer_every_end(close, "c")
        raise ConnectionError("no luck")

    assert isinstance(bench.run(atidy), ConnectionError)
    assert steps() == [("acharge", "a"), ("close", "c"), ("aclose", "b"), ("refund", "a")]


@shape
def children_clean_up_by_themselves(bench: Bench) -> None:
    @workflow
    def inner(how: str) -> str:
        defer_every_end(close, how)
        charge(how)
        return fail(how) if how == "badly" else do(how)  # type: ignore[return-value]

    @workflow
    def outer() -> None:
        defer_every_end(close, "outer")
        inner("well")
        try:
            inner("badly")
        except KeyError:
            do("handled")
        raise ConnectionError("no luck")

    assert isinstance(bench.run(outer), ConnectionError)
    well = [("charge", "well"), "well", ("close", "well")]
    badly = [("charge", "badly"), ("fail", "badly"), ("refund", "receipt badly"), ("close", "badly")]
    assert steps() == [*well, *badly, "handled", ("close", "outer")]


# -- deadlines --------------------------------------------------------------------------------------------------------


def late(error: Any, timeout: str) -> bool:
    """Did the run end for that reason? What its message says beside that is another on each engine: the id."""
    return isinstance(error, DeadlineExceeded) and f"did not finish within {timeout}, the timeout of" in error.what


DEADLINES = {"600ms": "600 ms", "3s": "3 s", "15s": "15 s", "60s": "1 min"}
"""Ever longer ones, and how they are shown. Where a run is when its time is over depends on the machine: the next one
is tried until it is where it is meant to be."""


def at_the_deadline(bench: Bench, make: Callable[[str], Any], *expected: Any) -> Any:
    """Run what `make` defines with a deadline that is long enough for the steps to be as expected; its error.

    The deadline is the workflow's only argument, too, so that each is a run of its own.
    """
    before = len(ledger)
    for timeout, shown in DEADLINES.items():
        del ledger[before:]
        error = bench.run(make(timeout), timeout)
        assert late(error, shown)
        if steps()[before:] == list(expected):
            break
    assert steps()[before:] == list(expected)
    return error


@shape
def a_step_that_outlasts_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=3, delay="10ms"), timeout="60s")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(3600)

    @step(retry=QUICK, timeout="1h")
    def hang(day: str) -> None:
        note("hang")
        threading.Event().wait(3 * seconds(day, option="timeout"))

    def short(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def short(day: str) -> str:
            defer_every_end(close, "a")
            try:
                hang(day)
            except Exception:
                do("not reached")
            return do("not reached")

        return short

    def ashort(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def ashort(day: str) -> None:
            await ado("before")
            await asyncio.gather(ahang(), asyncio.sleep(3600))

        return ashort

    at_the_deadline(bench, short, "hang", ("close", "a"))
    at_the_deadline(bench, ashort, "before", "ahang")
    bench.told.clear()


@shape
def waits_end_with_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=5, delay="10m", cap="10m", jitter=0, total="9h"))
    def flaky() -> None:
        note("flaky")
        raise ConnectionError("again")

    def waiting(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def waiting(day: str) -> None:
            defer_every_end(close, "a")
            flaky()

        return waiting

    def own_waits(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def own_waits(day: str) -> None:
            defer_every_end(close, "b")
            try:
                await asyncio.sleep(3600)
            except Exception:
                do("not reached")

        return own_waits

    at_the_deadline(bench, waiting, "flaky", ("close", "a"))
    at_the_deadline(bench, own_waits, ("close", "b"))
    bench.told.clear()


@shape
def items_are_no_dead_letters_because_of_a_deadline(bench: Bench) -> None:
    slow: list[float] = []

    @step(retry=None, timeout="1h")
    def item(n: int) -> int:
        note("item", n)
        if n > 1 and slow:
            threading.Event().wait(slow[0])
        return n

    def many(timeout: str) -> Any:
        @workflow(timeout=timeout)
        def many(day: str) -> list[Any]:
            batch = item.map(range(4), concurrency=4)
            return [list(batch.results), batch.ok]

        return many

    for timeout, shown in DEADLINES.items():
        ledger.clear()
        slow[:] = [3 * seconds(timeout, option="timeout")]
        assert late(bench.run(many(timeout), timeout), shown)
        slow.clear()
        assert bench.run(many(timeout), timeout) == [[0, 1, 2, 3], True], "and the resumed run has its time anew"
        if sorted(steps()) == sorted([("item", n) for n in (0, 1, 2, 3, 2, 3)]):
            break
    assert sorted(steps()) == sorted([("item", n) for n in (0, 1, 2, 3, 2, 3)])
    bench.told.clear()
    ledger.sort()


@shape
def children_are_bound_by_their_parents(bench: Bench) -> None:
    @step(retry=None, timeout="1h")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(3600)

    @workflow(timeout="1h")
    async def inside(day: str) -> None:
        defer_every_end(close, "inside")
        await ahang()

    def outside(timeout: str) -> Any:
        @workflow(timeout=timeout)
        async def outside(day: str) -> None:
            defer_every_end(close, "outside")
            await inside(day)

        return outside

    error = at_the_deadline(bench, outside, "ahang", ("close", "inside"), ("close", "outside"))
    assert "workflow 'outside'" in error.what
    bench.told.clear()


@shape
def time_enough(bench: Bench) -> None:
    @workflow(timeout="1h")
    async def ample() -> str:
        await asyncio.sleep(0.01)
        return await ado("done")

    assert bench.run(ample) == "done"
