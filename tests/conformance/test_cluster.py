"""What only a cluster can get wrong: limits of its records, workers that die, caches that are full."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.conftest import Server

import perdure
from perdure import Retry, step, workflow
from perdure.engines.selection import cluster_at
from perdure.engines.temporal import worker
from perdure.engines.temporal.executions import find
from perdure.errors import EngineError, NotStorable, OptionError, RunError, UsageError


@pytest.fixture
def bench(server: Server, tmp_path: Path) -> Iterator[Bench]:
    """A cluster, with a short record for each execution, and dead workers noticed soon."""
    with Bench(server.url(events=60, dead_after="2s"), tmp_path).in_force() as bench:
        yield bench


@step(retry=None)
def tick(n: int) -> int:
    note(n)
    if n % 50 == 49:
        raise ValueError(f"{n}")
    return n + 1


@step(retry=None)
async def atick(n: int) -> int:
    note(n)
    return n + 1


def executions(bench: Bench, name: str) -> int:
    """How many executions Temporal has of all runs of a workflow."""

    async def count() -> int:
        client = await cluster_at(bench.engine).cluster.client()
        return len([each async for each in client.list_workflows(f"WorkflowType = '{name}'")])

    return cluster_at(bench.engine).cluster.wait(count())


# -- records that are full --------------------------------------------------------------------------------------------


def test_a_long_loop_goes_on_in_new_records(bench: Bench) -> None:
    """Temporal bounds the record of an execution; a run of more steps than fit goes on without being noticed."""

    @workflow
    def long_loop(count: int) -> int:
        total = 0
        for n in range(count):
            try:
                total = total + tick(n)
            except ValueError:
                total = total + 1000
        return total

    assert bench.run(long_loop, 60) == sum(range(1, 61)) - 50 + 1000
    assert steps() == list(range(60)), "no step runs twice, also none that failed and was handled"
    assert executions(bench, "long_loop") > 3


def test_a_long_map_goes_on_in_new_records(bench: Bench) -> None:
    """The same for a batch: every item once, dead letters kept, and nothing counts as having been there before."""

    @workflow
    def long_map(count: int) -> list[Any]:
        batch = tick.map(range(count), concurrency=7)
        return [list(batch.results), len(batch.dead), batch.skipped]

    results, dead, skipped = bench.run(long_map, 110)
    assert results == [n + 1 for n in range(110) if n % 50 != 49]
    assert (dead, skipped) == (2, 0)
    assert sorted(steps()) == list(range(110))
    assert executions(bench, "long_map") > 3


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
    """Nobody on a cluster keeps what all workers know of a service: the run stops at the first call, and says so."""

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


def test_many_branches_go_on_in_new_records(bench: Bench) -> None:
    """The same for branches that run side by side."""

    @workflow
    async def wide(count: int) -> list[int]:
        return list(await asyncio.gather(*(atick(n) for n in range(count))))

    assert bench.run(wide, 90) == list(range(1, 91))
    assert sorted(steps()) == list(range(90))


def test_a_resumed_map_counts_what_was_there_before(bench: Bench) -> None:
    """Items of an earlier failure count as skipped, those of an earlier record of the same run do not."""
    broken = [True]

    @step(retry=None)
    def item(n: int) -> int:
        note(n)
        if n == 30 and broken[0]:
            raise ConnectionError("thirty")
        return n

    @workflow
    def resumed_map(count: int) -> int:
        return item.map(range(count), on_failure="raise").skipped

    assert isinstance(bench.run(resumed_map, 45), ConnectionError)
    broken[0] = False
    assert bench.run(resumed_map, 45) == 30
    assert sorted(steps()) == sorted([*range(45), 30])


# -- payloads ---------------------------------------------------------------------------------------------------------


@step(retry=Retry(attempts=3, delay="10ms"))
def produce(size: int) -> bytes:
    note(size)
    return bytes(size)


@step(retry=None)
def measure(data: bytes) -> int:
    note(len(data))
    return len(data)


def test_a_result_that_is_too_large(bench: Bench) -> None:
    """More than Temporal stores is a clear error at the first attempt."""

    @workflow
    def large_result() -> None:
        produce(3_000_000)

    error = bench.run(large_result)
    assert isinstance(error, NotStorable)
    assert "the result of step 'produce' takes 3,000,005 bytes" in str(error)
    assert len(ledger) == 1


def test_an_input_that_is_too_large(bench: Bench) -> None:
    """The same for what a step is given, and for what the workflow itself returns."""

    @workflow
    def large_input() -> None:
        measure(bytes(3_000_000))

    @workflow
    def large_output() -> bytes:
        return bytes(3_000_000)

    assert isinstance(bench.run(large_input), NotStorable)
    assert isinstance(bench.run(large_output), NotStorable)
    assert ledger == []


def test_many_large_values_at_a_time(bench: Bench) -> None:
    """What is handed to Temporal at once stays below what it takes in one message."""

    @workflow
    def heavy() -> list[int]:
        return list(measure.map([bytes([n]) * 1_500_000 for n in range(6)], concurrency=6).results)

    assert bench.run(heavy) == [1_500_000] * 6


def test_more_than_a_cluster_keeps_of_a_run(server: Server, tmp_path: Path) -> None:
    """What a run has done is bounded: the run goes on in new records as far as it can, and ends with a clear error."""

    @workflow
    def hoarding(count: int) -> int:
        return len(produce.map([1_500_000 + n for n in range(count)], concurrency=2).results)

    with Bench(server.url(), tmp_path).in_force() as bench:
        assert bench.run(hoarding, 20) == 20
        error = bench.run(hoarding, 40)
        assert isinstance(error, NotStorable)
        assert "a cluster keeps 50" in str(error)


# -- code between the steps -------------------------------------------------------------------------------------------


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


# -- the cache --------------------------------------------------------------------------------------------------------


def test_a_full_cache(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workflows that do not fit into a worker's cache are replayed; their threads do not pile up."""
    monkeypatch.setattr(worker, "CACHED", 2)

    called: list[int] = []

    @workflow
    def crowded(n: int) -> int:
        called.append(n)
        for _ in range(4):
            n = tick(n * 100)
        return n

    @workflow
    async def acrowded(n: int) -> int:
        async def branch(number: int) -> int:
            await asyncio.sleep(0.01 * number)
            return await atick(n * 1000 + number)

        called.append(n)
        for _ in range(2):
            n = max(await asyncio.gather(*(branch(number) for number in range(3))))
        return n

    before = _workflow_threads()
    handles = [crowded.start(n) for n in range(1, 5)] + [acrowded.start(n) for n in range(1, 5)]
    assert len({handle.result(60) for handle in handles}) == 8
    assert len(ledger) == 4 * 4 + 4 * 6
    assert len(called) > 8, "some were replayed"
    assert _workflow_threads() <= before


def _workflow_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "perdure-workflow"}


# -- ends -------------------------------------------------------------------------------------------------------------


def test_cancel(bench: Bench) -> None:
    """A cancelled run ends; its function is left, with what it has to clean up."""
    left = threading.Event()
    entered = threading.Event()

    @step(retry=None, timeout="60s")
    async def forever() -> None:
        entered.set()
        await asyncio.sleep(60)

    @workflow
    async def cancelled() -> None:
        try:
            await forever()
        finally:
            left.set()

    handle = cancelled.start()
    assert entered.wait(60)
    engine = cluster_at(bench.engine)
    assert engine.cancel(handle.id).was == "running"
    with pytest.raises(RunError, match="was cancelled"):
        handle.result(60)
    assert left.wait(60)
    assert engine.status(handle.id) == "cancelled"


def test_a_run_that_was_terminated(bench: Bench) -> None:
    """Nobody asked the run what it had moved past; resumed, also twice, it keeps what it had done and handled."""
    go = threading.Event()
    entered = threading.Semaphore(0)

    @step(retry=None)
    def optional() -> None:
        note("optional")
        raise KeyError("optional")

    @step(retry=None)
    def gate() -> str:
        note("gate")
        entered.release()
        go.wait(60)
        return "through"

    @workflow
    def terminated() -> str:
        try:
            optional()
        except KeyError:
            tick(0)
        return gate()

    engine = cluster_at(bench.engine)

    async def terminate(id: str) -> None:
        client = await engine.cluster.client()
        await client.get_workflow_handle((await find(engine.cluster, id)).workflow_id).terminate()

    for _ in range(2):
        handle = terminated.start()
        assert entered.acquire(timeout=60)
        engine.cluster.wait(terminate(handle.id))
        with pytest.raises(RunError, match="was terminated"):
            handle.result(60)
    go.set()
    assert bench.run(terminated) == "through"
    assert steps() == ["optional", 0, "gate", "gate", "gate"]


def test_a_workflow_that_exits(bench: Bench) -> None:
    """sys.exit() ends the run, not the worker."""

    @workflow
    def leaving() -> None:
        raise SystemExit(3)

    assert "ended itself with SystemExit(3)" in str(bench.run(leaving))


def test_two_calls_attach_to_one_run(bench: Bench) -> None:
    """Whoever calls a workflow that is under way waits for the same run."""
    go = threading.Event()

    @step(retry=None)
    def gate() -> str:
        note("gate")
        go.wait(60)
        return perdure.idempotency_key()

    @workflow
    def shared() -> str:
        return gate()

    first, second = shared.start(), shared.start()
    go.set()
    assert first.id == second.id
    assert first.result(60) == second.result(60)
    assert len(ledger) == 1


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["temporal://", "temporal:///default", "temporal://h:x/n", "temporal://h/a/b", "temporal://h?dead=3", "http://h"],
)
def test_addresses_that_are_none(url: str) -> None:
    """Each is refused, and told how it should look."""
    with pytest.raises(OptionError):
        cluster_at(url)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that does not answer is an error of ours that says what to do."""

    @workflow
    def unreachable() -> None: ...

    monkeypatch.setenv("PERDURE_ENGINE", "temporal://127.0.0.1:1/default")
    with pytest.raises(EngineError, match="no Temporal cluster answers"):
        unreachable()


@pytest.mark.long
def test_ten_thousand_items(server: Server, tmp_path: Path) -> None:
    """A batch of more items than one record of Temporal's may hold, with the limits as they are by default."""

    @workflow
    def ten_thousand(count: int) -> list[int]:
        batch = tick.map(range(count), concurrency=100)
        return [len(batch.results), sum(batch.results), len(batch.dead), batch.skipped]

    with Bench(server.url(), tmp_path).in_force() as bench:
        good = [n + 1 for n in range(10_000) if n % 50 != 49]
        assert bench.run(ten_thousand, 10_000) == [len(good), sum(good), 200, 0]
        assert sorted(steps()) == list(range(10_000))
        assert executions(bench, "ten_thousand") > 3
