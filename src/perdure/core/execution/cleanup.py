"""What a run has to clean up when it ends: deferred calls, and the undoing of what was done.

The journal says what there is to do. A record of the kind `defer` holds the call of a step that is to be made at the
final end of the run, or at every end; one of the kind `undo` stands beside the record of a call whose step names
another to take it back. docs/decisions/0010-cleanup-undo-cancel-deadline.md and 0022-repair-adds-up.md tell how and
why.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import msgspec

from perdure.core.exceptions import capture
from perdure.core.execution.call import item
from perdure.core.execution.call_end import Succeeded
from perdure.core.execution.cleanup_records import given_of, undone_key
from perdure.core.execution.effects import Effect, Load, Save
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import DEFER_EVERY_NOTE, SEQ, StepKind, StepRecord, clean_up_name
from perdure.core.values import codec
from perdure.errors import PerdureError

Find = Callable[[StepKind, str, str, bytes], Spec]
"""The step of a clean-up of that kind, by the module that was noted, its name, and its packed inputs.

Raises NotFound.
"""


class _Cleaning(msgspec.Struct):
    """A clean-up as the journal has it: the step to be called, its packed inputs, what it goes by, what it replaces."""

    kind: StepKind
    module: str
    step: str
    name: str
    given: bytes
    key: bytes
    n: int = 0
    drop: tuple[int, ...] = ()


def unwind(
    history: History,
    find: Find,
    *,
    ok: bool,
    final: bool,
    children: Sequence[tuple[float, Callable[[], Generator[Any, Any, list[str]]]]] = (),
    ending: bytes = b"",
) -> Generator[Effect, Any, list[str]]:
    """Put away what this end of the run asks for, what came last first.

    A clean-up that fails for good becomes a dead letter, and so does one that cannot even be tried.

    Args:
        history: of the run.
        find: finds the steps.
        ok: the run has succeeded, so nothing is undone.
        final: it is not gone on with any more, so what is deferred is due.
        children: child runs that are done: the places of their records, and what undoes each.
        ending: how the run is to end, packed: noted before anything is undone, so that a process that goes on after a
            death undoes the rest first. A call that may be undone in part is not used as if nothing had been.

    Returns:
        What was not cleaned up, a line each.
    """
    missed: list[str] = []
    waiting = 0
    rest = sorted(children, key=lambda child: child[0])
    undoes = not ok and (rest or any(kind == "undo" for _, kind in history.to_clean()))
    if undoes and history.notes_endings and history.ending is None:
        yield Save(history.with_notes((history.ends(ending),)))
    for seq, kind in history.to_clean():
        while rest and rest[-1][0] > seq:
            missed += yield from rest.pop()[1]()
        if ok and kind == "undo":
            continue
        record: StepRecord = yield Load(None, seq, peek=True)
        cleaning = yield from _read(record, history)
        what = (cleaning.kind, cleaning.name, cleaning.key, cleaning.n)
        if history.is_cleaned(*what):
            if final and history.is_given_up(*what):
                missed.append(f"clean-up {cleaning.name} had failed before, and is not tried again")
            continue
        if kind == "defer" and not final and record.name != DEFER_EVERY_NOTE:
            waiting += 1
            continue
        try:
            call = _call(cleaning, find)
        except PerdureError as error:
            fault = capture.encode(capture.to_fault(error))
            row = history.note(*what, "dead", cleaning.given, fault)
            yield Save((row,), letters=(row[SEQ],))
            missed.append(f"clean-up {cleaning.name} could not be made: {error.what}")
            continue
        end = yield from item(call, history, park=True)
        if type(end) is not Succeeded:
            missed.append(f"clean-up {cleaning.name} has failed, and is a dead letter")
        elif kind == "undo":
            history.undone[call.key] += 1
    while rest:
        missed += yield from rest.pop()[1]()
    if waiting:
        calls = "1 deferred call waits" if waiting == 1 else f"{waiting} deferred calls wait"
        missed.append(f"{calls} until the run is done or cancelled")
    return missed


def _read(record: StepRecord, history: History) -> Generator[Effect, Any, _Cleaning]:
    noted, _ = codec.unpack_inputs(record.input, (), owner=record.name)
    if record.kind == "defer":
        module, step, given = noted
        # Once, or once for each time that the run has ended, however often it is killed meanwhile.
        end = b"%d" % history.epoch if record.name == DEFER_EVERY_NOTE else b"final"
        key = codec.digest(b"%b\0%d\0" % (end, record.n) + record.key)
        return _Cleaning("deferred", module, step, clean_up_name("deferred", step), given, key)
    module, step, seq, undone = noted
    result: StepRecord = yield Load(None, seq, peek=True)
    key = undone_key(undone, record.key, record.n)
    # One that was re-driven after the run had gone on without it is a dead letter to that still.
    given = given_of((result if result.status == "done" else record).output)
    name = clean_up_name("undone", step)
    return _Cleaning("undone", module, step, name, given, key, history.undone[key], (seq, record.seq))


def _call(cleaning: _Cleaning, find: Find) -> Call:
    """The call, of the step under the name that its clean-ups have in the journal."""
    import copy

    spec = copy.copy(find(cleaning.kind, cleaning.module, cleaning.step, cleaning.given))
    spec.name, spec.record_kind = cleaning.name, cleaning.kind
    spec.park, spec.undo = False, None
    args, kwargs = spec.arguments(cleaning.given)
    call = Call(spec, tuple(args), kwargs, cleaning.given, cleaning.key)
    call.n, call.drop = cleaning.n, cleaning.drop
    return call
