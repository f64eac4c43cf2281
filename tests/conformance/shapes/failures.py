"""Failures, handled and not, in steps, in the workflow, and in processes of their own."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import httpx
from tests.conformance.bench import Bench, note, steps
from tests.conformance.shape import do, fail, fails_at_first, shape

import perdure
from perdure import step, workflow


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
    fragile, broken = fails_at_first()

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


URL = "http://api.test/orders"
BODY = b"no such order"


def refused() -> HTTPError:
    """An error whose body is on its connection still."""
    return HTTPError(URL, 409, "Conflict", Message(), io.BufferedReader(io.BytesIO(BODY)))  # type: ignore[arg-type]


class AwaitedBody(httpx.AsyncByteStream):
    """The body of an answer of httpx's `AsyncClient`, which was not asked for."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield BODY


@step(retry=None)
def refused_here() -> None:
    raise refused()


@step(retry=None, isolate=True, timeout="30s")
def refused_elsewhere() -> None:
    raise refused()


@step(retry=None)
async def refused_in_a_task() -> None:
    raise refused()


@step(retry=None, isolate=True, timeout="30s")
async def refused_in_a_task_elsewhere() -> None:
    raise refused()


@step(retry=None)
async def refused_awaited() -> None:
    await asyncio.sleep(0)
    httpx.Response(409, stream=AwaitedBody(), request=httpx.Request("GET", URL)).raise_for_status()


@step(retry=None, isolate=True, timeout="30s")
async def refused_awaited_elsewhere() -> None:
    await asyncio.sleep(0)
    httpx.Response(409, stream=AwaitedBody(), request=httpx.Request("GET", URL)).raise_for_status()


@shape
def bodies_that_a_step_has_not_read(bench: Bench) -> None:
    @workflow
    def reading() -> list[bytes]:
        bodies = []
        for call in (refused_here, refused_elsewhere):
            try:
                call()
            except HTTPError as error:
                bodies.append(error.read())
        return bodies

    @workflow
    async def awaiting() -> list[bytes]:
        bodies = []
        for call in (
            refused_in_a_task,
            refused_in_a_task_elsewhere,
            refused_awaited,
            refused_awaited_elsewhere,
        ):
            try:
                await call()
            except HTTPError as error:
                bodies.append(error.read())
            except httpx.HTTPStatusError as error:
                bodies.append(error.response.content)
        return bodies

    assert bench.run(reading) == [BODY] * 2
    assert bench.run(awaiting) == [BODY] * 4


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
