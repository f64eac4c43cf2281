"""How runs end: what was deferred is done, what was done is undone, and time runs out."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, ado, do, fail, shape

import perdure
from perdure import Retry, defer, step, workflow
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
        defer(close, "a")
        result = fragile()
        defer(close, "b")
        return result

    for _ in range(2):
        assert isinstance(bench.run(tidy_twice), ConnectionError)
    broken[0] = False
    assert bench.run(tidy_twice) == "up"
    again = ["fragile", ("close", "a")]
    assert steps() == ["first", *again, *again, "fragile", ("close", "b"), ("close", "a")]


@shape
def a_clean_up_that_fails(bench: Bench) -> None:
    @step(retry=QUICK)
    def stubborn(what: str) -> None:
        note("stubborn", what)
        raise ConnectionError("cannot close")

    @workflow
    def untidy(how: str) -> str:
        defer(close, "a")
        defer(stubborn, "b")
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
        defer(aclose, "b")
        defer(close, "c")
        raise ConnectionError("no luck")

    assert isinstance(bench.run(atidy), ConnectionError)
    assert steps() == [("acharge", "a"), ("close", "c"), ("aclose", "b"), ("refund", "a")]


@shape
def children_clean_up_by_themselves(bench: Bench) -> None:
    @workflow
    def inner(how: str) -> str:
        defer(close, how)
        charge(how)
        return fail(how) if how == "badly" else do(how)  # type: ignore[return-value]

    @workflow
    def outer() -> None:
        defer(close, "outer")
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


@shape
def a_step_that_outlasts_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=3, delay="10ms"), timeout="60s")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(60)

    @step(retry=QUICK, timeout="60s")
    def hang() -> None:
        note("hang")
        threading.Event().wait(2)

    @workflow(timeout="600ms")
    def short(day: str) -> str:
        defer(close, "a")
        try:
            hang()
        except Exception:
            do("not reached")
        return do("not reached")

    @workflow(timeout="600ms")
    async def ashort(day: str) -> None:
        await ado("before")
        await asyncio.gather(ahang(), asyncio.sleep(30))

    began = time.monotonic()
    assert late(bench.run(short, "monday"), "600 ms")
    assert late(bench.run(ashort, "monday"), "600 ms")
    assert time.monotonic() - began < 20
    assert steps() == ["hang", ("close", "a"), "before", "ahang"]
    bench.told.clear()


@shape
def waits_end_with_the_run(bench: Bench) -> None:
    @step(retry=Retry(attempts=5, delay="50s", cap="50s", jitter=0, total="1h"))
    def flaky() -> None:
        note("flaky")
        raise ConnectionError("again")

    @workflow(timeout="700ms")
    def waiting() -> None:
        defer(close, "a")
        flaky()

    @workflow(timeout="700ms")
    async def own_waits() -> None:
        defer(close, "b")
        try:
            await asyncio.sleep(60)
        except Exception:
            do("not reached")

    began = time.monotonic()
    assert late(bench.run(waiting), "700 ms")
    assert late(bench.run(own_waits), "700 ms")
    assert time.monotonic() - began < 20
    assert steps() == ["flaky", ("close", "a"), ("close", "b")]
    bench.told.clear()


@shape
def items_are_no_dead_letters_because_of_a_deadline(bench: Bench) -> None:
    slow = [True]

    @step(retry=None, timeout="60s")
    def item(n: int) -> int:
        note("item", n)
        if n > 1 and slow[0]:
            time.sleep(2)
        return n

    @workflow(timeout="1s")
    def many() -> list[Any]:
        batch = item.map(range(4), concurrency=4)
        return [list(batch.results), batch.ok]

    assert late(bench.run(many), "1 s")
    slow[0] = False
    assert bench.run(many) == [[0, 1, 2, 3], True], "and the resumed run has its time anew"
    assert sorted(steps()) == sorted([("item", n) for n in (0, 1, 2, 3, 2, 3)])
    bench.told.clear()
    ledger.sort()


@shape
def children_are_bound_by_their_parents(bench: Bench) -> None:
    @step(retry=None, timeout="60s")
    async def ahang() -> None:
        note("ahang")
        await asyncio.sleep(60)

    @workflow(timeout="1h")
    async def inside() -> None:
        defer(close, "inside")
        await ahang()

    @workflow(timeout="800ms")
    async def outside() -> None:
        defer(close, "outside")
        await inside()

    error = bench.run(outside)
    assert late(error, "800 ms")
    assert "workflow 'outside'" in error.what
    assert steps() == ["ahang", ("close", "inside"), ("close", "outside")]
    bench.told.clear()


@shape
def time_enough(bench: Bench) -> None:
    @workflow(timeout="1h")
    async def ample() -> str:
        await asyncio.sleep(0.01)
        return await ado("done")

    assert bench.run(ample) == "done"
