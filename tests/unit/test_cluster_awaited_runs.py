"""A run on a cluster that waits for the end of another: what is under way when the wait ends is not taken back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("temporalio")

from temporalio.exceptions import ApplicationError

from perdure.core.waits import RunEnd
from perdure.engines.temporal import awaited_runs
from perdure.engines.temporal.awaited_runs import AwaitedRuns
from perdure.engines.temporal.payloads import RunLook

ENDED = RunEnd("done", 5.0, b"\xc0")


class Cluster:
    """Signals that are under way until the test says how they end."""

    def __init__(self) -> None:
        self.signals: list[asyncio.Future[None]] = []
        self.waits = 0

    def info(self) -> Any:
        return SimpleNamespace(workflow_id="parent")

    def get_external_workflow_handle(self, id: str) -> Any:
        async def signal(name: str, data: bytes) -> None:
            self.signals.append(asyncio.get_running_loop().create_future())
            await self.signals[-1]

        return SimpleNamespace(signal=signal)

    async def wait_condition(self, condition: Any, timeout: float) -> None:
        self.waits += 1
        await asyncio.get_running_loop().create_future()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster()

    async def look(run: str) -> RunLook:
        return RunLook(run, None, 0.0, None)

    monkeypatch.setattr(awaited_runs, "workflow", found)
    monkeypatch.setattr(awaited_runs, "_look", look)
    return found


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("fails", [True, False])
def test_a_signal_that_is_under_way_is_not_taken_back(cluster: Cluster, fails: bool) -> None:
    """The other run ends, and so does the wait, while it is asked to tell of its end: the task ends by itself, however
    the signal does. Cancelled then, the whole run would have failed for good."""

    async def story() -> None:
        ends: dict[str, RunEnd] = {}
        runs = AwaitedRuns(ends, lambda run: None)
        runs.want("child")
        await _turns()
        (task,) = runs._tasks.values()
        (signal,) = cluster.signals
        ends["child"] = ENDED
        runs.want_no_more("child")
        await _turns()
        assert not signal.cancelled()
        assert not task.done()
        signal.set_exception(ApplicationError("it is over")) if fails else signal.set_result(None)
        await _turns()
        assert (task.done(), task.cancelled(), cluster.waits) == (True, False, 0)

    asyncio.run(story())


def test_a_task_that_waits_is_ended_with_the_wait(cluster: Cluster) -> None:
    """Once the other run was asked, nothing is under way; wanted again, it is asked again."""

    async def story() -> None:
        runs = AwaitedRuns({}, lambda run: None)
        for asked in (1, 2):
            runs.want("child")
            await _turns()
            cluster.signals[-1].set_result(None)
            await _turns()
            (task,) = runs._tasks.values()
            assert (len(cluster.signals), cluster.waits) == (asked, asked)
            runs.want_no_more("child")
            await _turns()
            assert task.cancelled()

    asyncio.run(story())
