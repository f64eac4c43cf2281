"""Values that are too large for Temporal, alone, at once, or over a whole run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conformance.bench import Bench, ledger, note
from tests.conformance.conftest import Server

from perdure import Retry, step, workflow
from perdure.engines.temporal import continue_as_new
from perdure.errors import NotStorable


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


@step(retry=Retry(attempts=100, delay="1ms", factor=1, jitter=0))
def complain(often: int, size: int) -> bytes:
    note(size)
    if len(ledger) <= often:
        raise ConnectionError("\N{SNOWMAN}" * 5_000)
    return bytes(size)


def test_a_large_result_after_many_failures(bench: Bench) -> None:
    """What failed attempts said takes no room that the result needs: a step whose result fits is not made again."""

    @workflow
    def late_result() -> int:
        return len(complain(20, 1_999_990))

    assert bench.run(late_result) == 1_999_990
    assert len(ledger) == 21


def test_a_run_that_cannot_be_handed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new record has to begin with is too large: the run ends and says so, rather than being tried for ever."""
    monkeypatch.setattr(continue_as_new, "MOST", 1_000)

    @workflow
    def grudging(data: bytes, count: int) -> int:
        return sum(measure(bytes([n])) for n in range(count)) + len(data)

    error = bench.run(grudging, bytes(2_000), 40)
    assert isinstance(error, NotStorable)
    assert "cannot go on in a new record" in str(error)
    monkeypatch.undo()
    assert bench.run(grudging, bytes(2_000), 40) == 2_040
    assert len(ledger) == 40


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
