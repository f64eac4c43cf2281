"""Retries: how many, of which errors, and for how long; delays that a server names, and timeouts of attempts."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, shape

import perdure
from perdure import Retry, step, workflow
from perdure.errors import StepTimeout


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
def a_permanent_error(bench: Bench) -> None:
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
