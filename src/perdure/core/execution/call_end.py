"""How a call ends, and what is saved of that: it succeeds, fails for good, or becomes a dead letter."""

from __future__ import annotations

from collections.abc import Generator
from types import CoroutineType
from typing import Any, Final

import msgspec

from perdure.core.exceptions import capture
from perdure.core.exceptions.program_faults import Suspicion
from perdure.core.execution.effects import Effect, Outcome, Save
from perdure.core.execution.history import History
from perdure.core.execution.identity import refuse_change
from perdure.core.execution.result_check import ensure
from perdure.core.execution.spec import Call
from perdure.core.records import SEQ, AttemptRecord, Marks, Row, StepStatus
from perdure.core.values.pieces import Large
from perdure.errors import ArgumentChanged, NotDecodable, NotStorable, StopRun


class Succeeded(msgspec.Struct, frozen=True):
    """The call has a result, and the result is saved under the number `seq`."""

    value: Any
    seq: int


class Failed(msgspec.Struct):
    """The call has failed for good, and the caller of the workflow's function is to raise `error`, once: see `take`.

    It is returned rather than raised: a generator cannot raise StopIteration, which a step may well do. `last` is the
    last attempt, `attempts` how many there were; both are empty for a failure that comes from the history (`replayed`).
    `unsaved` is the record of the last attempt, which is to be saved in one commit with that of the call.
    `program` says how surely the program is at fault, of a failure that was to be parked and is not for that reason.
    `verdict` is what is known of it, packed.
    """

    error: Exception
    last: Outcome | None = None
    attempts: int = 0
    replayed: bool = False
    unsaved: AttemptRecord | None = None
    program: Suspicion = "none"
    verdict: bytes | None = None

    def take(self) -> Exception:
        """Its error, to be raised, which is kept here no more: the frames that hold this are in the error's traceback.

        In such a circle, what the error holds (a socket, a body) would last until the collector comes by.
        """
        error, self.error = self.error, _TAKEN
        return error


_TAKEN: Final = Exception("what a call has failed with was raised already")


class Parked(msgspec.Struct, frozen=True, gc=False):
    """The call has failed for good and is a dead letter, saved under the number `seq`; its caller gets None."""

    seq: int
    value: None = None


End = Succeeded | Failed | Parked
Decision = Generator[Effect, Any, End]


def first_success(call: Call, history: History, outcome: Outcome) -> tuple[Row, ...] | None:
    """What is to be saved of a first attempt that has succeeded; None if it has not.

    The value of `outcome` is the one that the workflow sees then.
    """
    if outcome.error is not None or (payload := accept(call, history, outcome)) is None:
        return None
    if call.extras is not None:
        call.extras.began(outcome.began())
    return succeeded(call, history, payload, outcome, 1)


def accept(call: Call, history: History, outcome: Outcome) -> bytes | None:
    """The value of an attempt, packed; None if it is not what the step may return, and `outcome.refused` says why.

    The value of `outcome` is afterwards the one that the workflow sees. It is looked at once: a step's own check may
    say something else the next time.
    """
    spec = call.spec
    try:
        refuse_change(call)
        if outcome.attempts:
            payload, value = _read(call, outcome)
        else:
            if spec.ensure is not None:
                ensure(spec, outcome.value)
            payload, value = spec.plan.round_trip(outcome.value)
        if len(payload) + len(call.input) > history.largest:
            history.refuse_oversized(spec.owner, call.input, payload)
    except (NotStorable, ArgumentChanged, MemoryError) as refusal:
        if isinstance(outcome.value, CoroutineType):
            outcome.value.close()  # the refusal says that it was not awaited, and the collector need not
        outcome.refused = refusal
        return None
    except Exception as raised:
        if spec.ensure is None:
            raise
        outcome.refused = raised
        return None
    outcome.value = value
    return payload


def _read(call: Call, outcome: Outcome) -> tuple[bytes, Any]:
    assert outcome.packed is not None
    try:
        return outcome.packed, call.spec.plan.unpack(outcome.packed)
    except NotDecodable as misfit:
        raise StopRun(misfit) from misfit


def success(call: Call, history: History, payload: bytes, outcome: Outcome, attempts: int, cut: int = 0) -> Save:
    """What is to be saved of a call that has succeeded.

    Args:
        call: which.
        history: of the run.
        payload: its value, packed.
        outcome: of its last attempt.
        attempts: how many there were.
        cut: in how many earlier lives of the run it was executed.
    """
    rows = succeeded(call, history, payload, outcome, attempts)
    if not (cut or attempts > 1 or call.drop or call.due_to_exit):
        return Save(rows)
    marks = _marks(call, cut) if (cut or attempts > 1) and not outcome.attempts else ()
    # What came after a call that is undone may follow from its result, and it is made again.
    aftermath = (min(call.drop) + 1, call.seq) if call.drop else None
    return Save(rows, drop=call.drop, aftermath=aftermath or exempt(call), marks=marks)


def exempt(*calls: Call) -> tuple[int, int] | None:
    """The numbers of the records of calls, made together, that are not held against a life that does not make them."""
    due = [call.seq for call in calls if call.due_to_exit]
    return (min(due), max(due)) if due else None


def succeeded(call: Call, history: History, payload: bytes, outcome: Outcome, attempts: int) -> tuple[Row, ...]:
    """The record of a call that has succeeded, and those that have to be saved with it."""
    spec = call.spec
    if len(payload) > spec.artifact_above:
        payload = Large(payload)
    row = history.row(call, "done", payload, outcome.started, outcome.seconds, attempts)
    rows: tuple[Row, ...] = (row,)
    if spec.undo is not None:
        from perdure.core.execution.cleanup_records import undo_row

        rows = (row, undo_row(call, history, row))
    return history.with_notes(rows) if history.unsaved or history.fired else rows


def _marks(call: Call, cut: int) -> tuple[Marks, ...]:
    """Of a call that was executed more than once: in how many lives, and whether it asked for its key."""
    keyed = None if call.spec.isolate else int(call.keyed)  # of another process that is not known
    return (Marks(call.seq, cut + 1 if cut else None, keyed),)


def fail(call: Call, history: History, end: Failed) -> Generator[Effect, Any, None]:
    """A step has failed for good: that is saved, like a result, before the workflow sees it.

    If it turns out to be what ends the run, the record is taken back with the end.
    """
    row = ended_row(call, history, "failed", end)
    yield Save(history.with_notes((row,)), attempt=end.unsaved)
    history.failed(end.error, row[SEQ], verdict=end.verdict)


def ended_row(call: Call, history: History, status: StepStatus, end: Failed) -> Row:
    """The record of a call that has failed for good; its error is what later lives are given, too."""
    last = end.last or Outcome(None, end.error, 0.0, 0.0)
    fault, end.error = capture.to_record(end.error, call.spec.module)
    return history.row(call, status, fault, last.started, last.seconds, end.attempts)


def parked(call: Call, history: History, end: Failed) -> Decision:
    """A call that has failed for good becomes a dead letter."""
    row = ended_row(call, history, "dead", end)
    edited = history.edits.get((call.spec.name, call.key, call.n))
    yield Save(history.with_notes((row,)), letters=(row[SEQ],), attempt=end.unsaved, edited=edited)
    return Parked(row[SEQ])
