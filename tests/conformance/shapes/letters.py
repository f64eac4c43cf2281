"""A single step whose failure becomes a dead letter."""

from __future__ import annotations

from typing import Any

from tests.conformance.bench import Bench, ledger, note, steps
from tests.conformance.shape import QUICK, do, shape

from perdure import step, workflow


@shape
def a_single_step_that_parks(bench: Bench) -> None:
    broken = [True]

    @step(retry=QUICK, on_failure="dead_letter")
    def parking(name: str) -> str:
        note("parking", name)
        if name == "bad":
            raise ConnectionError(name)
        return name

    @step(retry=None)
    def stopper() -> str:
        note("stopper")
        if broken[0]:
            raise OSError("stopped")
        return "stopper"

    @workflow
    def parked() -> list[Any]:
        return [parking("good"), parking("bad"), do("between"), stopper()]

    assert isinstance(bench.run(parked), OSError)
    broken[0] = False
    assert bench.run(parked) == ["good", None, "between", "stopper"]
    assert [entry[-1] for entry in ledger if entry[:2] == ("parking", "bad")] == [1, 2, 3]
    assert steps()[-2:] == ["stopper", "stopper"]


@shape
def an_async_step_that_parks(bench: Bench) -> None:
    @step(retry=None, on_failure="dead_letter")
    async def aparking(name: str) -> str:
        note("aparking", name)
        raise ConnectionError(name)

    @workflow
    async def aparked() -> list[Any]:
        batch = await aparking.map(["x", "y"])
        return [await aparking("z"), len(batch.dead), len(batch.results)]

    assert bench.run(aparked) == [None, 2, 0]
    assert steps() == [("aparking", "x"), ("aparking", "y"), ("aparking", "z")]
