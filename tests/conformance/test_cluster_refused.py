"""What a cluster cannot do is refused by name: options, addresses, threads, code that blocks its worker."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.conformance.bench import Bench, note, steps
from tests.conformance.cluster_steps import atick, tick

from perdure import step, workflow
from perdure.engines.selection import cluster_at
from perdure.errors import EngineError, OptionError, UsageError


def test_a_concurrency_that_is_to_be_found_out_is_refused(bench: Bench) -> None:
    """Attempts are made on workers, out of the workflow's sight: the error says what to give instead."""

    @workflow
    def auto() -> object:
        return tick.map(range(3), concurrency="auto")

    @workflow
    async def aauto() -> object:
        return await atick.map(range(3), concurrency="auto")

    for refused in (auto, aauto):
        error = bench.run(refused)
        assert isinstance(error, OptionError)
        assert "not on a cluster" in str(error)
        assert "concurrency=8" in str(error)
    assert steps() == []


@step(breaker="svc")
def broken(n: int) -> None:
    note(n)


@step(rate="10/s")
async def limited(n: int) -> None:
    note(n)


def test_breakers_and_rate_limits_are_refused(bench: Bench) -> None:
    """A cluster does not keep what all workers know of a service: the run stops at the first call, and says so."""

    @workflow
    def call() -> object:
        return broken(1)

    @workflow
    def call_many() -> object:
        return broken.map([1, 2], concurrency=2)

    @workflow
    async def acall() -> object:
        return await limited(1)

    @workflow
    async def acall_many() -> object:
        return await limited.map([1, 2])

    for refused in (call, call_many, acall, acall_many):
        error = bench.run(refused)
        assert isinstance(error, OptionError)
        assert "is not supported on a cluster" in str(error)
    assert steps() == []


def test_computing_for_too_long_between_steps(bench: Bench) -> None:
    """A workflow that keeps its worker busy is stopped with an error, not given to one worker after the other."""

    @workflow
    def busy(seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    error = bench.run(busy, 2.5)
    assert isinstance(error, UsageError)
    assert "without calling a step" in str(error)
    assert bench.run(busy, 0.1) == "done"


def test_threads_of_an_async_workflow(bench: Bench) -> None:
    """What could not be replayed is refused by name."""

    @workflow
    async def threaded() -> None:
        await asyncio.to_thread(print)

    assert "make a step" in str(bench.run(threaded))


@pytest.mark.parametrize(
    "url",
    ["temporal://", "temporal:///default", "temporal://h:x/n", "temporal://h/a/b", "temporal://h?dead=3", "http://h"],
)
def test_addresses_that_are_none(url: str) -> None:
    """Each is refused, and the error says how it should look."""
    with pytest.raises(OptionError):
        cluster_at(url)


def test_no_cluster_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that does not answer is an error of ours that says what to do."""

    @workflow
    def unreachable() -> None: ...

    monkeypatch.setenv("PERDURE_ENGINE", "temporal://127.0.0.1:1/default")
    with pytest.raises(EngineError, match="no Temporal cluster answers"):
        unreachable()
