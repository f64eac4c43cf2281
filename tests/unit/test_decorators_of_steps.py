"""Other decorators around steps and workflows: refused where they would be wrong, and harmless where they are not."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conftest import Machine
from perdure import Breaker, Rate, retry, step, workflow
from perdure.core.execution.spec import spec_of
from perdure.engines.local import engine as local
from perdure.errors import NotStorable, OptionError, UsageError


@step
def charge(n: int) -> int:
    """Charge it."""
    return n


@workflow
def nightly(n: int) -> int:
    return charge(n)


class Client:
    @step
    def fetch(self, n: int) -> int:
        return n


@functools.wraps(charge)
def wrapper(n: int) -> int:
    return charge(n) + 1


def test_a_function_that_wraps_a_step_is_no_step() -> None:
    """functools.wraps copies all attributes of the step to the wrapper; it must not be taken for the step by them."""
    assert spec_of(charge) is not None
    assert spec_of(wrapper) is None
    assert retry(attempts=2)(wrapper)(1) == 2
    assert step(wrapper, name="wrapper", retry=None)(1) == 2


@pytest.mark.parametrize("decorator", [Breaker("svc"), Rate("10/s", name="svc")], ids=["breaker", "rate"])
@pytest.mark.parametrize("fn", [charge, nightly, Client().fetch], ids=["step", "workflow", "method"])
def test_a_guard_above_a_step_or_a_workflow_is_refused(decorator: Any, fn: Any) -> None:
    """It would run at each resume, also for calls whose results are saved; the hint says where it belongs."""
    with pytest.raises(OptionError, match=r"is put above (step|workflow) '\w+") as refused:
        decorator(fn)
    assert "@step(" in refused.value.hint


@pytest.mark.parametrize("fn", [charge, nightly, Client().fetch], ids=["step", "workflow", "method"])
def test_a_retry_above_a_step_or_a_workflow_is_refused(fn: Any) -> None:
    """Both have attempts of their own, which would multiply."""
    with pytest.raises(OptionError, match="has its own attempts"):
        retry(fn)


def pages() -> Iterator[int]:
    """Fails while it is read."""
    yield 1
    raise ConnectionError("down")


async def apages() -> AsyncIterator[int]:
    """The same, async."""
    yield 1


class Pages:
    """An object that can be called, and gives a generator."""

    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize("guard", [Breaker("service"), Rate("10/s", name="service")])
@pytest.mark.parametrize("fn", [pages, apages, partial(pages), Pages(), Client])
def test_a_guard_above_what_fails_after_the_call_is_refused(guard: Any, fn: Any) -> None:
    """A generator fails while it is read: no breaker would ever open."""
    with pytest.raises(OptionError, match=r"is given the (generator|class)"):
        guard(fn)


def test_a_call_that_only_returns_a_generator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a coroutine of an ordinary function; a class may be called, and so may what returns a list."""
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    guard = Breaker("service")

    async def fetch() -> int:
        return 1

    for lazy in (lambda: pages(), lambda: apages(), lambda: fetch()):
        with pytest.raises(UsageError, match=r"returns a (generator|coroutine)"):
            guard.call(lazy)
    assert guard.call(lambda: [1]) == [1]
    assert isinstance(guard.call(Client), Client)
    local.close_all()


def test_the_map_of_a_wrapper_is_refused() -> None:
    """It would leave out what the decorator does; a step's own map, and a bound one, are not meant."""
    with pytest.raises(UsageError, match="a decorator has made around step 'charge'"):
        wrapper.map([1])  # type: ignore[attr-defined]
    for own in (charge, Client().fetch):
        with pytest.raises(UsageError, match="outside a workflow"):
            own.map([1])  # type: ignore[attr-defined]


def logged(fn: Any) -> Any:
    """What a user's own decorator does: it stands in the class instead of the step."""

    @functools.wraps(fn)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return inner


class Account:
    def __init__(self, number: int) -> None:
        self.number = number
        self.connection = object()

    def __perdure_key__(self) -> int:
        return self.number

    @logged
    @step(retry=None)
    def balance(self, day: str) -> str:
        calls.append(self.number)
        return f"{day}: {self.number}"

    @staticmethod
    @step(retry=None)
    def rate(day: str) -> str:
        return day


class Nameless:
    @logged
    @step(retry=None)
    def balance(self, day: str) -> str:
        return day


class Saving(Account):
    pass


calls: list[int] = []


def test_a_decorator_above_a_step_that_is_a_method(machine: Machine) -> None:
    """The instance is known as of any method: by what it goes by, also one of a class below; else it is refused."""

    @workflow(once=True)
    def job() -> list[str]:
        return [Account(1).balance("mon"), Account(2).balance("mon"), Saving(3).balance("mon"), Account.rate("mon")]

    assert job() == job() == ["mon: 1", "mon: 2", "mon: 3", "mon"]
    assert calls == [1, 2, 3]

    @workflow
    def nameless() -> str:
        return str(Nameless().balance("mon"))

    with pytest.raises(NotStorable, match="is a method, and its instance cannot be stored") as refused:
        nameless()
    assert "__perdure_key__" in refused.value.hint
