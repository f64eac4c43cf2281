"""What runs show while they go on, and runs that they put into queues: once, whoever asks, and after a resumption."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.conformance.bench import Bench, note
from tests.conformance.shape import shape
from tests.conformance.shapes.waits import fragile, resumed

import perdure
from perdure import aio, step, workflow
from perdure.errors import OtherInputs
from perdure.operations.location import locate
from perdure.operations.published import get
from waiting import until


@step(retry=None)
def shows(name: str, value: Any) -> None:
    perdure.publish(name, value)
    perdure.set_progress(1, 4, "in a step")
    note("shows", name)


@shape
def values_are_published(bench: Bench) -> None:
    @workflow
    def child_that_shows() -> None:
        perdure.publish("by a child", {"n": 1})

    @workflow
    def shows_values() -> str:
        perdure.publish("own", "first")
        perdure.publish("own", "then")
        shows("by a step", [1, 2])
        child_that_shows()
        perdure.set_progress(3, 4, "nearly")
        return fragile("f")

    @workflow
    async def ashows_values() -> str:
        await aio.publish("own", "async")
        await asyncio.gather(*(aio.publish(f"n{n}", n) for n in range(3)))
        await aio.set_progress(2)
        return fragile("f")

    def published_by(flow: Any, *names: str) -> list[Any]:
        id = f"{flow._spec.name}-{bench.name}"
        result, made = resumed(bench, flow.with_options(id=id))
        assert (result, made) == ("f", ["f"])
        return [*map(perdure.run(id).published, names), id]

    *values, id = published_by(shows_values, "own", "by a step", "by a child")
    assert values == ["then", [1, 2], {"n": 1}]
    until(lambda: get(locate(), id, "perdure.progress").value == [3, 4, "nearly"])
    *values, id = published_by(ashows_values, "own", "n0", "n1", "n2")
    assert values == ["async", 0, 1, 2]
    until(lambda: get(locate(), id, "perdure.progress").value == [2, None, ""])


@shape
def runs_are_enqueued_once(bench: Bench) -> None:
    ids: list[list[str]] = []

    @workflow
    def enqueues() -> str:
        later = to_be_enqueued.with_options(delay="1h", priority=0, key="k")
        found = [later.enqueue(n).id for n in (1, 1, 2)]
        found += [later.with_options(dedup=f"d-{bench.name}").enqueue(n).id for n in (3, 4)]
        found.append(later.with_options(id=f"own-{bench.name}").enqueue(5).id)
        ids.append(found)
        return fragile("f")

    @workflow
    async def aenqueues() -> list[str]:
        later = to_be_enqueued.with_options(delay="1h")
        both = await asyncio.gather(*(aio.enqueue(later, n) for n in (1, 2)))
        return [*sorted({one.id.rpartition("-")[0].rpartition(".")[2] for one in both}), fragile("f")]

    result, made = resumed(bench, enqueues)
    assert (result, made) == ("f", ["f"])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 5
    assert (ids[0][3] == ids[0][4], ids[0][5]) == (True, f"own-{bench.name}")
    result, made = resumed(bench, aenqueues)
    assert (result, made) == (["to_be_enqueued", "f"], ["f"])
    later = to_be_enqueued.with_options(delay="1h")
    own = later.with_options(id=f"own-{bench.name}")
    assert own.enqueue(5).id == f"own-{bench.name}"
    assert later.with_options(dedup=f"d-{bench.name}").enqueue(6).id == ids[0][3]
    with pytest.raises(OtherInputs):
        own.enqueue(6)
    for id in {*ids[0]}:
        perdure.run(id).cancel()


@workflow
def to_be_enqueued(n: int) -> int:
    return n
