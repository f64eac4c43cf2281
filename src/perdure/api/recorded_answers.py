"""What a workflow sees of runs and services outside of it: recorded, so that it decides the same when it is resumed."""

from __future__ import annotations

import contextvars
from pathlib import Path
from typing import Any

from perdure.api.builtin import builtin
from perdure.api.running_loop import running_loop
from perdure.core.records import RunRecord, RunStatus
from perdure.engines.interface import Cancellation, StepContext, here

_where: contextvars.ContextVar[Any] = contextvars.ContextVar("perdure_looked_at")
"""What answers: no part of the inputs, since it may be elsewhere in the next life."""


def answer(question: Any, where: Any, *given: Any) -> Any:
    """Ask: in a workflow, outside of its steps, the answer is a record, and a resumed run gets that one.

    Args:
        question: one of the steps below, or another one that asks `asked()`.
        where: what answers, the runs of a state file for instance.
        given: the arguments of the step.
    """
    token = _where.set(where)
    try:
        context = here.get()
        recorded = context is not None and not isinstance(context, StepContext)
        return (question if recorded else question._spec.fn)(*given)
    finally:
        _where.reset(token)


def asked() -> Any:
    """What answers the question that the caller is."""
    return _where.get()


@builtin("perdure.run", in_place=True)
def find(id: str) -> str | None:
    """See that there is such a run. In a workflow it is recorded of which types its result is.

    Returns:
        The name of its workflow, whose types it is of; empty for plain data. None: nobody has looked, as in records
        of before.
    """
    runs, scope = asked()
    runs.status(id)
    if scope is None:
        return None
    from perdure.api.result_in_workflow import workflow_seen_by

    found = workflow_seen_by(scope, id)
    return "" if found is None else found.name


@builtin("perdure.status", in_place=True)
def status(id: str) -> RunStatus:
    """How a run stands, or its newest fork, which answers for it."""
    found: RunStatus = asked().status(id)
    return found


@builtin("perdure.published", in_place=True)
def published_by(id: str, name: str) -> Any:
    """What a run has published last under a name, as plain data."""
    from perdure.api.run_outcome import published_value

    return published_value(asked(), id, name)


@builtin("perdure.cancel", in_place=True)
def cancel(id: str) -> Cancellation:
    """Ask a run to end."""
    from perdure.api.run_scripts import load_script_of

    runs: Any = asked()
    state: Path | None = runs.state_file

    def load(run: RunRecord) -> None:
        load_script_of(run, state)

    def work() -> Cancellation:
        done: Cancellation = contextvars.Context().run(runs.cancel, id, load)  # no part of the run that asks
        return done

    if running_loop() is None:
        return work()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, "perdure-cancel") as pool:  # clean-ups may need a loop of their own
        return pool.submit(work).result()
