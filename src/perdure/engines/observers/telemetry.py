"""Spans and metrics by OpenTelemetry, for `perdure[otel]`.

Names follow its semantic conventions: `code.function.name`, `error.type`, the event `exception`, durations in seconds;
what they have no name for is under `perdure.`. docs/observability.md lists all of it. What is exported, and where to,
is up to the SDK that the user sets up: without one, all of this does nothing.
"""

from __future__ import annotations

import atexit
import threading
from time import time_ns
from typing import Any

import msgspec
from opentelemetry import context, metrics, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from perdure.core.exceptions.capture import to_fault
from perdure.core.execution.spec import Call
from perdure.engines.events import (
    AttemptEnded,
    AttemptStarted,
    CallHeld,
    DeadLetterParked,
    Event,
    RetryScheduled,
    RunEnded,
    RunResumed,
    RunStarted,
    RunStopped,
    RunSuspended,
)
from perdure.engines.observers.event_json import error_line, error_type

SCOPE = "perdure"
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0)
"""Seconds: from a call on the same network to a job of an hour."""


class _Run(msgspec.Struct):
    span: Span
    around: Span
    """What was current when the run began."""
    began: int


class _Attempt(msgspec.Struct):
    call: Call
    span: Span
    token: Any
    thread: int


class Telemetry:
    """An observer that makes spans of runs and attempts, and counts them.

    While an attempt runs its span is the current one, so that spans of the step's own code are its children.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._tracer = trace.get_tracer(SCOPE)
        meter = metrics.get_meter(SCOPE)
        self._tried = meter.create_counter(
            "perdure.step.attempts", unit="{attempt}", description="Attempts of steps that have ended."
        )
        self._took = meter.create_histogram(
            "perdure.step.attempt.duration",
            unit="s",
            description="How long attempts of steps took.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._ran = meter.create_histogram(
            "perdure.run.duration",
            unit="s",
            description="How long runs took in this process.",
            explicit_bucket_boundaries_advisory=BOUNDARIES,
        )
        self._parked = meter.create_counter(
            "perdure.dead_letters", unit="{dead_letter}", description="Items that were parked as dead letters."
        )
        # What other threads still have under way when the process ends is exported all the same.
        atexit.register(self.close)

    def notify(self, event: Event) -> None:
        """Begin or end a span, or count."""
        match event:
            case AttemptStarted():
                self._attempt_started(event)
            case AttemptEnded():
                self._attempt_ended(event)
            case RetryScheduled():
                self._retry_scheduled(event)
            case RunStarted():
                self._run_started(event.run, event.workflow, 0, resumed=False)
            case RunResumed():
                self._run_started(event.run, event.workflow, event.recorded, resumed=True)
            case RunEnded():
                status = event.status
                self._end_run(event.run, event.workflow, status, None if status == "done" else f"run {status}")
            case RunStopped():
                self._run_stopped(event)
            case RunSuspended():
                self._end_run(event.run, event.workflow, "suspended", None)
            case CallHeld():
                self._call_held(event)
            case DeadLetterParked():
                self._parked.add(1, {"perdure.step.name": event.step, "perdure.workflow.name": event.workflow})
            case _:
                pass  # maps and replays have their attempts counted; a step says in its own span how far it has come

    def _run_started(self, run_id: str, workflow: str, recorded: int, *, resumed: bool) -> None:
        around = trace.get_current_span()
        parent = self._runs.get(run_id.rpartition(".")[0])  # the id of a child begins with its parent's
        span = self._tracer.start_span(
            f"run {workflow}",
            context=trace.set_span_in_context(parent.span) if parent is not None else None,
            kind=SpanKind.INTERNAL,
            attributes={
                "perdure.run.id": run_id,
                "perdure.workflow.name": workflow,
                "perdure.run.resumed": resumed,
                "perdure.run.recorded_steps": recorded,
            },
        )
        with self._lock:
            left = self._runs.pop(run_id, None)
            self._runs[run_id] = _Run(span, around, time_ns())
        if left is not None:
            left.span.end()

    def _run_stopped(self, event: RunStopped) -> None:
        with self._lock:
            run = self._runs.get(event.run)
        if run is not None:
            run.span.set_attribute("error.type", error_type(event.error))
        self._end_run(event.run, event.workflow, "stopped", error_line(event.error))  # the process may go on

    def _end_run(self, run_id: str, workflow: str, status: str, trouble: str | None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is None:
            return
        run.span.set_attribute("perdure.run.status", status)
        if trouble is not None:
            run.span.set_status(Status(StatusCode.ERROR, trouble))
        run.span.end()
        seconds = (time_ns() - run.began) / 1e9
        self._ran.record(seconds, {"perdure.workflow.name": workflow, "perdure.run.status": status})

    def _attempt_started(self, event: AttemptStarted) -> None:
        """Begin a span, which becomes the current one."""
        call = event.call
        self._overdue(call)
        run = self._runs.get(event.run)
        attributes: dict[str, Any] = {
            "perdure.run.id": event.run,
            "perdure.workflow.name": event.workflow,
            "perdure.step.name": event.step,
            "perdure.step.attempt": event.attempt,
            "code.function.name": f"{call.spec.fn.__module__}.{getattr(call.spec.fn, '__qualname__', event.step)}",
        }
        parent = None
        current = trace.get_current_span()
        # A span that the workflow opened around the call is nearer than the run's.
        if run is not None and (current is run.around or not current.get_span_context().is_valid):
            parent = trace.set_span_in_context(run.span)
        span = self._tracer.start_span(f"step {event.step}", context=parent, attributes=attributes)
        token = context.attach(trace.set_span_in_context(span))
        with self._lock:
            self._attempts[id(call)] = _Attempt(call, span, token, threading.get_ident())

    def _attempt_ended(self, event: AttemptEnded) -> None:
        entry = self._taken(event.call)
        if entry is None:
            return
        if entry.thread == threading.get_ident():
            context.detach(entry.token)
        self._finish(entry, event.workflow, event.error, event.seconds)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        """An attempt whose thread was left behind, stuck, has its end here."""
        entry = self._taken(event.call)
        if entry is not None:
            self._finish(entry, event.workflow, event.error, event.call.spec.timeout or 0.0)

    def _call_held(self, event: CallHeld) -> None:
        run = self._runs.get(event.run)
        if run is not None:
            about = {"perdure.step.name": event.step, "perdure.held.reason": event.reason}
            run.span.add_event("perdure.held", about)

    def close(self) -> None:
        """End what was broken off."""
        with self._lock:
            spans = [each.span for each in self._attempts.values()] + [each.span for each in self._runs.values()]
            self._attempts.clear()
            self._runs.clear()
        for span in spans:
            span.end()

    def _taken(self, call: Call) -> _Attempt | None:
        with self._lock:
            return self._attempts.pop(id(call), None)

    def _overdue(self, call: Call) -> None:
        entry = self._taken(call)
        if entry is not None:
            entry.span.set_status(Status(StatusCode.ERROR, "left behind"))
            entry.span.end()

    def _finish(self, entry: _Attempt, workflow: str, error: Exception | None, seconds: float) -> None:
        about = {"perdure.step.name": entry.call.spec.name, "perdure.outcome": "ok" if error is None else "error"}
        about["perdure.workflow.name"] = workflow
        if error is not None:
            about["error.type"] = kind = error_type(error)
            entry.span.set_attribute("error.type", kind)
            entry.span.set_status(Status(StatusCode.ERROR, error_line(error)))
            if entry.span.is_recording():
                # Not Span.record_exception: that would take the text as it is, with the credentials in it.
                fault = to_fault(error)
                particulars = {"exception.type": kind, "exception.message": fault.message}
                entry.span.add_event("exception", {**particulars, "exception.stacktrace": fault.traceback})
        entry.span.end()
        self._tried.add(1, about)
        self._took.record(seconds, about)
