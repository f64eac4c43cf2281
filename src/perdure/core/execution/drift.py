"""Drift: a script that was edited so that a completed step is now called with other inputs, or not at all."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from perdure.core import commands
from perdure.core.execution.effects import Effect, Load, Settle
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.records import StepRecord
from perdure.core.values import codec
from perdure.errors import Drift, StopRun

SHOWN = 3
"""Records that the error names."""


def settle(call: Call, history: History) -> Generator[Effect, Any, StepRecord | None]:
    """A call without a record waits until the replay has come to rest, and is judged then.

    Returns:
        The record of a call with the same inputs that was not made again, and that the call may have then: the
        script was rearranged. None if it is new.

    Raises:
        StopRun: with Drift, if completed calls of the same name remain that were not made again.
    """
    while history.unsettled(call.spec.name):
        waiting: Sequence[Call] | None = yield Settle(call)
        if waiting is None:
            return None  # whether the others rest cannot be known: it goes on, and is held against nothing
        found = yield from _counterpart(call, history)
        if found is not None:
            history.adopt(call, found)
            return found
        drifted = None
        for one in (call, *waiting):
            if not history.doubtful(one.spec.name):
                continue
            if one is not call and (yield from _counterpart(one, history)) is not None:
                break  # it will have that record first; then look again
            drifted = drifted or one
        else:
            # One branch that has drifted stops them all: none may execute while another is about to say so.
            if drifted is not None:
                raise StopRun((yield from _drifted(drifted, history)))
            history.rested = True
            return None
    return None


def _drifted(call: Call, history: History) -> Generator[Effect, Any, Drift]:
    records: list[StepRecord] = []
    for seq in history.unclaimed(call.spec.name)[:SHOWN]:
        record = yield Load(call, seq, peek=True)
        records.append(record)
    return drift(call, history, records)


def _counterpart(call: Call, history: History) -> Generator[Effect, Any, StepRecord | None]:
    if history.doubtful(call.spec.name):
        for seq in history.unclaimed(call.spec.name):
            record: StepRecord = yield Load(call, seq, peek=True)
            if codec.same_inputs(record.input, call.input):
                return record
    return None


def drift(call: Call, history: History, records: list[StepRecord]) -> Drift:
    """The error for a call that is not made as these records say, with the ways out."""
    name, run = call.spec.name, history.id
    lines = [f"step {name!r} had completed with other inputs than it is called with now; nothing was executed"]
    lines += [
        f"    recorded: {name}{codec.describe_inputs(record.input)}  (step #{record.seq} of run {run})"
        for record in records
    ]
    more = len(history.unclaimed(name)) - len(records) if not call.named else 0
    if more > 0:
        lines.append(f"              and {more} more")
    lines.append(f"    now:      {name}{codec.describe_inputs(call.input)}")
    return Drift(
        "\n".join(lines),
        "one of these, whichever is true:\n"
        f"    the call is new work, the recorded results stand:  {commands.accept(run)}\n"
        f"    the recorded results are to be made again:         {commands.fork(run, name)}\n"
        "    the inputs come from something that changed (a list, a file, the clock): read it in a step of its own",
    )
