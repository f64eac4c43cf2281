"""Failures, handled and not; retries and timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, do, fail, shape

import perdure
from perdure import Retry, step, workflow
from perdure.errors import StepTimeout


@shape
def a_failure_that_is_handled(bench: Bench) -> None:
    @workflow
    def handled() -> str:
        try:
            fail("one")
        except KeyError as error:
            return do(f"handled {error.args[0]}")
        return "not reached"

    assert bench.run(handled) == "handled one"


@shape
def a_failure_that_is_not(bench: Bench) -> None:
    @workflow
    def unhandled() -> None:
        do("before")
        fail("two")

    error = bench.run(unhandled)
    assert isinstance(error, KeyError)
    assert "perdure: step 'fail' failed at its first attempt" in error.__notes__[0]


@shape
def fail_fix_and_run_again(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def fragile() -> str:
        note("fragile")
        if broken[0]:
            raise ConnectionError("down")
        return "up"

    @workflow
    def fixed(day: str) -> list[str]:
        return [do("first"), fragile(), do("last")]

    assert isinstance(bench.run(fixed, "monday"), ConnectionError)
    broken[0] = False
    assert bench.run(fixed, "monday") == ["first", "up", "last"]
    assert steps() == ["first", "fragile", "fragile", "last"]


@shape
def a_handled_failure_is_not_repeated(bench: Bench) -> None:
    broken = [True]

    @step(retry=None)
    def second() -> str:
        note("second")
        if broken[0]:
            raise ConnectionError("second")
        return "ok"

    @workflow
    def past() -> str:
        try:
            fail("optional")
        except KeyError:
            do("without it")
        return second()

    assert isinstance(bench.run(past), ConnectionError)
    broken[0] = False
    assert bench.run(past) == "ok"
    assert steps() == [("fail", "optional"), "without it", "second", "second"]


class Refused(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


@shape
def an_exception_with_a_class_of_its_own(bench: Bench) -> None:
    @step(retry=None)
    def refuse() -> None:
        note("refuse")
        try:
            raise ValueError("inner")
        except ValueError as inner:
            raise Refused(42, "no") from inner

    @workflow
    def refusing() -> list[Any]:
        try:
            refuse()
        except Refused as error:
            return [error.code, error.args[1], type(error.__cause__).__name__]
        return []

    assert bench.run(refusing) == [42, "no", "ValueError"]


@shape
def an_error_of_the_workflow_itself(bench: Bench) -> None:
    @workflow
    def dividing(n: int) -> float:
        do("before")
        return 1 / n

    assert isinstance(bench.run(dividing, 0), ZeroDivisionError)
    assert isinstance(bench.run(dividing, 0), ZeroDivisionError)
    assert steps() == ["before"]


@step(retry=QUICK)
def third_time(name: str) -> int:
    note("try", name)
    if perdure.attempt() < 3:
        raise ConnectionError(f"{name} {perdure.attempt()}")
    return perdure.attempt()


@shape
def a_retry_that_succeeds(bench: Bench) -> None:
    @workflow
    def retried() -> int:
        return third_time("a")

    assert bench.run(retried) == 3
    assert [entry[-1] for entry in ledger] == [1, 2, 3]


@shape
def retries_used_up(bench: Bench) -> None:
    @step(retry=Retry(attempts=2, delay="10ms", jitter=0))
    def never() -> None:
        note("never")
        raise ConnectionError(f"attempt {perdure.attempt()}")

    @workflow
    def hopeless() -> None:
        never()

    error = bench.run(hopeless)
    assert len(ledger) == 2
    assert "failed 2 times" in error.__notes__[0]
    assert [line.strip() for line in error.__notes__[1:3]] == [
        "1. ConnectionError: attempt 1",
        "2. ConnectionError: attempt 2",
    ]
    bench.run(hopeless)
    assert len(ledger) == 4, "running it again is asking again"


@shape
def an_error_that_cannot_heal(bench: Bench) -> None:
    @step(retry=QUICK)
    def wrong() -> None:
        note("wrong")
        raise TypeError("wrong")

    @workflow
    def programming() -> None:
        wrong()

    assert isinstance(bench.run(programming), TypeError)
    assert len(ledger) == 1


@shape
def what_is_never_retried(bench: Bench) -> None:
    @step(retry=Retry(attempts=3, delay="10ms", jitter=0, never=(ConnectionError,)))
    def once() -> None:
        note("once")
        raise ConnectionResetError("gone")

    @workflow
    def choosy() -> None:
        once()

    assert isinstance(bench.run(choosy), ConnectionResetError)
    assert len(ledger) == 1


@shape
def what_is_retried_by_choice(bench: Bench) -> None:
    @step(retry=Retry(attempts=2, delay="10ms", jitter=0, on=lambda error: "again" in str(error)))
    def chosen(text: str) -> None:
        note(text)
        raise TypeError(text)

    @workflow
    def by_choice() -> None:
        for text in ("again", "not"):
            with contextlib.suppress(TypeError):
                chosen(text)

    bench.run(by_choice)
    assert steps() == ["again", "again", "not"]


class TooManyRequests(Exception):
    """As HTTP clients have it: the server's answer hangs on the exception."""

    def __init__(self) -> None:
        super().__init__("429")
        self.status_code = 429
        self.headers = {"retry-after": "0.05"}


@shape
def a_server_that_names_a_delay(bench: Bench) -> None:
    @step(retry=Retry(attempts=2, delay="10ms", jitter=0))
    def limited() -> int:
        note("limited")
        if perdure.attempt() < 4:
            raise TooManyRequests
        return perdure.attempt()

    @workflow
    def throttled() -> int:
        return limited()

    assert bench.run(throttled) == 4, "such an answer uses up no attempt"


@shape
def a_delay_beyond_the_bound(bench: Bench) -> None:
    @step(retry=Retry(attempts=5, delay="10ms", jitter=0, total="20ms"))
    def limited() -> None:
        note("limited")
        raise TooManyRequests

    @workflow
    def bounded() -> None:
        limited()

    bench.run(bounded)
    assert len(ledger) == 1


@shape
def a_timeout_of_a_sync_step(bench: Bench) -> None:
    @step(retry=None, timeout="500ms")
    def slow() -> None:
        note("slow")
        threading.Event().wait(2)

    @workflow
    def waiting() -> str:
        try:
            slow()
        except StepTimeout as late:
            return f"late: {late.what}"
        return "in time"

    assert bench.run(waiting) == "late: step 'slow' did not finish within 500 ms"


@shape
def a_timeout_of_an_async_step(bench: Bench) -> None:
    @step(retry=Retry(attempts=2, delay="10ms", jitter=0), timeout="300ms")
    async def aslow() -> None:
        note("aslow")
        if perdure.attempt() == 1:  # the second does not wait at all, so that it cannot be late
            await asyncio.Event().wait()

    @workflow
    async def awaiting() -> str:
        await aslow()
        return "second time"

    assert bench.run(awaiting) == "second time"
    assert len(ledger) == 2


@step(retry=None, isolate=True, timeout="30s")
def elsewhere(n: int) -> list[int]:
    """In a process of its own."""
    if n < 0:
        raise ValueError(f"{n}")
    return [n, os.getpid()]


@shape
def a_step_in_a_process_of_its_own(bench: Bench) -> None:
    @workflow
    def isolated() -> list[Any]:
        n, pid = elsewhere(3)
        try:
            elsewhere(-1)
        except ValueError as error:
            return [n, pid != os.getpid(), str(error)]
        return []

    assert bench.run(isolated) == [3, True, "-1"]


@shape
def progress(bench: Bench) -> None:
    @step(retry=None)
    def counting() -> int:
        for n in range(3):
            perdure.progress(n, 3, "counting")
        note("counted")
        return 3

    @workflow
    def with_progress() -> int:
        return counting()

    assert bench.run(with_progress) == 3
