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
from perdure.core.values.describe import describe_inputs_against
from perdure.core.values.drawn import drawn_anew
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
    while history.unsettled(call.spec.name, call.key):
        waiting: Sequence[Call] | None = yield Settle(call)
        if waiting is None:
            refuse_moved(call, history)
            return None  # whether the others rest cannot be known: it goes on, and is held against nothing
        found = yield from _counterpart(call, history)
        if found is not None:
            history.adopt(call, found)
            return found
        drifted = None
        for one in (call, *waiting):
            if one is call:
                refuse_moved(call, history)
            if not history.doubtful(one.spec.name):
                yield from _refuse_renamed(one, history)
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


def refuse_moved(call: Call, history: History) -> None:
    """A call that another run of the tree has completed, and makes no more, is not made again by mistake.

    Raises:
        StopRun: with Drift.
    """
    found = None if history.elsewhere is None else history.elsewhere(call.spec.name, call.key)
    if found is None:
        return
    name, before, now = call.spec.name, found.before, found.now
    renamed = "" if before.workflow == now.workflow else f' (@workflow(name="{before.workflow}") if it was renamed)'
    raise StopRun(
        Drift(
            f"{call.spec.kind} {name!r} was completed in run {before.id} of workflow {before.workflow!r}, and run "
            f"{now.id} of workflow {now.workflow!r} calls it now: the edited script seems to have moved the call; it "
            "is not executed again\n"
            f"    recorded: {name}{codec.describe_inputs(call.input)}  (step #{found.seq} of run {before.id})\n"
            f"    now:      {name}{codec.describe_inputs(call.input)}  (in run {now.id})",
            "one of these, whichever is true:\n"
            f"    it was moved: have workflow {before.workflow!r} call it until this run has ended{renamed}\n"
            f"    the call is new work, the recorded results stand:  {commands.accept(found.root)}",
        )
    )


def refuse_enqueued(call: Call, history: History) -> Generator[Effect, Any, None]:
    """A run is not enqueued that an earlier life has executed as a child, with a call that the script makes no more.

    Args:
        call: what stands for putting it into a queue; it has no record.
        history: of the workflow.

    Raises:
        StopRun: with Drift.
    """
    name, key = call.args[0].spec.name, call.args[0].key
    if history.open_record(name, key) is None or (yield Settle(call)) is None:
        return
    seq = history.open_record(name, key)
    if seq is None:  # another branch has made the call
        return
    given = codec.describe_inputs(call.input)
    raise StopRun(
        Drift(
            f"workflow {name!r} was completed as a child run with these inputs, and is put into a queue now; it is not "
            "executed again\n"
            f"    recorded: {name}{given}  (step #{seq} of run {history.id})\n"
            f"    now:      {name}.enqueue{given}{_executed_before(history)}",
            "one of these, whichever is true:\n"
            f"    it is the same work: call {name!r} as before until this run has ended\n"
            f"    the run is new work, the recorded results stand:  {commands.accept(history.top()[0])}",
        )
    )


def _refuse_renamed(call: Call, history: History) -> Generator[Effect, Any, None]:
    """A step that the script has no more was completed with the inputs of this call: it is not made again by mistake.

    Raises:
        StopRun: with Drift.
    """
    found = history.renamed(call.spec.name, call.key)
    if found is None:
        return
    before, seq = found
    record: StepRecord = yield Load(call, seq, peek=True)
    if not codec.same_inputs(record.input, call.input):
        return
    now, run = call.spec.name, history.id
    accept = commands.accept(history.top()[0])
    quoted = repr(before) if '"' in before else f'"{before}"'
    raise StopRun(
        Drift(
            f"{call.spec.kind} {before!r} seems to be {now!r} now: the script has no {before!r} any more, and calls "
            f"{now!r} with the inputs that it had; it is not executed\n"
            f"    recorded: {before}{codec.describe_inputs(record.input)}  (step #{seq} of run {run})\n"
            f"    now:      {now}{codec.describe_inputs(call.input)}{_executed_before(history)}",
            "one of these, whichever is true:\n"
            f"    it was renamed: let it keep its name in the state,  @{call.spec.kind}(name={quoted})\n"
            f"    the call is new work, the recorded results stand:   {accept}",
        )
    )


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
    lines = [f"step {name!r} had completed with other inputs than it is called with now; it is not executed again"]
    lines += [
        f"    recorded: {name}{describe_inputs_against(record.input, call.input)}  (step #{record.seq} of run {run})"
        for record in records
    ]
    more = len(history.unclaimed(name)) - len(records) if not call.named else 0
    if more > 0:
        lines.append(f"              and {more} more")
    before = records[0].input if records else b""
    lines.append(f"    now:      {name}{describe_inputs_against(call.input, before)}")
    if edited := call.spec.signature.edited:
        lines.append(f"    the default of {' and '.join(edited)} was edited since, and is an argument like others here")
    drawn = ""
    if any(drawn_anew(record.input, call.input) for record in records):
        drawn = (
            "    a time or a random id is drawn at each run:        draw it with perdure.now() or perdure.uuid(), "
            "and as a key send perdure.idempotency_key(); this call is executed once more all the same\n"
        )
    top, above = history.top()
    return Drift(
        "\n".join(lines) + _executed_before(history),
        f"one of these, whichever is true:\n{drawn}"
        f"    the call is new work, the recorded results stand:  {commands.accept(top)}\n"
        f"    the recorded results are to be made again:         {commands.fork(top, above or name)}\n"
        "    the inputs come from something that changed (a list, a file, the clock): read it in a step of its own",
    )


def _executed_before(history: History) -> str:
    if not history.has_new:
        return ""
    return f"\n    what was executed before it came to this call is saved:  {commands.show(history.top()[0])}"
