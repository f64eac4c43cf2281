"""A workflow that waits for the result of another run holds nothing meanwhile, and goes on however that run ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from letterbox import open_waits
from suspended import left

import perdure
from conftest import Machine, Scripts
from perdure import workflow
from perdure.errors import Cancelled, UsageError
from perdure.operations.location import locate
from perdure.operations.queues import drain

LARGE = 200_000


@workflow(name="awaited.other")
def other(n: int) -> bytes:
    """What is waited for."""
    if n < 0:
        raise ValueError(f"no {n}")
    return bytes(n)


@workflow(name="awaited.parent")
def parent(id: str, n: int) -> str:
    try:
        return str(len(other.with_options(id=id, queue="awaited").enqueue(n).result()))
    except (ValueError, Cancelled) as error:
        return f"{type(error).__name__}: {error}"


@workflow(name="awaited.aparent")
async def aparent(id: str, n: int) -> str:
    handle = await perdure.aio.enqueue(other.with_options(id=id, queue="awaited"), n)
    try:
        return str(len((await asyncio.gather(handle))[0]))
    except (ValueError, Cancelled) as error:
        return f"{type(error).__name__}: {error}"


def done(machine: Machine, id: str, n: int) -> None:
    other.with_options(id=id)(n)


def failed(machine: Machine, id: str, n: int) -> None:
    with pytest.raises(ValueError, match="no -1"):
        other.with_options(id=id)(n)


def cancelled(machine: Machine, id: str, n: int) -> None:
    perdure.run(id).cancel()


def drained(machine: Machine, id: str, n: int) -> None:
    assert drain(locate(machine.state), "awaited") == 1


@pytest.mark.parametrize("flow", ["sync", "async"])
@pytest.mark.parametrize(
    ("end", "n", "seen"),
    [
        (done, LARGE, str(LARGE)),
        (failed, -1, "ValueError: no -1"),
        (cancelled, 7, "Cancelled: run K was cancelled"),
        (drained, 7, "Cancelled: run K was cancelled"),
    ],
)
def test_a_run_is_suspended_until_the_other_has_ended(
    machine: Machine, flow: str, end: Callable[[Machine, str, int], None], n: int, seen: str
) -> None:
    """It is left at once, has no holder, is due by no time, and is due as soon as the other has ended, in whichever
    way; what has come of that is a record, which is not asked for again."""

    def call() -> Any:
        return parent("K", n) if flow == "sync" else asyncio.run(aparent("K", n))

    left(call)
    run = newest_of(machine)
    assert (run.status, run.holder, run.wake, len(open_waits(machine.state))) == ("suspended", None, None, 1)
    machine.boot()
    end(machine, "K", n)
    run = newest_of(machine)
    ended = machine.engine.store.run("K").ended
    assert (run.status, run.wake) == ("suspended", ended), "it is ready in the transaction of the end"
    machine.boot()
    assert call().startswith(seen)
    names = [name for name, _ in records(machine, run.rid)]
    assert names == ["perdure.enqueue:awaited.other", "perdure.result"]


def newest_of(machine: Machine) -> Any:
    return next(run for run in machine.engine.store.runs() if run.workflow != "awaited.other")


def records(machine: Machine, rid: int) -> list[tuple[str, str]]:
    return [(each.name, each.status) for each in machine.engine.store.all_records(rid)]


def test_the_time_for_it_is_durable(machine: Machine) -> None:
    """A timeout is counted from when the wait began, in whichever process, and says which run has not ended; the run
    that ends later is not waited for again where the workflow has handled that."""

    @workflow(name="awaited.patient")
    def patient() -> str:
        handle = other.with_options(id="late").enqueue(1)
        try:
            return str(handle.result(timeout="2h"))
        except TimeoutError as error:
            perdure.sleep("1d")
            return str(error)

    left(patient)
    machine.boot()
    machine.world.time += timedelta(hours=2).total_seconds()
    left(patient)
    other.with_options(id="late")(1)
    machine.boot()
    machine.world.time += timedelta(days=1).total_seconds()
    assert patient().startswith("run late has not ended within 2 h; it goes on")


def test_waiting_outside_a_workflow_says_which_run_it_was(machine: Machine) -> None:
    """The error of a time that is over names the run and the time, and is a TimeoutError."""
    handle = other.with_options(id="later", delay="1h").enqueue(1)
    with pytest.raises(TimeoutError, match=r"run later has not ended within 10 ms; it goes on"):
        handle.result(timeout=0.01)


def test_waits_that_would_never_end_are_refused(machine: Machine) -> None:
    """A run cannot wait for its own result, and a blocking wait in an async workflow says what to write."""

    @workflow(name="awaited.itself")
    def itself() -> None:
        perdure.run("me").result()

    @workflow(name="awaited.blocks")
    async def blocks() -> None:
        (await perdure.aio.enqueue(other, 1)).result()

    with pytest.raises(UsageError, match="waits for its own result"):
        itself.with_options(id="me")()
    with pytest.raises(UsageError, match="await handle"):
        asyncio.run(blocks())


OTHER = """
from dataclasses import dataclass
from perdure import workflow


@dataclass
class Sum:
    total: int


@workflow(name="sums")
def sums() -> Sum:
    return Sum(3)


if __name__ == "__main__":
    sums.with_options(id="K")()
"""
ASKS = """
import sys
import perdure

{imports}

@perdure.step(retry=None)
def work(kind: str) -> str:
    if "fail" in sys.argv:
        raise ValueError("not yet")
    return kind


@perdure.workflow(name="asks")
def asks() -> str:
    handle = perdure.run("K")
    first = handle.result()
    won = perdure.wait_any(handle).value
    return work(f"{{type(first).__name__}} {{type(won).__name__}}")


if __name__ == "__main__":
    print(asks())
"""
BOTH = """
import other, asks
print(asks.asks())
"""


@pytest.mark.parametrize(
    ("imports", "kind", "edited"),
    [
        ("", "dict dict", "import other"),
        ("import other", "Sum Sum", "from other import sums"),
        ("from other import sums", "Sum Sum", ""),
    ],
)
def test_what_else_is_loaded_makes_no_result_another(scripts: Scripts, imports: str, kind: str, edited: str) -> None:
    """The result of a run that a workflow looks up is of the types of its workflow if the script that asks has imported
    that, and plain data if not: in a process that has loaded both as in one that has not. A script that imports it
    between two lives, or no more, gets what it got, or is told what to import again."""
    assert scripts.run(scripts.write(OTHER, "other.py")).returncode == 0
    asks = scripts.write(ASKS.format(imports=imports), "asks.py")
    both = scripts.write(BOTH, "both.py")
    failed = scripts.run(both, "fail")
    assert "ValueError: not yet" in failed.stderr, failed.stderr
    failed = scripts.run(asks, "fail")
    assert "ValueError: not yet" in failed.stderr, failed.stderr
    scripts.write(ASKS.format(imports=edited), "asks.py")
    done = scripts.run(asks)
    if edited:
        assert done.stdout.strip() == kind, done.stderr
        return
    assert "neither defines nor imports that workflow now" in done.stderr
    scripts.write(ASKS.format(imports=imports), "asks.py")
    done = scripts.run(both)
    assert done.stdout.strip() == kind, done.stderr
