"""`@perdure.retry` around every kind of function; what cannot be called again is refused."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from retried import Clock, Flaky, aflaky, installed

from perdure import Retry, step, workflow
from perdure.api.retry import retry
from perdure.core.policies.retry import ONCE
from perdure.errors import OptionError, UsageError

SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return installed(monkeypatch)


def test_every_spelling() -> None:
    """Bare, with options, with a policy, as a function."""
    for decorate in (retry, retry(), retry(attempts=2), retry(Retry(attempts=2)), retry(Retry())):
        flaky = Flaky(OSError())
        assert decorate(flaky)() == 7
        assert flaky.calls == 2
    flaky = Flaky(OSError("once"))
    with pytest.raises(OSError, match="once"):
        retry(ONCE)(flaky)()
    assert flaky.calls == 1


def test_methods_of_all_kinds() -> None:
    """Ordinary, async, static and class methods, decorated from either side."""
    failures = [OSError() for _ in range(6)]

    class Client:
        kind = "k"

        def _fetch(self, n: int) -> tuple[object, int]:
            if failures:
                raise failures.pop()
            return self.kind, n

        @retry(attempts=9)
        def fetch(self, n: int) -> tuple[object, int]:
            return self._fetch(n)

        @retry(attempts=9)
        async def afetch(self, n: int) -> tuple[object, int]:
            return self._fetch(n)

        @staticmethod
        @retry
        def static(n: int) -> int:
            return n

        @retry  # type: ignore[type-var]
        @classmethod
        def made(cls, n: int) -> tuple[object, int]:
            return cls()._fetch(n)

    assert Client().fetch(1) == ("k", 1)
    failures.append(OSError())
    assert asyncio.run(Client().afetch(2)) == ("k", 2)
    assert Client.static(3) == 3
    failures.append(OSError())
    assert Client.made(4) == ("k", 4)
    assert failures == []


def test_the_function_keeps_its_name_and_signature() -> None:
    """Name, docstring, signature, and whether it is async."""

    @retry
    def fetch(day: str, *, fast: bool = False) -> str:
        """Fetch it."""
        return day

    assert (fetch.__name__, fetch.__doc__) == ("fetch", "Fetch it.")
    assert str(inspect.signature(fetch)) == "(day: 'str', *, fast: 'bool' = False) -> 'str'"
    assert not inspect.iscoroutinefunction(fetch)
    assert inspect.iscoroutinefunction(retry(aflaky))
    assert inspect.iscoroutinefunction(retry(functools.partial(aflaky, Flaky())))


@step
def a_step() -> None: ...


@workflow
def a_workflow() -> None: ...


def generator() -> Any:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        (a_step, r"step 'a_step'.*\s.*@step\(retry="),
        (a_workflow, "workflow 'a_workflow'"),
        (generator, "generator 'generator'"),
        (agenerator, "generator 'agenerator'"),
        (Flaky, "class 'Flaky'"),
        (5, "5, which is not a function"),
    ],
    ids=["step", "workflow", "generator", "agenerator", "class", "number"],
)
def test_what_cannot_be_called_again_is_refused(thing: Any, says: str) -> None:
    """When the decorator runs, with what to do instead."""
    with pytest.raises(OptionError, match=says):
        retry(thing)
    with pytest.raises(OptionError, match=says):
        retry(attempts=2)(thing)


def test_options_are_checked_when_the_decorator_runs() -> None:
    """A near miss is named; a policy's own rules hold."""
    with pytest.raises(OptionError, match="did you mean 'attempts'"):
        retry(attempt=5)  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="attempts=0"):
        retry(attempts=0)
    with pytest.raises(OptionError, match="and options too"):
        retry(Retry(), attempts=3)  # type: ignore[call-overload]


def test_a_coroutine_that_would_not_be_retried_is_an_error() -> None:
    """`retry(lambda: fetch())` would look as if it worked."""
    with pytest.raises(UsageError, match="returned a coroutine"):
        retry(lambda: aflaky(Flaky()))()


def test_it_is_light() -> None:
    """A script that retries plain functions loads no asyncio, no SQLite, and leaves no file behind."""
    program = """
import sys
from perdure.api.retry import retry
left = [OSError(), OSError()]
@retry(delay=0, jitter=0)
def fetch():
    if left:
        raise left.pop()
    return 7
assert fetch() == 7
print(*[name for name in ("asyncio", "apsw", "sqlite3", "filelock", "subprocess") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
