"""The life of a run: take it, call the workflow's function, write down how it ended. Written once, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any

import msgspec

from perdure.core import codec, faults
from perdure.core.call import End as CallEnd
from perdure.core.call import Failed, Succeeded, fail, move_on, recall, settle
from perdure.core.effects import Effect, Load, Outcome, Row, Save
from perdure.core.history import History
from perdure.core.records import RunRecord, StepRecord
from perdure.core.spec import Call
from perdure.errors import AlreadyRunning, NotStorable, OtherInputs, RunError, Skipped


class Start(msgspec.Struct, frozen=True):
    """What to run: what to look for, and what to write if nothing is found.

    `id` is the run's name if the caller gave one (`named`), a child's derived one, or None; `fresh` is the id that a
    new run gets then. `rid` names a known run to be resumed, whatever its inputs.
    """

    script: str
    path: str
    workflow: str
    key: bytes
    input: bytes
    fresh: str
    id: str | None = None
    named: bool = False
    parent: int | None = None
    rid: int | None = None


class HolderInfo(msgspec.Struct, frozen=True):
    """Who holds a run: process id, host, and since when (seconds since the epoch)."""

    token: str
    pid: int
    host: str
    started: float


class Held(msgspec.Struct, frozen=True):
    """The run is taken. `by` is None if this very process has it; `last` is the newest record."""

    run: RunRecord
    by: HolderInfo | None
    last: StepRecord | None


class Finished(msgspec.Struct, frozen=True):
    """The run under that id has ended before."""

    run: RunRecord


class Other(msgspec.Struct, frozen=True):
    """The run under that id has other inputs."""

    run: RunRecord


class Taken(msgspec.Struct, frozen=True):
    """The run is ours: new, or to be resumed."""

    run: RunRecord
    resumed: bool


class Begin(msgspec.Struct, frozen=True):
    """Find or make the run and take it, in one transaction. Answer: Taken, Held, Finished or Other."""

    start: Start


class Recall(msgspec.Struct, frozen=True):
    """Read what the run has done. Answer: a History."""

    run: RunRecord
    resumed: bool


class Body(msgspec.Struct, frozen=True):
    """Call the workflow's function, with this history behind its steps. Answer: an Outcome."""

    call: Call
    run: RunRecord
    history: History


class Forget(msgspec.Struct, frozen=True):
    """Take these records back, and hold the `aftermath` no longer against the script. Answer: None."""

    run: RunRecord
    seqs: tuple[int, ...]
    aftermath: tuple[int, int] | None = None


class End(msgspec.Struct, frozen=True):
    """The run has ended: write that down, with `rows`, without the records in `forget`; let it go.

    Answer: None, or the StateError that kept it from being written.
    """

    run: RunRecord
    status: str
    output: bytes
    rows: tuple[Row, ...] = ()
    forget: tuple[int, ...] = ()
    aftermath: tuple[int, int] | None = None


RunEffect = Effect | Begin | Recall | Body | Forget | End
Life = Generator[RunEffect, Any, "Ended | Failed"]


class Ended(msgspec.Struct, frozen=True):
    """How a run ended well: its result, as the caller sees it and packed, and the time it took in all."""

    value: Any
    payload: bytes
    started: float
    seconds: float


def live(call: Call, start: Start, began: Callable[[str], None] | None = None) -> Life:
    """One run from its start or resumption to its end; `began` is told its id."""
    answer = yield Begin(start)
    if not isinstance(answer, Taken):
        return _not_taken(call, answer, began)
    run = answer.run
    if began is not None:
        began(run.id)
    history = yield Recall(run, answer.resumed)
    while True:
        outcome: Outcome = yield Body(call, run, history)
        error = outcome.error
        if error is None:
            try:
                payload, value = call.spec.plan.round_trip(outcome.value)
            except NotStorable as refusal:
                error = refusal
            else:
                trouble = yield End(run, "done", payload, rows=history.all_pending())
                if trouble is not None:
                    raise trouble
                return Ended(value, payload, run.created, outcome.started + outcome.seconds - run.created)
        blame = history.blame(error)
        if blame.replayed:
            # A failure was taken for handled (a sibling branch had moved on), and turns out to be what ends the run.
            # It is not history, so the step gets its chance.
            yield Forget(run, blame.records, blame.aftermath)
            history = yield Recall(run, resumed=True)
            continue
        fault = faults.encode(faults.to_fault(error))
        trouble = yield End(run, "failed", fault, forget=blame.records, aftermath=blame.aftermath)
        if trouble is not None:
            error.add_note(f"perdure: that the run failed could not be saved: {trouble}")
        error.add_note(f"perdure: run {run.id} failed; run the script again to go on from here")
        return Failed(error, outcome, 1)


def _not_taken(call: Call, answer: Held | Finished | Other, began: Callable[[str], None] | None) -> Ended:
    run = answer.run
    match answer:
        case Finished() if run.status == "done" and run.output is not None:
            if began is not None:
                began(run.id)
            return Ended(
                call.spec.plan.unpack(run.output), run.output, run.started, (run.ended or run.started) - run.started
            )
        case Finished():
            raise RunError(f"run {run.id} was {run.status}", "give the new run another id")
        case Other():
            raise OtherInputs(
                f"run {run.id} was started with other inputs\n"
                f"    recorded: {run.workflow}{codec.describe_inputs(run.input)}\n"
                f"    now:      {run.workflow}{codec.describe_inputs(call.input)}",
                "an id stands for exactly one run: give these inputs an id of their own",
            )
        case Held(by=None):
            raise AlreadyRunning(
                f"run {run.id} is already running in this process",
                "wait for it, or start another run with an id of its own",
            )
        case Held():
            raise Skipped(_who(answer), "nothing was done; it goes on by itself")


def _who(held: Held) -> str:
    by, last = held.by, held.last
    assert by is not None
    since = datetime.fromtimestamp(by.started).isoformat(" ", "seconds")
    at = f"last saved step: #{last.seq} {last.name}" if last else "no step saved yet"
    return f"run {held.run.id} is already running: pid {by.pid} on {by.host} since {since}, {at}"


def child(call: Call, history: History, start: Callable[[], Start]) -> Generator[RunEffect, Any, CallEnd]:
    """A workflow called from a workflow: a run of its own, and a record in the history of the caller."""
    return nested(call, history, lambda: live(call, start()))


def nested(
    call: Call, history: History, life: Callable[[], Generator[Any, Any, Ended | Failed]]
) -> Generator[Any, Any, CallEnd]:
    """The same, for an engine that has its own way to carry a child: `life` begins when it turns out to be needed."""
    seq = history.claim(call)
    if seq is not None:
        return recall(call, history, (yield Load(call, seq)))
    if history.unsettled(call.spec.name):
        record = yield from settle(call, history)
        if record is not None:
            return recall(call, history, record)
    yield from move_on(history)
    ended = yield from life()
    if isinstance(ended, Failed):
        yield from fail(call, history, ended)
        return ended
    row = history.row(call, "done", ended.payload, ended.started, ended.seconds, 1)
    yield Save((row,))
    return Succeeded(ended.value, row[1])
