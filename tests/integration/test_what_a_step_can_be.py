"""Whatever can be called can be a step; arguments and results are kept as they are, or refused on the first run."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import perdure
from conftest import Machine, Trouble
from perdure import Retry, step, workflow
from perdure.errors import NotStorable, OptionError, StopRun


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
    """An instance that cannot be stored: its class stands for it."""

    def __init__(self) -> None:
        self.lock = object()

    @step
    def send(self, n: int) -> int:
        return n


def add(a: int, b: int = 10, *rest: int, extra: int = 0) -> int:
    return a + b + sum(rest) + extra


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


@dataclass
class Point:
    x: float
    tags: tuple[str, ...]


def test_both_runs_see_the_value_that_was_saved(machine: Machine) -> None:
    """Type and content are the same, also if the step keeps and changes what it returned."""
    broken, seen = [True], []
    kept: list[Any] = []

    @step
    def work() -> list[Any]:
        kept.append([1, (2, "x"), {3: b"y"}, {4}, float("inf"), 2**70, None, True])
        return kept[-1]

    @step
    def point() -> Point:
        return Point(0.1, ("a",))

    @step(retry=None)
    def end() -> None:
        if broken[0]:
            raise Trouble

    @workflow
    def wf() -> None:
        value = work()
        kept[-1].append("changed by the step")
        seen.append((repr(value), repr(point())))
        value.append("changed by the workflow")
        end()

    with pytest.raises(Trouble):
        wf()
    broken[0] = False
    machine.boot()
    wf()
    assert seen[0] == seen[1]
    assert "changed" not in seen[0][0]


@pytest.mark.parametrize(
    "value", [object(), lambda: 1, open, {"deep": [object()]}], ids=["object", "function", "io", "deep"]
)
def test_what_cannot_be_stored_is_refused_on_the_first_run(machine: Machine, value: Any) -> None:
    """As a result and as an argument; the error names the step, and is not tried again."""

    @step
    def gives() -> Any:
        machine.ran.append("gives")
        return value

    @step
    def takes(value: Any) -> None:
        machine.ran.append("takes")

    @workflow
    def result() -> None:
        gives()

    @workflow
    def argument() -> None:
        takes(value)

    with pytest.raises(NotStorable, match=r"step '.*gives'"):
        result()
    with pytest.raises(NotStorable, match=r"step '.*takes'"):
        argument()
    assert machine.ran == ["gives"]


def test_a_coroutine_that_was_not_awaited_is_refused(machine: Machine) -> None:
    """A step that returns a coroutine did nothing: it must not pass for done, nor complain when it is deleted."""

    async def send() -> None: ...

    work = step(lambda: send(), name="work")

    @workflow
    def wf() -> None:
        work()

    with pytest.raises(NotStorable, match="never awaited"):
        wf()
    gc.collect()


def test_idempotency_keys(machine: Machine) -> None:
    """The same for all attempts and after a resume; different for every other call and in every other run."""
    broken = [True]

    @step(retry=Retry(attempts=2, jitter=0))
    def work(n: int) -> None:
        machine.ran.append((n, perdure.idempotency_key()))
        if n == 2 and broken[0]:
            raise Trouble

    @workflow
    def wf() -> None:
        work(1)
        work(1)
        work(2)

    with pytest.raises(Trouble):
        wf()
    machine.boot()
    broken[0] = False
    wf()
    keys = [key for _, key in machine.ran]  # type: ignore[misc]
    assert len(keys) == 5
    assert keys[2] == keys[3] == keys[4]
    assert len(set(keys)) == 3
    assert all(len(key) == 32 and int(key, 16) for key in keys)
    wf()
    assert not set(keys) & {key for _, key in machine.ran[5:]}  # type: ignore[misc]


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "near miss": (lambda: step(timout="3s")(add), "did you mean 'timeout'"),
    "far miss": (lambda: step(colour="red")(add), "give one of its options: name, retry"),
    "workflow option": (lambda: workflow(nmae="x")(add), "did you mean 'name'"),
    "no function": (lambda: step("charge"), "not a function"),
    "twice": (lambda: step(step(add)), "is already a step"),
    "generator": (lambda: step(lambda: (yield)), "generator"),
    "empty name": (lambda: step(name="")(add), "name"),
    "zero timeout": (lambda: step(timeout=0)(add), "timeout is 0"),
    "bad timeout": (lambda: step(timeout="soon")(add), "timeout"),
    "bad retry": (lambda: step(retry=3)(add), "retry"),
    "local and isolated": (lambda: step(isolate=True)(lambda: 1), "top level"),
    "workflow of a step": (lambda: workflow(step(add)), "only decorator"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_when_the_decorator_runs(mistake: str) -> None:
    """What is wrong, and what was probably meant."""
    make, text = MISTAKES[mistake]
    with pytest.raises(OptionError, match=text):
        make()


@pytest.mark.parametrize(
    ("name", "value"), [("STEP_TIMEOUT_MS", "soon"), ("STEP_TIMEOUT_MS", "-1"), ("PERDURE_ENGINE", "cloud://x")]
)
def test_wrong_settings_are_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The setting, its value, and what it could be."""
    monkeypatch.setenv(name, value)

    @workflow
    def wf() -> None:
        step(add)(1)

    with pytest.raises(OptionError, match=rf"{name}[\s\S]*'{value}'|'{value}'[\s\S]*{name}"):
        wf()


def test_stopping_a_run_is_no_exception() -> None:
    """`except Exception` does not catch it."""
    assert not issubclass(StopRun, Exception)
