"""A default that is edited between two lives of a run is an argument that has changed, where a call means it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import Died, Machine
from perdure import step, workflow
from perdure.errors import ArgumentChanged, Drift

Body = Callable[[Callable[..., float]], float]


def price_of(machine: Machine, rate: float) -> Any:
    @step(name="defaulted-price")
    def price(n: int, rate: float = rate, *, fee: float = rate) -> float:
        machine.ran.append((n, rate, fee))
        return n * (1 + rate) + fee

    return price


def life(machine: Machine, price: Callable[..., float], body: Body, *, dies: bool = False) -> float:
    """A life of a run, with the step as the script has it then."""

    @step(name="defaulted-end", retry=None)
    def end() -> None:
        if dies:
            raise Died

    @workflow(name="defaulted")
    def flow() -> float:
        found = body(price)
        end()
        return found

    machine.boot()
    if dies:
        with pytest.raises(Died):
            flow()
        return 0
    return flow()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda price: price(100), lambda price: price(100)),
        (lambda price: price(100, 1), lambda price: price(100)),
        (lambda price: price(100, 1, fee=1), lambda price: price(100, fee=2)),
        (lambda price: sum(price.map([100]).results), lambda price: sum(price.map([100]).results)),
    ],
    ids=["left out", "given before", "given by name", "in a map"],
)
def test_a_call_that_means_another_input_drifts(machine: Machine, before: Body, after: Body) -> None:
    """The recorded default was 1, the script has 2: the message says that it was edited, and nothing is executed."""
    life(machine, price_of(machine, 1), before, dies=True)
    with pytest.raises(Drift, match="the default of rate and fee was edited since"):
        life(machine, price_of(machine, 2), after)
    assert machine.ran == [(100, 1, 1)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda price: price(100, 1, fee=1), lambda price: price(100, 1, fee=1)),
        (lambda price: price(100, 2, fee=2), lambda price: price(100)),
        (lambda price: price(100), lambda price: price(100, 1, fee=1)),
    ],
    ids=["the old one is given", "the new one was given", "the old one is given now"],
)
def test_a_call_that_means_the_same_has_its_record(machine: Machine, before: Body, after: Body) -> None:
    """Whatever the defaults were and are: what the function is given counts."""
    life(machine, price_of(machine, 1), before, dies=True)
    ran = list(machine.ran)
    life(machine, price_of(machine, 2), after)
    assert machine.ran == ran


def test_a_new_parameter_takes_its_first_default(machine: Machine) -> None:
    """It does not change the calls that were made; edited in a later life, it does."""

    def plain(n: int) -> float:
        machine.ran.append(n)
        return n

    def more(n: int, extra: int = 5) -> float:
        machine.ran.append((n, extra))
        return n + extra

    def edited(n: int, extra: int = 6) -> float:
        machine.ran.append((n, extra))
        return n + extra

    def body(price: Callable[..., float]) -> float:
        return price(1)

    name = "defaulted-more"
    life(machine, step(plain, name=name), body, dies=True)
    life(machine, step(more, name=name), body, dies=True)
    with pytest.raises(Drift, match="extra"):
        life(machine, step(edited, name=name), body)
    assert life(machine, step(more, name=name), body) == 1
    assert machine.ran == [1]


def test_runs_of_a_workflow_are_told_apart_by_what_they_are_given(machine: Machine) -> None:
    """With once=True: an edited default is another run; the old one, given now, is the old run."""

    def version(default: str) -> Any:
        @workflow(name="closes-by-default", once=True)
        def close(day: str = default) -> str:
            machine.ran.append(day)
            return f"closed {day}"

        return close

    assert version("monday")() == "closed monday"
    machine.boot()
    tuesday = version("tuesday")
    assert [tuesday(), tuesday("monday"), tuesday("tuesday"), tuesday()] == [
        *("closed tuesday", "closed monday"),
        *("closed tuesday", "closed tuesday"),
    ]
    machine.boot()
    assert version("monday")() == "closed monday"
    assert machine.ran == ["monday", "tuesday"]


@dataclass
class Rate:
    by: int

    def times(self, n: int) -> float:
        return self.by * n


def times(by: int, n: int) -> float:
    return by * n


@pytest.mark.parametrize("of", [lambda by: functools.partial(times, by), lambda by: Rate(by).times])
def test_what_a_function_is_bound_to_is_an_input(machine: Machine, of: Callable[[int], Any]) -> None:
    """A partial and a bound method drift when they are bound to something else, and not else."""

    def body(price: Callable[..., float]) -> float:
        return price(5)

    life(machine, step(of(2), name="bound-price"), body, dies=True)
    with pytest.raises(Drift, match="bound-price"):
        life(machine, step(of(3), name="bound-price"), body)
    assert life(machine, step(of(2), name="bound-price"), body) == 10


def test_a_step_that_changes_its_default_is_refused(machine: Machine) -> None:
    """A later call would be given the change in this life, and not in the next one."""

    @step(name="default-changed", retry=None)
    def add(n: int, to: list[int] = []) -> list[int]:  # noqa: B006  that is what it is about
        to.append(n)
        return to

    @workflow
    def default_changing() -> list[int]:
        return add(1)

    with pytest.raises(ArgumentChanged, match="default of its own"):
        default_changing()
    assert machine.steps() == []
