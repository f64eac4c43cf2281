"""A workflow that is called from a workflow: a run of its own, and a record in the history of its caller."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from perdure.core.execution.call import recall, recorded
from perdure.core.execution.call_end import End as CallEnd
from perdure.core.execution.call_end import Failed, Succeeded, exempt, fail
from perdure.core.execution.effects import Save
from perdure.core.execution.history import History
from perdure.core.execution.repeats_and_budgets import refused
from perdure.core.execution.run import Ended, UnderWay, live
from perdure.core.execution.run_effects import RunEffect, Start
from perdure.core.execution.spec import Call
from perdure.core.records import SEQ


def child(
    call: Call, history: History, start: Callable[[], Start], end_of: Callable[[str], Generator[Any, Any, CallEnd]]
) -> Generator[RunEffect, Any, CallEnd]:
    """A workflow called from a workflow: a run of its own, and a record in the history of the caller.

    Args:
        call: the workflow's function and arguments.
        history: of the caller.
        start: what to look for, and what to write if it is not found.
        end_of: the wait of the caller for the end of a run of that id.
    """
    return nested(call, history, lambda: _child(call, history, start, end_of))


def _child(
    call: Call, history: History, start: Callable[[], Start], end_of: Callable[[str], Generator[Any, Any, CallEnd]]
) -> Generator[Any, Any, Ended | Failed]:
    while True:
        # A child run saves what it does apart, so what has led to it (a timeout) is saved before.
        if notes := history.with_notes(()):
            yield Save(notes, beforehand=True)
        try:
            return (yield from live(call, start()))
        except UnderWay as other:  # it is run once, was begun by another run, and is suspended with that
            asleep = other.id
        yield from end_of(asleep)


def nested(
    call: Call, history: History, life: Callable[[], Generator[Any, Any, Ended | Failed]]
) -> Generator[Any, Any, CallEnd]:
    """The same, for an engine that has its own way to carry a child: `life` begins when it turns out to be needed."""
    history.has_children = True
    record = yield from recorded(call, history)
    if record is not None:
        return recall(call, history, record)
    if history.open and call.spec.record_kind == "step":
        from perdure.core.execution.drift import none_left, refuse_begun_otherwise

        yield from refuse_begun_otherwise(call, call, history, none_left)
    for ledger in call.ledgers:
        refusal = ledger.refuse(call.spec.owner)
        if refusal is not None:
            end = Failed(refusal)
            refused(call, history)
            yield from fail(call, history, end)
            return end
    ended = yield from life()
    if isinstance(ended, Failed):
        yield from fail(call, history, ended)
        return ended
    row = history.row(call, "done", ended.payload, ended.started, ended.seconds, 1)
    yield Save(history.with_notes((row,)), aftermath=exempt(call))
    return Succeeded(ended.value, row[SEQ])
