"""`@perdure.retry` alone: the policy around any function, with nothing saved."""

from __future__ import annotations

import asyncio
import functools
import inspect
import subprocess
import sys
import urllib.error
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from conftest import Machine
from perdure import Retry, step, workflow
from perdure.api import retry as retrying
from perdure.api.retry import retry
from perdure.core.policies.retry import ONCE
from perdure.errors import Drift, OptionError, UsageError

SOURCE = Path(__file__).parents[2] / "src"


class Clock(retrying.Clock):
    """Moves when somebody sleeps; `slept` has all waits."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:  # type: ignore[override]
        return self.time

    def steady(self) -> float:  # type: ignore[override]
        return self.time - 1_700_000_000.0

    def sleep(self, seconds: float) -> None:  # type: ignore[override]
        self.slept.append(seconds)
        self.time += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def uniform(self) -> float:  # type: ignore[override]
        return 0.5


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retrying, "clock", clock)
    return clock


class Flaky:
    """Fails as told, then succeeds; counts its calls."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self, value: int = 7) -> int:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return value


def too_many(**headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://api.test/", 429, "Too Many Requests", message, None)


def call(way: str, flaky: Flaky, *args: Any, **options: Any) -> Any:
    """Call `flaky` under a policy, as a sync or as an async function."""
    if way == "sync":
        return retry(**options)(flaky)(*args)

    @retry(**options)
    async def fetch(*args: Any) -> int:
        await asyncio.sleep(0)
        return flaky(*args)

    return asyncio.run(fetch(*args))


WAYS = ["sync", "async"]


@pytest.mark.parametrize("way", WAYS)
def test_tries_again_with_growing_waits(way: str, clock: Clock) -> None:
    """The defaults of steps: 4 tries, 1 s doubling, half of 500 ms of jitter here."""
    flaky = Flaky(OSError("one"), OSError("two"), OSError("three"))
    assert call(way, flaky, 3) == 3
    assert flaky.calls == 4
    assert clock.slept == [1.25, 2.25, 4.25]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_raised_is_the_users_own_exception_with_the_tries_as_notes(way: str) -> None:
    """The very object that the last try raised, with nothing of ours around it."""
    last = OSError("third")
    flaky = Flaky(OSError("first"), ValueError("second"), last)
    with pytest.raises(OSError, match="third") as caught:
        call(way, flaky, attempts=3, jitter=0)
    assert caught.value is last
    assert last.__cause__ is None
    assert last.__context__ is None
    name = "fetch" if way == "async" else "Flaky"
    assert last.__notes__ == [
        f"perdure: {name!r} failed 3 times in 3 s",
        "  1. OSError: first",
        "  2. ValueError: second",
        "  3. OSError: third",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_names_a_delay_is_obeyed_and_uses_up_no_tries(way: str, clock: Clock) -> None:
    """Seconds, a date counted from the server's own clock, and a date counted from ours."""
    flaky = Flaky(
        too_many(Retry_After="7"),
        too_many(Retry_After="Tue, 14 Nov 2023 22:14:20 GMT", Date="Tue, 14 Nov 2023 22:13:20 GMT"),
        too_many(Retry_After="Fri, 15 Jan 2027 08:02:27 GMT"),  # 1,800,000,147
        OSError("once"),
    )
    assert call(way, flaky, attempts=2, jitter=0) == 7
    assert clock.slept == [7, 60, 80, 8]


@pytest.mark.parametrize("way", WAYS)
def test_a_delay_beyond_the_bound_ends_it_at_once(way: str, clock: Clock) -> None:
    """A server that says "in a year" hangs nobody."""
    flaky = Flaky(*[too_many(Retry_After="31536000") for _ in range(9)])
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(way, flaky)
    assert (flaky.calls, clock.slept) == (1, [])
    assert "there was no time left for another try" in caught.value.__notes__[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [TypeError("wrong"), FileNotFoundError(2, "gone"), AssertionError()], ids=repr)
def test_what_cannot_heal_is_raised_at_once(way: str, error: Exception) -> None:
    """A wrong program fails the same way every time."""
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        call(way, flaky)
    assert flaky.calls == 1


class Both(Exception, SystemExit):
    """An error that also ends the program."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), Both()], ids=repr)
def test_what_stops_a_program_is_never_retried(way: str, error: BaseException) -> None:
    """Whatever the policy says."""
    flaky = Flaky(error)
    with pytest.raises((type(error), asyncio.CancelledError)):
        call(way, flaky, on=Exception)
    assert flaky.calls == 1


def test_a_cancelled_task_stops_waiting() -> None:
    """Cancellation during the wait between two tries."""
    waiting = asyncio.Event()

    class Slow(Clock):
        async def asleep(self, seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

    flaky = Flaky(OSError(), OSError())

    async def main() -> None:
        task = asyncio.create_task(retry(functools.partial(aflaky, flaky))())
        async with asyncio.timeout(10):
            await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    retrying.clock = Slow()
    asyncio.run(main())
    assert flaky.calls == 1


async def aflaky(flaky: Flaky) -> int:
    return flaky()


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


def test_calls_do_not_share_their_tries(clock: Clock) -> None:
    """Each call has the whole policy to itself."""
    flaky = Flaky(OSError(), OSError())
    fetch = retry(attempts=3, jitter=0)(flaky)
    assert fetch() == 7
    flaky.failures = [OSError(), OSError()]
    assert fetch() == 7
    assert clock.slept == [1, 2, 1, 2]


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


def test_the_function_keeps_its_face() -> None:
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


def test_a_coroutine_that_nobody_would_retry_is_an_error() -> None:
    """`retry(lambda: fetch())` would look as if it worked."""
    with pytest.raises(UsageError, match="returned a coroutine"):
        retry(lambda: aflaky(Flaky()))()


def test_inside_a_step(machine: Machine) -> None:
    """It has its own account; the step sees what comes out in the end, and its own policy goes on from there."""
    flaky = Flaky(*[OSError(f"no {n}") for n in range(3)])

    @retry(attempts=2, jitter=0)
    def fetch() -> int:
        return flaky()

    @step(retry=Retry(attempts=2, jitter=0))
    def fetching() -> int:
        return fetch()

    @workflow
    def wf() -> int:
        return fetching()

    assert wf() == 7
    assert flaky.calls == 4


def test_steps_inside_a_retried_function_are_not_stopped_from_stopping(machine: Machine) -> None:
    """What stops a run is no failure to be tried again."""
    calls = []

    @step(retry=None)
    def one(n: int) -> int:
        return n

    numbers = [1]

    @workflow
    def wf() -> None:
        @retry
        def body() -> None:
            calls.append(1)
            one(numbers[0])
            raise SystemExit

        body()

    with pytest.raises(SystemExit):
        wf()
    numbers[0] = 2
    machine.boot()
    with pytest.raises(Drift):
        wf()
    assert len(calls) == 2


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
