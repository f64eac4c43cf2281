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

from perdure.core.exceptions.capture import Fault, to_fault
from perdure.core.execution.effects import Outcome
from perdure.core.execution.spec import Call
from perdure.engines.observers.log_observer import error_line

SCOPE = "perdure"
BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0)
"""Seconds: from a call on the same network to a job of an hour."""


class _Run(msgspec.Struct):
    workflow: str
    span: Span
    around: Span
    """What was current when the run began."""
    began: int


class _Attempt(msgspec.Struct):
    call: Call
    number: int
    span: Span
    token: Any
    thread: int


class Telemetry:
    """An onlooker that makes spans of runs and attempts, and counts them.

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

    def standing_by(self, workflow: str, reason: str) -> None:
        """A run has to wait for somebody: nothing to measure yet."""

    def run_began(self, run_id: str, workflow: str, recorded: int, resumed: bool) -> None:
        """A run was started or resumed."""
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
            self._runs[run_id] = _Run(workflow, span, around, time_ns())
        if left is not None:
            left.span.end()

    def run_ended(self, run_id: str, workflow: str, status: str) -> None:
        """A run has ended."""
        self._end(run_id, workflow, status, None if status == "done" else f"run {status}")

    def run_stopped(self, run_id: str, workflow: str, error: BaseException) -> None:
        """A run was broken off: its span ends, and the process may go on."""
        with self._lock:
            run = self._runs.get(run_id)
        if run is not None:
            run.span.set_attribute("error.type", _kind(error))
        self._end(run_id, workflow, "stopped", error_line(error))

    def _end(self, run_id: str, workflow: str, status: str, trouble: str | None) -> None:
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

    def replayed(self, run_id: str, call: Call) -> None:
        """A call was answered from its record: nothing was done."""

    def began(self, run_id: str, call: Call, attempt: int) -> None:
        """An attempt begins: its span becomes the current one."""
        self._overdue(call)
        run = self._runs.get(run_id)
        attributes: dict[str, Any] = {
            "perdure.run.id": run_id,
            "perdure.step.name": call.spec.name,
            "perdure.step.attempt": attempt,
            "code.function.name": f"{call.spec.fn.__module__}.{getattr(call.spec.fn, '__qualname__', call.spec.name)}",
        }
        parent = None
        if run is not None:
            attributes["perdure.workflow.name"] = run.workflow
            # A span that the workflow opened around the call is nearer than the run's.
            if trace.get_current_span() is run.around or not trace.get_current_span().get_span_context().is_valid:
                parent = trace.set_span_in_context(run.span)
        span = self._tracer.start_span(f"step {call.spec.name}", context=parent, attributes=attributes)
        token = context.attach(trace.set_span_in_context(span))
        with self._lock:
            self._attempts[id(call)] = _Attempt(call, attempt, span, token, threading.get_ident())

    def ended(self, run_id: str, call: Call, attempt: int, outcome: Outcome) -> None:
        """An attempt has ended."""
        entry = self._taken(call)
        if entry is None:
            return
        if entry.thread == threading.get_ident():
            context.detach(entry.token)
        self._finish(run_id, entry, outcome.error, outcome.seconds)

    def waiting(self, run_id: str, call: Call, attempt: int, seconds: float, error: Exception) -> None:
        """A failed attempt will be repeated; one whose thread was left behind, stuck, has its end here."""
        entry = self._taken(call)
        if entry is not None:
            self._finish(run_id, entry, error, call.spec.timeout or 0.0)

    def held(self, run_id: str, call: Call, reason: str, seconds: float) -> None:
        """A call may not go yet."""
        run = self._runs.get(run_id)
        if run is not None:
            run.span.add_event("perdure.held", {"perdure.step.name": call.spec.name, "perdure.held.reason": reason})

    def parked(self, run_id: str, name: str, letter: int, fault: Fault) -> None:
        """A call has become a dead letter."""
        run = self._runs.get(run_id)
        about = {"perdure.step.name": name, "perdure.workflow.name": "" if run is None else run.workflow}
        self._parked.add(1, about)

    def batch(self, run_id: str, name: str, done: int, dead: int, skipped: int, total: int | None) -> None:
        """A batch has come that far: its attempts and dead letters are counted one by one."""

    def progress(self, run_id: str, call: Call, done: float, total: float | None, note: str) -> None:
        """A step says how far it has come: it may say so itself, in its own span."""

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

    def _finish(self, run_id: str, entry: _Attempt, error: Exception | None, seconds: float) -> None:
        run = self._runs.get(run_id)
        about = {"perdure.step.name": entry.call.spec.name, "perdure.outcome": "ok" if error is None else "error"}
        if run is not None:
            about["perdure.workflow.name"] = run.workflow
        if error is not None:
            about["error.type"] = kind = _kind(error)
            entry.span.set_attribute("error.type", kind)
            entry.span.set_status(Status(StatusCode.ERROR, error_line(error)))
            if entry.span.is_recording():
                # Not Span.record_exception: that would take the text as it is, with the credentials in it.
                told = to_fault(error)
                particulars = {"exception.type": kind, "exception.message": told.message}
                entry.span.add_event("exception", {**particulars, "exception.stacktrace": told.traceback})
        entry.span.end()
        self._tried.add(1, about)
        self._took.record(seconds, about)


def _kind(error: BaseException) -> str:
    cls = type(error)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
