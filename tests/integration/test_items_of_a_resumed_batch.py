"""Every item finds its own checkpoint again, by content or key; changed items are drift."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from square_maps import KINDS, squares

from conftest import Died, Machine, Trouble
from perdure import step, workflow
from perdure.errors import Drift


@pytest.mark.parametrize("kind", KINDS)
def test_items_are_matched_by_content_not_by_place(machine: Machine, kind: str) -> None:
    """Resumed in another order, every item finds its own result, and none is done again."""
    dies, items = {9}, [0, 1, 2, 3, 4, 9]
    wf = squares(machine, kind, set(), dies, source=items)
    with pytest.raises(Died):
        wf(None)
    done = len(machine.steps())
    dies.clear()
    machine.ran.clear()
    items.reverse()
    assert wf(None)[0] == [81, 16, 9, 4, 1, 0]
    assert len(machine.ran) == 6 - done


def test_a_key_identifies_items(machine: Machine) -> None:
    """With key=, an item may hold what cannot be stored; the same key with other content is drift."""
    trouble = [True]

    class Order:
        def __init__(self, id: int) -> None:
            self.id = id

    @step
    def work(order: Order) -> int:
        machine.ran.append(order.id)
        return order.id

    @step(retry=None)
    def end() -> None:
        if trouble[0]:
            raise Trouble

    @workflow
    def wf() -> list[int]:
        batch = work.map([Order(1), Order(2)], key=lambda order: order.id)
        end()
        return list(batch.results)

    with pytest.raises(Trouble):
        wf()
    trouble[0] = False
    assert wf() == [1, 2]
    assert machine.ran == [1, 2]


def test_a_changed_item_under_its_key_is_drift(machine: Machine) -> None:
    """The key says it is the same item; its content says otherwise."""
    amount = [10]

    @step
    def work(order: dict[str, int]) -> None: ...

    @step(retry=None)
    def end() -> None:
        raise Trouble

    @workflow
    def wf() -> None:
        work.map([{"id": 1, "amount": amount[0]}], key=lambda order: order["id"])
        end()

    with pytest.raises(Trouble):
        wf()
    amount[0] = 20
    with pytest.raises(Drift, match=r"'amount': 10[\s\S]*'amount': 20"):
        wf()


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_list_is_drift_before_anything_is_executed(machine: Machine, kind: str) -> None:
    """Items that were done are gone, and a new one is there: nothing runs."""
    dies, items = {9}, [1, 2, 3, 4, 9]
    wf = squares(machine, kind, set(), dies, source=items)
    with pytest.raises(Died):
        wf(None)
    assert machine.steps()
    dies.clear()
    machine.ran.clear()
    items[:] = [9, 77]
    with pytest.raises(Drift):
        wf(None)
    assert machine.ran == []


def test_generators_may_call_steps(machine: Machine) -> None:
    """Items are drawn on the workflow's own thread, as they are needed; pages are steps themselves."""
    dies = [True]

    @step
    def page(n: int) -> list[int]:
        machine.ran.append(f"page {n}")
        return [n * 10 + k for k in range(3)]

    @step
    def work(n: int) -> int:
        if n == 20 and dies[0]:
            raise Died
        machine.ran.append(n)
        return n

    def pages() -> Iterator[int]:
        for n in range(3):
            yield from page(n)

    @workflow
    def wf() -> list[int]:
        return list(work.map(pages()).results)

    with pytest.raises(Died):
        wf()
    dies[0] = False
    machine.boot()
    assert wf() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert len(machine.ran) == len(set(machine.ran)) == 12
