"""Who finds out: the ends of runs on a cluster, and runs that hang there, are alerted by its workers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conformance.bench import Bench

from perdure import step, workflow
from perdure.engines.selection import cluster_at
from perdure.engines.temporal import courier, lookout
from perdure.engines.temporal.executions import find
from perdure.errors import RunError
from sinks import Sink, serving


class Post(Sink):
    """Takes alerts, and heartbeats below /check."""

    def accept(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Whatever it is."""
        return 200, {}

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that came."""
        return [json.loads(body) for path, _, body in self.requests if not path.startswith("/check")]

    @property
    def heartbeats(self) -> list[str]:
        """The others, without what ties a start to its end."""
        return [path.partition("?")[0] for path, _, _ in self.requests if path.startswith("/check")]


@pytest.fixture
def sink() -> Iterator[Post]:
    """Takes what is told."""
    sink = Post()
    with serving(sink):
        yield sink


def test_a_failure_is_alerted_once_until_the_recovery(bench: Bench, sink: Post) -> None:
    """The alert names the step; the same failure again is counted; a heartbeat tells both ends of each execution."""
    broken = [True]

    @step(retry=None)
    def send(number: int) -> int:
        if broken:
            raise ValueError(f"no {number}")
        return number

    @workflow(alert=f"http://{sink.address}/alerts", heartbeat=f"http://{sink.address}/check")
    def told(number: int) -> int:
        return send(number)

    assert isinstance(bench.run(told, 1), ValueError)
    assert isinstance(bench.run(told, 2), ValueError)
    broken.clear()
    assert bench.run(told, 1) == 1

    failed, recovered = sink.alerts
    assert (failed["what"], failed["step"], failed["attempt"]) == ("failed", "send", 1)
    assert failed["error"] == "ValueError: no 1"
    assert (recovered["what"], recovered["repeated"]) == ("recovered", 1)
    assert sink.heartbeats == ["/check/start", "/check/fail", "/check/start", "/check/fail", "/check/start", "/check"]


def test_an_alert_waits_for_its_target(bench: Bench, sink: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is away gets it later; one that has it does not get it again."""
    monkeypatch.setattr(courier, "FIRST_PAUSE", 0.05)

    @step(retry=None)
    def item(number: int) -> None:
        raise ValueError(str(number))

    with serving(Post()) as away:
        away.next_answers = [(503, {})] * 2

        @workflow(alert=[f"http://{sink.address}/", f"http://{away.address}/"])
        def letters() -> int:
            return len(item.map(range(2)).dead)

        assert bench.run(letters) == 2
        assert away.wait(3)
        assert {alert["id"] for alert in away.alerts} == {alert["id"] for alert in sink.alerts}
        assert [alert["what"] for alert in sink.alerts] == ["dead-letters"]


def test_a_run_that_hangs_is_alerted(bench: Bench, sink: Post) -> None:
    """While it hangs, also in a child run, with the step that it waits for; and when it goes on."""
    go = threading.Event()

    @step(retry=None)
    def stuck() -> None:
        assert go.wait(60)

    @workflow
    def child() -> None:
        stuck()

    @workflow(alert=f"http://{sink.address}/", stall="100ms")
    def hanging() -> None:
        child()

    handle = hanging.start()
    assert sink.wait(1)
    go.set()
    handle.result(60)
    hung, moving = sink.alerts
    assert (hung["what"], moving["what"]) == ("hung", "recovered")
    assert hung["run"] == moving["run"] == handle.id
    assert hung["notes"][0].startswith("in flight: stuck, attempt 1")


def test_a_run_that_was_terminated_is_alerted(bench: Bench, sink: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of its code runs then: a worker finds it, and tells it once however often it looks."""
    monkeypatch.setattr(lookout, "EVERY", 0.01)
    over, entered, end = threading.Event(), threading.Event(), threading.Event()

    @step(retry=None)
    def gate() -> None:
        entered.set()
        over.wait(60)

    @workflow(alert=f"http://{sink.address}/")
    def terminated() -> None:
        gate()

    engine = cluster_at(bench.engine)

    async def terminate(id: str) -> None:
        client = await engine.cluster.client()
        await client.get_workflow_handle((await find(engine.cluster, id)).workflow_id).terminate()

    handle = terminated.start()
    assert entered.wait(60)
    worker = threading.Thread(target=engine.serve, args=([__name__], end, 0.0))
    worker.start()
    engine.cluster.wait(terminate(handle.id))
    with pytest.raises(RunError, match="was terminated"):
        handle.result(60)
    assert sink.wait(1)
    over.set()
    end.set()
    worker.join(60)
    assert [(alert["what"], alert["run"]) for alert in sink.alerts] == [("failed", handle.id)]
