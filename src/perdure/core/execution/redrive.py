"""A dead letter, re-driven: its call is tried again, under the policy that its step has now.

The attempts are a series of their own: their numbers go on from where the last one ended, what the policy counts begins
anew. Nothing but a success resolves the letter.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterator
from typing import Any

import msgspec

from perdure.core.execution.attempts import attempts
from perdure.core.execution.call_end import End, Failed
from perdure.core.execution.edited_calls import call_from
from perdure.core.execution.effects import Effect, Resolve, Save, SaveAttempt
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import CLEAN_UPS, UNDO_NOTE, RunRecord, StepRecord
from perdure.core.values import codec


class Redriven(msgspec.Struct, frozen=True):
    """How it went: the end of the call; `seen`, whether the letter's run will see the result."""

    end: End
    seen: bool


def redrive(lid: int, call: Call, history: History) -> Generator[Effect | Resolve, Any, Redriven]:
    """Try the call of the letter `lid` again; what its attempts would save as a record resolves the letter."""
    program = attempts(call, history)
    answer: Any = None
    seen = False
    try:
        while True:
            effect = program.send(answer)
            if isinstance(effect, Save):
                answer, seen = None, (yield Resolve(lid, effect.rows, effect.drop))
            else:
                answer = yield effect
    except StopIteration as ended:
        end: End = ended.value
        if isinstance(end, Failed) and end.unsaved is not None:
            yield SaveAttempt(history.rid, end.unsaved)
        return Redriven(end, seen)


def call_of(record: StepRecord, spec: Spec, edited: bytes | None) -> Call:
    """The call that a record is about, as the step `spec` takes it now.

    Raises:
        NotDecodable, TypeError: as `call_from`.
    """
    if record.kind in CLEAN_UPS:  # the step under the name that it has in the journal
        spec = copy.copy(spec)
        spec.name, spec.record_kind, spec.undo = record.name, record.kind, None
    given = record.input if edited is None else edited
    return call_from(spec, given, record.key, record.n, edited=edited is not None)


def history_for(run: RunRecord, record: StepRecord, made: int, undone: dict[bytes, int], uniform: Any) -> History:
    """What the attempts of a redrive have to know of the run.

    Args:
        run: the letter's run.
        record: the record of its call; the one of a success gets the same number.
        made: the number of the last attempt so far.
        undone: how often which calls of the run were undone, as in `History.undone`.
        uniform: a source of random numbers in [0, 1).
    """
    before = (record.seq - 1, "", b"", 0, "failed", "step")
    tried = (record.name, record.key, record.n, made, 0, 0.0)
    history = History(run.rid, run.id, [before], [tried], epoch=run.epoch, uniform=uniform)
    history.undone.update(undone)
    return history


def takes_back(record: StepRecord, records: Iterator[StepRecord]) -> tuple[int, ...]:
    """The numbers of the records that go when the undoing of `record` succeeds: of what it undoes, and that it can be.

    Args:
        record: a dead letter's; one that is no undoing takes nothing back.
        records: those of its run.
    """
    from perdure.core.execution.cleanup_records import undone_key

    if (
        record.kind != "undone" or record.status == "abandoned"
    ):  # then that was taken back when the run was gone on with
        return ()
    for one in records:
        if one.kind == "undo":
            (_, _, seq, step), _ = codec.unpack_inputs(one.input, (), owner=UNDO_NOTE)
            if undone_key(step, one.key, one.n) == record.key:
                return (seq, one.seq)
    return ()
