"""Drift: a script that was edited so that a completed step is now called with other inputs, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from perdure.core import commands
from perdure.core.execution.effects import Effect, Load, Settle
from perdure.core.execution.history import History
from perdure.core.execution.recorded_inputs import are_inputs_of
from perdure.core.execution.spec import Call
from perdure.core.records import CALLED, ENQUEUED, StepRecord, begun_by
from perdure.core.values import codec
from perdure.core.values.describe import describe_inputs_against
from perdure.core.values.drawn import drawn_anew
from perdure.errors import Drift, StopRun

SHOWN = 3
"""Records that the error names."""

Judging = Generator[Effect, Any, None]

Left = Callable[[str, bytes], str | None]
"""The id of an unfinished child run that an earlier life has begun and this one has not called: of a workflow of that
name, with inputs of that key."""


def none_left(workflow: str, key: bytes) -> None:
    """Nothing was begun before."""


def settle(call: Call, history: History) -> Generator[Effect, Any, StepRecord | None]:
    """A call without a record waits until the replay has come to rest, and is judged then.

    Returns:
        The record of a call with the same inputs that was not made again, and that the call may have then: the
        script was rearranged. None if it is new.

    Raises:
        StopRun: with Drift, if completed calls of the same name remain that were not made again.
    """
    while history.unsettled(call.spec.name, call):
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
    found = None if history.elsewhere is None else history.elsewhere(call)
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


def refuse_begun_otherwise(call: Call, asked: Call, history: History, left: Left, id: str | None = None) -> Judging:
    """A run is not begun that an earlier life has begun in another way, by a call that the script makes no more.

    The ways are: as a child run, as a run with an id, and in a queue. A run of the same id is the same run.

    Args:
        call: what has no record.
        asked: the call of the workflow.
        history: of the workflow that calls it.
        left: see `Left`.
        id: of the run that is to begin; None: it gets one of its own.

    Raises:
        StopRun: with Drift.
    """
    name, mine = asked.spec.name, call.spec.name
    ways = [way for way in (name, CALLED + name, ENQUEUED + name) if way != mine and history.doubtful(way)]
    if not ways and (mine == name or left(name, asked.key) is None):
        return
    if (yield Settle(call)) is None:
        return
    for way in ways:
        for seq in history.unclaimed(way):
            record = yield Load(call, seq, peek=True)
            before = None if way == name else codec.to_builtins(record.output)
            if (before is None or before != id) and any(
                are_inputs_of(record.input, asked, with_id) for with_id in {None, before}
            ):
                raise StopRun(_begun_otherwise(call, asked, way, record.input, f"step #{seq}", history))
    if mine != name and (child := left(name, asked.key)) is not None:
        raise StopRun(_begun_otherwise(call, asked, name, asked.input, f"child run {child}, unfinished", history))


def _begun_otherwise(call: Call, asked: Call, way: str, given: bytes, which: str, history: History) -> Drift:
    name = asked.spec.name
    ways = {name: f"{name}{{}}", CALLED + name: f"{name}{{}}", ENQUEUED + name: f"{name}.enqueue{{}}"}
    return Drift(
        f"workflow {name!r} was called with these inputs before, and is called in another way now (as a child run, "
        "with an id, or put into a queue), which is another run; it is not executed again\n"
        f"    recorded: {ways[way].format(codec.describe_inputs(given))}  ({which} of run {history.id})\n"
        f"    now:      {ways[call.spec.name].format(codec.describe_inputs(call.input))}{_executed_before(history)}",
        "one of these, whichever is true:\n"
        f"    it is the same work: call {name!r} as before until this run has ended\n"
        f"    the run is new work, the recorded results stand:  {commands.accept(history.top()[0])}",
    )


def _refuse_renamed(call: Call, history: History) -> Generator[Effect, Any, None]:
    """A step that the script has no more was completed with the inputs of this call: it is not made again by mistake.

    Raises:
        StopRun: with Drift.
    """
    found = history.renamed(call)
    if found is None:
        return
    before, seq = found
    record: StepRecord = yield Load(call, seq, peek=True)
    if not are_inputs_of(record.input, call):
        return
    (way, before), (_, now), run = begun_by(before), begun_by(call.spec.name), history.id
    kind, put = "workflow" if way else call.spec.kind, ".enqueue" if way == ENQUEUED else ""
    accept = commands.accept(history.top()[0])
    quoted = repr(before) if '"' in before else f'"{before}"'
    raise StopRun(
        Drift(
            f"{kind} {before!r} seems to be {now!r} now: the script has no {before!r} any more, and calls "
            f"{now!r} with the inputs that it had; it is not executed\n"
            f"    recorded: {before}{put}{codec.describe_inputs(record.input)}  (step #{seq} of run {run})\n"
            f"    now:      {now}{put}{codec.describe_inputs(call.input)}{_executed_before(history)}",
            "one of these, whichever is true:\n"
            f"    it was renamed: let it keep its name in the state,  @{kind}(name={quoted})\n"
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
            if are_inputs_of(record.input, call):
                return record
    return None


def drift(call: Call, history: History, records: list[StepRecord]) -> Drift:
    """The error for a call that is not made as these records say, with the ways out."""
    name, run = call.spec.name, history.id
    is_run = name.startswith((CALLED, ENQUEUED))
    kind, shown = ("workflow", name.partition(":")[2]) if is_run else ("step", name)
    completed = f"was {'called' if name.startswith(CALLED) else 'enqueued'}" if is_run else "had completed"
    lines = [f"{kind} {shown!r} {completed} with other inputs than it is called with now; it is not executed again"]
    lines += [
        f"    recorded: {shown}{describe_inputs_against(record.input, call.input)}{_by(call, record.label)}  "
        f"(step #{record.seq} of run {run})"
        for record in records
    ]
    more = len(history.unclaimed(name)) - len(records) if not call.named else 0
    if more > 0:
        lines.append(f"              and {more} more")
    before = records[0].input if records else b""
    label = None if call.extras is None else call.extras.label
    lines.append(f"    now:      {shown}{describe_inputs_against(call.input, before)}{_by(call, label)}")
    if edited := call.spec.signature.edited:
        lines.append(f"    the default of {' and '.join(edited)} was edited since, and is an argument like others here")
    drawn = ""
    if any(drawn_anew(record.input, call.input) for record in records):
        drawn = (
            "    a time or a random id is drawn at each run:        draw it with perdure.now() or perdure.uuid(), "
            "and as a key send perdure.idempotency_key(); this call is executed once more all the same\n"
        )
    top, above = history.top()
    died = ""
    if history.deaths:
        died = "\n        (or nothing was edited: the process died in an `except` or a `finally` whose cause is gone)"
    return Drift(
        "\n".join(lines) + _executed_before(history),
        f"one of these, whichever is true:\n{drawn}"
        f"    the call is new work, the recorded results stand:  {commands.accept(top)}{died}\n"
        f"    the recorded results are to be made again:         {commands.fork(top, above or name)}\n"
        "    the inputs come from something that changed (a list, a file, the clock): read it in a step of its own",
    )


def _by(call: Call, label: str | None) -> str:
    """The key of a call, where the inputs do not say which it is."""
    return f" of key {label!r}" if label and call.named and codec.names_only(call.input) else ""


def _executed_before(history: History) -> str:
    if not history.has_new:
        return ""
    return f"\n    what was executed before it came to this call is saved:  {commands.show(history.top()[0])}"
