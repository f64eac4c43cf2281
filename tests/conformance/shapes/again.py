"""Running again: time and chance, ids, edited scripts."""

from __future__ import annotations

from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, add, do, fail, shape

import perdure
from perdure import step, workflow
from perdure.errors import Drift, OtherInputs


@shape
def time_and_chance_stay_the_same(bench: Bench) -> None:
    broken = [True]
    seen: list[Any] = []

    @step(retry=None)
    def fragile_clock() -> None:
        if broken[0]:
            raise ConnectionError("clock")

    @workflow
    def chance() -> bool:
        values = (perdure.now(), perdure.uuid(), perdure.random())
        if values not in seen:
            seen.append(values)
        fragile_clock()
        return values[0].tzinfo is not None and 0 <= values[2] < 1

    bench.run(chance)
    broken[0] = False
    assert bench.run(chance) is True
    assert len(seen) == 1


@shape
def exactly_one_run_has_an_id(bench: Bench) -> None:
    @workflow
    def once(n: int) -> int:
        return add(n)

    assert bench.run(once, 1, id="once") == 2
    assert bench.run(once, 1, id="once") == 2
    assert len(ledger) == 1
    other = bench.run(once, 2, id="once")
    assert isinstance(other, OtherInputs)
    assert "recorded: once(1)" in other.what
    assert "now:      once(2)" in other.what
    assert len(ledger) == 1
    bench.outcomes.pop()  # the id in the message is another on each engine


@shape
def a_finished_run_is_finished(bench: Bench) -> None:
    keys: list[str] = []

    @step(retry=None)
    def keyed_step() -> None:
        keys.append(perdure.idempotency_key())

    @workflow
    def daily(day: str) -> str:
        keyed_step()
        return do(day)

    for _ in range(3):
        assert bench.run(daily, "monday") == "monday"
    assert steps() == ["monday"] * 3
    assert len(set(keys)) == 3, "each run has keys of its own"


@shape
def one_key_for_every_attempt(bench: Bench) -> None:
    keys: list[str] = []

    @step(retry=QUICK)
    def charged(n: int) -> None:
        keys.append(perdure.idempotency_key())
        if perdure.attempt() < 2:
            raise ConnectionError("again")

    @workflow
    def charging() -> None:
        charged(1)
        charged(1)

    bench.run(charging)
    assert len(keys) == 4
    assert keys[0] == keys[1] != keys[2] == keys[3]


@shape
def a_step_with_a_key(bench: Bench) -> None:
    @step(retry=None, key=lambda order: order["id"])
    def ship(order: dict[str, int]) -> int:
        note("ship", order["id"])
        return order["id"]

    @workflow
    def shipping() -> list[int]:
        return [ship({"id": 1, "n": 1}), ship({"id": 2, "n": 1})]

    assert bench.run(shipping) == [1, 2]


@shape
def a_step_is_inserted(bench: Bench) -> None:
    @workflow(name="inserted")
    def first_edition() -> None:
        do("one")
        fail("insert")

    assert isinstance(bench.run(first_edition), KeyError)

    @workflow(name="inserted")
    def second_edition() -> list[Any]:
        return [add(1), do("one"), do("two")]

    assert bench.run(second_edition) == [2, "one", "two"]
    assert steps() == ["one", ("fail", "insert"), ("add", 1, 1), "two"]


@shape
def steps_change_places(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def last(name: str) -> str:
        note("last")
        if broken[0]:
            raise ConnectionError("last")
        return name

    @workflow(name="reordered")
    def first_edition(n: int) -> list[str]:
        return [do("x"), str(add(n)), last("z")]

    assert isinstance(bench.run(first_edition, 5), ConnectionError)
    broken[0] = False

    @workflow(name="reordered")
    def second_edition(n: int) -> list[str]:
        return [str(add(n)), do("x"), last("z")]

    assert bench.run(second_edition, 5) == ["6", "x", "z"]
    assert steps() == ["x", ("add", 5, 1), "last", "last"]


@shape
def other_inputs_are_drift(bench: Bench) -> None:
    @workflow(name="drifting")
    def first_edition(n: int) -> None:
        add(n)
        fail("drift")

    bench.run(first_edition, 7)

    @workflow(name="drifting")
    def second_edition(n: int) -> None:
        add(n, 2)
        do("never")

    error = bench.run(second_edition, 7)
    assert isinstance(error, Drift)
    assert "recorded: add(7)" in error.what
    assert "now:      add(7, 2)" in error.what
    assert steps() == [("add", 7, 1), ("fail", "drift")], "nothing was executed"

    assert isinstance(bench.run(second_edition, 7), Drift), "and it stays so until somebody decides"

    @workflow(name="drifting")
    def third_edition(n: int) -> int:
        return add(n)

    assert bench.run(third_edition, 7) == 8, "put back, it goes on"
    assert len(ledger) == 2


@shape
def a_handle(bench: Bench) -> None:
    @workflow
    def started(n: int) -> int:
        return add(n)

    handle = started.start(20)
    assert handle.result(60) == 21
    assert handle.status() == "done"
    bench.outcomes.append(handle.result())
