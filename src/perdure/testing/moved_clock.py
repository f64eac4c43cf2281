"""A clock that a test moves: runs that sleep or wait for days are gone on with when they are due."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import datetime

from perdure.core.durations import Duration, seconds
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import RunRecord
from perdure.engines import registry
from perdure.engines.local import engine as local
from perdure.errors import NotFound, StopRun, Suspended
from perdure.testing.clock import START, Clock

Due = tuple[local.LocalEngine, int, float]
"""A run of an engine, by its number, and when it is due."""


class TimeTravel(Clock):
    """The engine's time inside `time_travel`: short waits jump, as with `Clock`, longer ones suspend a run."""

    def move(self, by: Duration | datetime) -> list[str]:
        """Let time pass, and go on with every suspended run that is due meanwhile, in the order in which they are.

        A run that fails keeps no other from its turn. When all that are due have had theirs, the first failure is
        raised, as the workflow raised it; its notes name the run, and the other runs that failed.

        Args:
            by: how long (seconds, timedelta, or text such as "1d"), or an aware datetime.

        Returns:
            The ids of the runs that were gone on with; one that was due twice is there twice.

        Raises:
            OptionError: it is neither.
            NotFound: the workflow of a run is not defined in this process.
            Exception, StopRun: what a workflow raises.
        """
        until = by.timestamp() if isinstance(by, datetime) else self.now() + seconds(by, option="by")
        found: list[str] = []
        failures: dict[Due, Exception | StopRun] = {}
        while (due := _next(until, failures)) is not None:
            engine, run, wake = due
            self.advance(max(0.0, wake - self.now()))
            found.append(run.id)
            try:
                _go_on(engine, run)
            except (Exception, StopRun) as error:  # noqa: BLE001  it is raised when all have had their turn
                error.add_note(f"perdure: raised by run {run.id}, which the moved clock went on with")
                failures[engine, run.rid, wake] = error
        self.advance(max(0.0, until - self.now()))
        if not failures:
            return found
        first, *others = failures.values()
        for other in others:
            first.add_note(f"perdure: then another one: {other!r}; {other.__notes__[-1].removeprefix('perdure: ')}")
        raise first


@contextmanager
def time_travel(start: float | datetime = START) -> Iterator[TimeTravel]:
    """A block of a test in which the clock of the engine is moved by the test.

    Args:
        start: the time of day at which it begins: seconds since the epoch, or an aware datetime.
    """
    clock = TimeTravel(start.timestamp() if isinstance(start, datetime) else start)
    before = local.engine_world.now
    local.close_all()
    local.engine_world.now = clock
    try:
        yield clock
    finally:
        local.close_all()
        local.engine_world.now = before


def _next(until: float, failed: Container[Due]) -> tuple[local.LocalEngine, RunRecord, float] | None:
    """The suspended run that is due first, by then at the latest; none that has failed so, and stays as it was."""
    due = [
        (run.wake, run.rid, engine, run)
        for engine in list(local._engines.values())
        for run in engine.store.runs(status="suspended")
        if run.wake is not None and run.wake <= until and (engine, run.rid, run.wake) not in failed
    ]
    if not due:
        return None
    wake, _, engine, run = min(due, key=lambda one: one[:2])
    return engine, run, wake


def _go_on(engine: local.LocalEngine, run: RunRecord) -> None:
    spec = _workflow(run)
    args, kwargs = spec.arguments(run.input)
    call = Call(spec, tuple(args), kwargs, run.input, run.key)
    try:
        if spec.is_async:
            import asyncio

            asyncio.run(engine.arun(call, script=spec.file, resume=run.id))
        else:
            engine.run(call, script=spec.file, resume=run.id)
    except Suspended:
        pass  # until the next time


def _workflow(run: RunRecord) -> Spec:
    for spec in reversed(registry.every("workflow")):
        if spec.name == run.workflow and os.path.abspath(spec.file) == run.path:
            return spec
    raise NotFound(f"no workflow {run.workflow!r} of {run.path} is loaded", "define it in this process, or import it")
