"""What steps are given and what they return."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import add, do, shape

from perdure import step, workflow
from perdure.errors import NotStorable


@shape
def a_sequence(bench: Bench) -> None:
    @workflow
    def sequence(n: int) -> int:
        for _ in range(3):
            n = add(n)
        return n

    assert bench.run(sequence, 1) == 4
    assert steps() == [("add", 1, 1), ("add", 2, 1), ("add", 3, 1)]


@shape
def no_steps_at_all(bench: Bench) -> None:
    @workflow
    def empty(n: int = 7) -> list[int]:
        return [n]

    assert bench.run(empty) == [7]


@dataclasses.dataclass
class Order:
    id: int
    when: datetime.datetime
    price: decimal.Decimal
    tags: frozenset[str]


@step(retry=None)
def make(id: int) -> Order:
    note("make", id)
    return Order(id, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), decimal.Decimal("1.10"), frozenset("ab"))


@step(retry=None)
def price(order: Order) -> decimal.Decimal:
    note("price", order.id)
    return order.price * 2


@shape
def values_keep_their_types(bench: Bench) -> None:
    @workflow
    def typed(id: int) -> tuple[Order, decimal.Decimal]:
        order = make(id)
        return order, price(order)

    order, total = bench.run(typed, 3)
    assert type(order) is Order
    assert order.tags == frozenset("ab")
    assert (type(total), str(total)) == (decimal.Decimal, "2.20")


@shape
def arguments_in_every_form(bench: Bench) -> None:
    @workflow
    def forms() -> list[int]:
        return [add(1), add(1, 1), add(a=1), add(1, b=5)]

    assert bench.run(forms) == [2, 2, 2, 6]
    assert len(ledger) == 4


@shape
def the_same_call_again_and_again(bench: Bench) -> None:
    @workflow
    def again() -> int:
        return sum(len(do("x")) for _ in range(4))

    assert bench.run(again) == 4
    assert steps() == ["x"] * 4


@shape
def a_result_that_cannot_be_stored(bench: Bench) -> None:
    @step
    def stuck() -> Any:
        note("stuck")
        return object()

    @workflow
    def unstorable() -> None:
        stuck()

    assert isinstance(bench.run(unstorable), NotStorable)
    assert steps() == ["stuck"]


@shape
def an_argument_that_is_changed(bench: Bench) -> None:
    @step
    def change(items: list[int]) -> int:
        note("change")
        items.append(1)
        return len(items)

    @workflow
    def changing() -> int:
        return change([])

    bench.run(changing)
    assert bench.outcomes[0][:2] == ("raised", "ArgumentChanged")


@dataclasses.dataclass
class Account:
    number: int

    @step(retry=None)
    def charge(self, amount: int) -> int:
        note("charge", self.number, amount)
        return self.number + amount


@shape
def a_method(bench: Bench) -> None:
    @workflow
    def method() -> list[int]:
        account = Account(40)
        return [account.charge(2), *account.charge.map([1, 2]).results]

    assert bench.run(method) == [42, 41, 42]
