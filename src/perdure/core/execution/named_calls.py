"""A workflow that a workflow calls under an id: a run of its own, which the caller's records name before it begins.

Two records of the caller stand for it: that it was called, written before anything of the run is executed, and what
came of it. Both go by the inputs and the id, so an id that an edit has changed is told as another argument is.
docs/decisions/0091-runs-that-a-workflow-names.md says what else could have been done.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from perdure.core.execution.call import recall, recorded
from perdure.core.execution.call_end import End, exempt
from perdure.core.execution.child_run import nested
from perdure.core.execution.drift import Left, refuse_begun_otherwise
from perdure.core.execution.effects import Save
from perdure.core.execution.history import History
from perdure.core.execution.run_effects import Apart
from perdure.core.execution.spec import Call


def call_named(
    call: Call,
    history: History,
    begin: Callable[[], Generator[Any, Any, Any]],
    end_of: Callable[[str], Generator[Any, Any, End]],
    left: Left,
    now: float,
) -> Generator[Any, Any, End]:
    """A workflow called from a workflow under an id.

    Args:
        call: what stands for its end (`functions.named_call`).
        history: of the caller.
        begin: makes the life of the run.
        end_of: the wait of the caller for the end of a run of that id.
        left: finds an unfinished child run.
        now: in seconds since the epoch.
    """
    note, asked, id = call.args
    record = yield from recorded(note, history)
    if record is not None:
        recall(note, history, record)
    else:
        yield from refuse_begun_otherwise(note, asked, history, left, id)
        payload, _ = note.spec.plan.round_trip(id)
        note.due_to_exit = call.due_to_exit
        rows = history.with_notes((history.row(note, "done", payload, now, 0.0, 1),))
        yield Save(rows, aftermath=exempt(note))
    return (yield from nested(call, history, lambda: _apart(id, asked, history, begin, end_of)))


def _apart(id: str, asked: Call, history: History, begin: Any, end_of: Any) -> Generator[Any, Any, Any]:
    while True:
        # The run saves what it does apart, so what has led to it (a timeout) is saved before.
        if notes := history.with_notes(()):
            yield Save(notes, beforehand=True)
        ended = yield Apart(id, asked, begin())
        if ended is not None:
            return ended
        yield from end_of(id)
