"""What OpenTelemetry is told: spans of runs and attempts, and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from perdure import Retry, step, workflow
from perdure.engines.local.engine import close_all
from perdure.engines.observers import attach
from perdure.errors import StepTimeout

EXPORTER = InMemorySpanExporter()
READER = InMemoryMetricReader()
AGAIN = Retry(attempts=2, delay=0.001, jitter=0)


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """The SDK's providers can be set once in a process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([READER]))


@pytest.fixture(autouse=True)
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PERDURE_STATE", str(tmp_path / "state.db"))
    monkeypatch.setenv("PERDURE_OTEL", "1")
    EXPORTER.clear()
    yield
    close_all()
    attach._made.pop("otel", None)


def spans(name: str) -> list[ReadableSpan]:
    return [span for span in EXPORTER.get_finished_spans() if span.name == name]


def points() -> dict[str, list[object]]:
    data = READER.get_metrics_data()
    found: dict[str, list[object]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found.setdefault(metric.name, []).extend(metric.data.data_points)
    return found


def test_spans_of_a_steps_own_code_are_below_its_attempt() -> None:
    """The run's span has the attempts below it, and an attempt's span is the current one while the step runs."""
    tracer = trace.get_tracer("test")

    @step(retry=AGAIN)
    def fetch(n: int) -> int:
        with tracer.start_as_current_span("inner"):
            return n

    @workflow
    def job() -> int:
        assert not trace.get_current_span().get_span_context().is_valid
        found = fetch(1)
        assert not trace.get_current_span().get_span_context().is_valid
        return found

    job()
    (run,), (attempt,), (inner,) = spans("run job"), spans("step fetch"), spans("inner")
    assert attempt.parent is not None
    assert inner.parent is not None
    assert attempt.parent.span_id == run.context.span_id
    assert inner.parent.span_id == attempt.context.span_id
    assert attempt.attributes is not None
    assert attempt.attributes["perdure.step.attempt"] == 1
    assert attempt.attributes["code.function.name"].endswith("fetch")
    assert run.attributes is not None
    assert run.attributes["perdure.run.status"] == "done"


def test_async_steps_that_run_side_by_side_keep_their_spans_apart() -> None:
    """Two branches: each inner span is below its own attempt."""
    tracer = trace.get_tracer("test")
    both: list[asyncio.Event] = []

    @step(retry=AGAIN)
    async def fetch(n: int) -> int:
        both[n].set()
        await both[1 - n].wait()
        with tracer.start_as_current_span(f"inner {n}"):
            return n

    @workflow
    async def job() -> list[int]:
        both.extend([asyncio.Event(), asyncio.Event()])
        return list(await asyncio.gather(fetch(0), fetch(1)))

    asyncio.run(job())
    parents = {span.parent.span_id for n in (0, 1) for span in spans(f"inner {n}") if span.parent}
    assert parents == {span.context.span_id for span in spans("step fetch")}
    assert len(parents) == 2


def test_failures_say_what_failed_and_hide_credentials() -> None:
    """A failed attempt has error.type, status and an exception event, without the password in it."""

    @step(retry=AGAIN)
    def fetch() -> None:
        raise ConnectionError("postgres://bob:hunter2222@db/x refused")

    @workflow
    def broken() -> None:
        fetch()

    with pytest.raises(ConnectionError):
        broken()
    attempts = spans("step fetch")
    assert [span.attributes["perdure.step.attempt"] for span in attempts if span.attributes] == [1, 2]
    for span in attempts:
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ConnectionError"
        (event,) = span.events
        assert event.name == "exception"
        assert "hunter2222" not in span.to_json()
        assert "bob:***@db" in span.to_json()
    (run,) = spans("run broken")
    assert run.status.status_code is trace.StatusCode.ERROR


def test_a_stuck_attempt_has_an_end() -> None:
    """An attempt whose thread is left behind when its time is over has a span and is counted all the same."""

    @step(retry=AGAIN, timeout=0.05)
    async def stuck(n: int) -> None:
        await asyncio.Event().wait()

    @workflow
    async def late() -> None:
        await stuck(1)

    with pytest.raises(StepTimeout):
        asyncio.run(late())
    assert len(spans("step stuck")) == 2


def test_metrics_count_attempts_durations_and_dead_letters() -> None:
    """The counter of attempts by outcome, the histograms of durations, and the dead letters of a batch."""

    @step(retry=AGAIN)
    def item(n: int) -> int:
        if n == 2:
            raise OSError("no")
        return n

    @workflow
    def counted() -> int:
        return len(item.map([1, 2, 3], concurrency=2).dead)

    assert counted() == 1
    found = points()

    def value(name: str, **about: str) -> int:
        wanted = {f"perdure.{key.replace('_', '.')}": text for key, text in about.items()}
        return sum(
            getattr(point, "value", None) or getattr(point, "count", 0)
            for point in found[name]
            if wanted.items() <= dict(point.attributes).items()  # type: ignore[attr-defined]
        )

    mine = {"step_name": "item", "workflow_name": "counted"}
    assert value("perdure.step.attempts", outcome="ok", **mine) == 2
    assert value("perdure.step.attempts", outcome="error", **mine) == 2
    assert value("perdure.step.attempt.duration", **mine) == 4
    assert value("perdure.dead_letters", **mine) == 1
    assert value("perdure.run.duration", workflow_name="counted", run_status="done") == 1
