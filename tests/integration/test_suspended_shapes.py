"""Workflows of many shapes are left at every wait, and do what they do without; what is not a wait keeps a run."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from letterbox import open_waits
from suspended import left, newest

import perdure
from conftest import Machine
from perdure import aio, step, workflow
from perdure.engines.local import engine as local
from perdure.errors import Suspended
from perdure.testing.clock import Clock


@step(name="shaped.work")
def work(n: int) -> int:
    LEDGER.append(n)
    return n


LEDGER: list[object] = []
"""What steps have done; outside of any run."""


@pytest.fixture(autouse=True)
def ledger() -> list[object]:
    LEDGER.clear()
    return LEDGER


@workflow(name="shaped.of_another")
def of_another() -> None:
    """Somebody else's run."""


def shapes() -> list[Callable[[], Any]]:
    """Workflows that wait in different ways, each after a step and before one."""

    @workflow(name="shaped.inner")
    def inner(n: int) -> int:
        work(n)
        perdure.sleep("1d")
        return work(n + 1)

    @workflow(name="shaped.children")
    def children() -> list[int]:
        return [inner(10), inner(20)]

    @workflow(name="shaped.loop")
    def loop() -> list[Any]:
        found = []
        for n in range(3):
            work(n)
            found.append(perdure.wait_any(perdure.event("never"), perdure.timer("2h")).value)
        return found

    @workflow(name="shaped.swallows")
    def swallows() -> int:
        for _ in range(2):
            try:
                perdure.wait_for("never", timeout="3h")
            except TimeoutError:
                work(7)
        return 7

    @step(name="shaped.awork")
    async def awork(n: int) -> int:
        LEDGER.append(n)
        return n

    @workflow(name="shaped.ainner")
    async def ainner(n: int) -> int:
        await awork(n)
        await aio.sleep(3600 * n)
        return await awork(n + 100)

    @workflow(name="shaped.gathers")
    async def gathers() -> list[int]:
        async def branch(n: int) -> int:
            await aio.sleep(3600 * n)
            await awork(n)
            await aio.sleep(60 * n)
            return await awork(n + 10)

        return [*await asyncio.gather(branch(2), branch(1), ainner(3)), await ainner(4)]

    @workflow(name="shaped.fails")
    async def finally_waits() -> str:
        try:
            await aio.wait_for("never", timeout="1h")
        except TimeoutError:
            return "late"
        finally:
            await aio.sleep("2h")
            await awork(3)
        return "never"

    @workflow(name="shaped.own")
    def loops_of_its_own() -> list[int]:
        async def branch(n: int) -> int:
            await aio.sleep(3600 * n)
            return await awork(n)

        async def branches() -> list[int]:
            later = asyncio.create_task(branch(2))
            return [await branch(1), await later, await ainner(3)]

        found = asyncio.run(branches())
        perdure.sleep("1h")
        return [*found, work(5), *asyncio.run(branches())]

    @workflow(name="shaped.tidies")
    def tidies() -> int:
        try:
            work(1)
            raise ValueError("handled")
        except ValueError:
            perdure.sleep("1h")
        finally:
            perdure.sleep("1h")
            work(2)
        return work(3)

    @workflow(name="shaped.races")
    def races() -> list[int]:
        queued = of_another.enqueue()  # nobody executes it
        return [work(int(perdure.wait_any(queued, perdure.timer(f"{n}h")).wait is queued)) for n in (1, 2)]

    @workflow(name="shaped.maps")
    def maps() -> list[int]:
        found: list[int] = []
        for n in range(2):
            found += work.map([10 * n, 10 * n + 1]).results
            perdure.sleep("1d")
        return found

    @workflow(name="shaped.defers")
    def defers() -> int:
        for n in (1, 2):
            perdure.defer(work, 100 + n)
            perdure.sleep("1h")
            work(n)
        return 2

    @workflow(name="shaped.middle")
    def middle(n: int) -> int:
        return perdure.wait_for("never", type=int, timeout="5m", default=n) + inner(n)

    @workflow(name="shaped.nests")
    def nests() -> list[int]:
        return [middle(1), work(5), middle(3)]

    @workflow(name="shaped.asks")
    def asks() -> list[Any]:
        answers = [perdure.approval(f"number {work(n)}?", timeout="1h").approved for n in (1, 2)]
        perdure.sleep_until(perdure.now() + timedelta(days=2))
        return [*answers, work(3)]

    @workflow(name="shaped.groups")
    async def groups() -> list[int]:
        found: list[int] = []

        async def branch(n: int) -> None:
            await aio.sleep(60 * n)
            found.append(await awork(n))
            async with asyncio.TaskGroup() as inside:
                inside.create_task(aio.sleep(600))
                inside.create_task(aio.sleep(700))
            await awork(n + 10)

        async with asyncio.TaskGroup() as group:
            for n in (3, 1, 2):
                group.create_task(branch(n))
        return found

    def run(flow: Any) -> Callable[[], Any]:
        return lambda: asyncio.run(flow())

    in_loops = [run(gathers), run(finally_waits), run(groups)]
    return [children, loop, swallows, tidies, races, maps, defers, nests, asks, loops_of_its_own, *in_loops]


def identities(machine: Machine) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """What the newest run and its children go by, and the records of each: kinds, names, keys, numbers and results."""
    root = newest(machine)

    def look(connection: Any) -> list[tuple[str, list[tuple[Any, ...]]]]:
        rows = connection.execute("SELECT rid, id, parent FROM run ORDER BY rid").fetchall()
        family = {root.rid}
        for rid, _, parent in rows:  # who calls has begun before
            family |= {rid} if parent in family else set()
        query = "SELECT kind, name, key, n, status, iif(kind = 'step', output, NULL) FROM step WHERE run = ?"
        return [(id, sorted(connection.execute(query, (rid,)).fetchall())) for rid, id, _ in rows if rid in family]

    found: list[tuple[str, list[tuple[Any, ...]]]] = machine.engine.store.journal.read(look)
    return sorted(found)


@pytest.mark.parametrize("shape", range(13))
def test_left_at_every_wait_it_does_what_it_does_without(
    machine: Machine, shape: int, ledger: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    """The same steps in the same order with the same results and ids, in a new process after each wait."""
    machine.world = Clock()  # type: ignore[assignment]  # it lets tasks wait side by side
    machine.boot()
    machine.engine.resources.suspend_after = float("inf")
    expected, steps, ids = shapes()[shape](), list(ledger), identities(machine)
    ledger.clear()
    local.close_all()
    for file in machine.folder.glob("state.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    machine.world = clock = Clock()  # type: ignore[assignment]  # which gives the same ids once more
    machine.boot()
    lives = 0
    while True:
        lives += 1
        assert lives < 30
        machine.engine.resources.suspend_after = 0.0
        try:
            result = shapes()[shape]()
        except Suspended:
            wake = next(run.wake for run in machine.engine.store.runs(status="suspended") if run.parent is None)
            assert wake is not None
            machine.boot()
            clock.advance(max(0.0, wake - clock.now()))
        else:
            break
    assert result == expected
    assert ledger == steps
    assert identities(machine) == ids
    assert lives > 2
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_branch_that_does_something_else_keeps_the_run(machine: Machine) -> None:
    """A foreign await, a timer of the loop: the run is not left under it; when only waits remain, it is."""
    order: list[str] = []
    machine.world = Clock()  # type: ignore[assignment]
    machine.boot()

    @workflow(name="shaped.busy")
    async def busy() -> None:
        gate = asyncio.get_running_loop().create_future()

        async def foreign() -> None:
            await gate
            order.append("foreign")
            await aio.wait_for("never")

        async def opens() -> None:
            async with asyncio.timeout(3600):
                await aio.sleep("10s")
            order.append("slept")
            gate.set_result(None)
            await aio.sleep("1d")

        await asyncio.gather(foreign(), opens())

    left(lambda: asyncio.run(busy()))
    assert order == ["slept", "foreign"]
    assert sorted(open_waits(machine.state)) == [("perdure.sleep", None), ("perdure.wait:never", "never")]


def test_a_thread_that_has_ended_does_not_keep_an_async_run(machine: Machine) -> None:
    """A sync step was called by `asyncio.to_thread`; its idle thread is left, and the step is not made again."""

    @workflow(name="shaped.to_thread")
    async def to_thread() -> list[Any]:
        made = await asyncio.to_thread(work, 7)
        return [made, await aio.wait_for("shaped.go")]

    left(lambda: asyncio.run(to_thread()))
    assert newest(machine).status == "suspended"
    perdure.signal(newest(machine).id, "shaped.go", 8)
    assert asyncio.run(to_thread()) == [7, 8]
    assert LEDGER == [7]
