"""Whatever can be called can be a step, and one call is the same call in every spelling."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from plain_functions import add

from conftest import Machine, Trouble
from perdure import step, workflow


@dataclass
class Client:
    """A storable instance: part of its methods' inputs."""

    name: str

    @step
    def method(self, n: int) -> str:
        return f"{self.name} {n}"

    @step
    async def amethod(self, n: int) -> str:
        return f"{self.name} {n}"

    @staticmethod
    @step
    def static(n: int) -> int:
        return n + 1

    @step
    @staticmethod
    def static_too(n: int) -> int:
        return n + 2

    @classmethod
    @step
    def of_class(cls, n: int) -> str:
        return f"{cls.__name__} {n}"

    def __call__(self, n: int) -> int:
        return n + 3


class Socket:
    """An instance that cannot be stored, and says what it goes by."""

    def __init__(self) -> None:
        self.lock = object()

    def __perdure_key__(self) -> str:
        return "the socket"

    @step
    def send(self, n: int) -> int:
        return n


CALLS: dict[str, Callable[[], Any]] = {
    "method": lambda: Client("c").method(1),
    "static method": lambda: Client.static(1),
    "step around a static method": lambda: Client("c").static_too(1),
    "class method": lambda: Client.of_class(1),
    "method of what cannot be stored": lambda: Socket().send(1),
    "callable object": lambda: step(Client("c"), name="client")(1),
    "partial": lambda: step(functools.partial(add, 5), name="add")(1),
    "lambda": lambda: step(lambda n: n * 2, name="double")(4),
    "builtin": lambda: step(len)([1, 2, 3]),
    "builtin class": lambda: step(str, name="str")(7),
    "bound method": lambda: step("-".join, name="join")(["a", "b"]),
    "variable arguments": lambda: step(add, name="add")(1, 2, 3, 4, extra=5),
}


@pytest.mark.parametrize("what", CALLS)
def test_what_can_be_called_can_be_a_step(machine: Machine, what: str) -> None:
    """It gives what the plain call gives, and the same from its record."""
    call = CALLS[what]
    plain = call()
    broken = [True]

    @step(retry=None)
    def end() -> None:
        if broken[0]:
            raise Trouble

    @workflow
    def wf() -> Any:
        result = call()
        end()
        return result

    with pytest.raises(Trouble):
        wf()
    assert len(machine.steps()) == 1
    broken[0] = False
    assert wf() == plain
    assert len(machine.steps()) == 2


def test_instances_are_part_of_the_inputs(machine: Machine) -> None:
    """The same method of two instances is two calls; async methods and method maps work alike."""

    @workflow
    async def wf() -> Any:
        batch = await Client("c").amethod.map([1, 2])
        return [Client("a").method(1), Client("b").method(1), await Client("a").amethod(1), list(batch.results)]

    assert asyncio.run(wf()) == ["a 1", "b 1", "a 1", ["c 1", "c 2"]]
    assert len(machine.steps()) == 5


def test_keywords_and_defaults_make_no_difference(machine: Machine) -> None:
    """work(1), work(a=1) and work(1, 10) are the same call: resumed in another spelling, nothing runs."""
    spelling, broken = [0], [True]

    def counted(a: int, b: int = 10) -> int:
        machine.ran.append(a)
        return a + b

    work = step(counted, name="work")

    @step(retry=None)
    def end() -> None:
        if broken[0]:
            raise Trouble

    @workflow
    def wf() -> int:
        result = [lambda: work(1), lambda: work(a=1), lambda: work(1, 10), lambda: work(b=10, a=1)][spelling[0]]()
        end()
        return result

    for n in range(4):
        spelling[0] = n
        with pytest.raises(Trouble):
            wf()
    broken[0] = False
    assert wf() == 11
    assert machine.ran == [1]


def test_attributes_of_a_wrapped_object_do_not_replace_the_steps_own(machine: Machine) -> None:
    """A callable object may have any attributes."""

    class Client:
        def __init__(self) -> None:
            self.spec = "mine"

        def __call__(self, n: int) -> int:
            return n + 1

    call = step(Client(), name="call", key=lambda n: n)

    @workflow
    def wf() -> int:
        return call(1)

    assert wf() == 2
