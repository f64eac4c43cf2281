"""What ends a run ends all of its branches: beside the one that sees it first, no other begins anything."""

from __future__ import annotations

import threading

import pytest

import perdure
from conftest import Machine
from perdure import step, workflow
from perdure.errors import Cancelled


def test_of_items_that_end_at_the_same_time_none_is_followed_by_another(machine: Machine) -> None:
    """The cancellation was asked for while they were under way, which is the next safe point for both."""
    both = threading.Barrier(2, timeout=60)

    @step
    def charge(order: int) -> int:
        machine.ran.append(order)
        if both.wait() == 0:
            perdure.run("orders").cancel()
            machine.world.time += 1
        both.wait()
        return order

    @workflow
    def charge_all() -> int:
        return len(charge.map(range(8), concurrency=2).results)

    with pytest.raises(Cancelled):
        charge_all.with_options(id="orders")()
    assert sorted(machine.ran) == [0, 1]
