"""What a cluster cannot do the same way is refused, by name and before anything is done; it is never just left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.conftest import Server

from perdure import aio, defer, step, workflow
from perdure.api.lock import lock
from perdure.engines.selection import cluster_at
from perdure.errors import OptionError, UsageError


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """A cluster."""
    with Bench(server.url(), tmp_path).in_force() as bench:
        yield bench


@step(retry=None)
def do(what: str) -> str:
    note(what)
    return what


@step(breaker="bank", retry=None)
def guarded(what: str) -> None:
    note("guarded", what)


@step(rate="10/s", retry=None)
def paced(what: str) -> None:
    note("paced", what)


@step(undo=guarded)
def taken_back(what: str) -> str:
    note("taken back", what)
    return what


@workflow(lock=True)
def locked() -> None:
    do("not reached")


@workflow(lock="shared")
def sharing() -> None:
    do("not reached")


@workflow(if_locked="wait")
def patient() -> None:
    do("not reached")


@workflow(park_after=3)
def parked() -> None:
    do("not reached")


@workflow
def with_a_lock() -> None:
    with lock("shared"):
        do("not reached")


@workflow
def with_a_child() -> None:
    locked()


@workflow
def with_a_breaker() -> None:
    guarded("not reached")


@workflow
def with_a_rate() -> None:
    paced("not reached")


@workflow
def with_items() -> None:
    guarded.map(["not reached"])


@workflow
def found_out() -> None:
    do.map(["not reached"], concurrency="auto")


@workflow
def deferring() -> None:
    defer(guarded, "not reached")
    do("not reached")


@workflow
def undoing() -> None:
    taken_back("not reached")
    raise ConnectionError


@step
async def ado(what: str) -> str:
    note(what)
    return what


async def all_of_them() -> None:
    await ado.map(["not reached"])


@workflow
def in_a_loop(kind: str) -> None:
    calls = {"step": lambda: ado("not reached"), "wait": lambda: aio.sleep("1s"), "map": all_of_them}
    asyncio.run(calls[kind]())


@pytest.mark.parametrize("kind", ["step", "wait", "map"])
def test_a_loop_of_a_sync_workflow_is_refused(bench: Bench, kind: str) -> None:
    """Temporal does not know what happens in it."""
    error = bench.run(in_a_loop, kind)
    assert isinstance(error, UsageError), error
    assert "event loop that a sync workflow runs itself" in error.what
    assert "async def" in error.hint
    assert ledger == []


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        (locked, "lock"),
        (sharing, "lock 'shared'"),
        (patient, "if_locked='wait'"),
        (parked, "park_after=3"),
        (with_a_lock, "perdure.lock"),
        (with_a_child, "lock"),
        (with_a_breaker, "breaker 'bank'"),
        (with_a_rate, "rate limit of 'paced'"),
        (with_items, "breaker 'bank'"),
        (found_out, "concurrency"),
        (deferring, "breaker 'bank'"),
        (undoing, "breaker 'bank'"),
    ],
    ids=lambda value: getattr(getattr(value, "spec", None), "name", ""),
)
def test_it_is_refused(bench: Bench, refused: Any, told: str) -> None:
    """The error names the option and says what to do instead; no step is executed."""
    error = bench.run(refused)
    assert isinstance(error, OptionError), error
    assert told in error.what
    assert "cluster" in error.what
    assert error.hint
    assert ledger == []


def test_a_single_step_becomes_a_dead_letter(bench: Bench) -> None:
    """This one works as on one machine."""

    @step(retry=None, on_failure="dead_letter")
    def unlucky(n: int) -> int:
        note("unlucky", n)
        raise ValueError(f"{n}")

    @workflow
    def lenient() -> list[Any]:
        return [unlucky(13), do("next")]

    handle = lenient.start()
    assert handle.result(60) == [None, "next"]
    assert steps() == [("unlucky", 13), "next"]
    (told,) = [each for each in cluster_at(bench.engine).list_runs(handle.id) if each.id == handle.id]
    assert [each.status for each in told.steps] == ["dead", "done"]
