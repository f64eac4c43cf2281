"""What the journal notes of calls that can be undone, and of those that were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from perdure.core import records
from perdure.core.exceptions.fault import decode
from perdure.core.execution.history import History
from perdure.core.execution.identity import identify
from perdure.core.execution.recorded_inputs import are_inputs_of
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import DEFER_NOTE, UNDO_NOTE, Row
from perdure.core.values import codec
from perdure.errors import NotDecodable, ProcessDied


def called(kind: str, name: str, given: bytes) -> tuple[str, bytes]:
    """Name and packed inputs of a call as people see them: of what is deferred, rather than of the deferring."""
    if kind != "defer":
        return name, given
    (_, step, deferred), _ = codec.unpack_inputs(given, (), owner=DEFER_NOTE)
    return f"defer {step}", deferred


def noted_before(
    note: Spec, now: tuple[str, str, bytes], asked: Call, history: History, is_gone: Callable[[str], bool]
) -> tuple[str, str, bytes]:
    """What an earlier life has noted of the same deferring: where the step was, its name, and what it is given.

    A field that a class has gained since, and a step that was moved, make no other one of it.

    Args:
        note: the step that writes it down.
        now: what would be noted now.
        asked: the call that is deferred.
        history: of the run.
        is_gone: has that module no step of the name any more?
    """
    if not history.resumed or history.knows(note.name, identify(note, now, {}).key):
        return now
    for record in history.unclaimed_records(note.name):
        (module, name, given), _ = codec.unpack_inputs(record.input, (), owner=note.name)
        same_place = name == now[1] and (module == now[0] or is_gone(module))
        if same_place and (given == now[2] or are_inputs_of(given, asked)):
            return module, name, given
    return now


def undo_row(call: Call, history: History, row: Row) -> Row:
    """What stands beside the record `row` of a call that can be undone."""
    undo = call.spec.undo
    assert undo is not None
    return history.can_be_undone(row, undo_note((undo.module, undo.name), row[records.SEQ], call.spec.name))


def undo_note(undo: tuple[str, str], seq: int, step: str) -> bytes:
    """What that record says: the step that takes the call back (its module, its name), and what it takes back."""
    return codec.pack_inputs([*undo, seq, step], {}, owner=UNDO_NOTE)


ONE_ARGUMENT = b"\x91"
"""How packed inputs begin that are one value: a list of one (MessagePack's fixarray)."""


def given_of(result: bytes) -> bytes:
    """What an undoing is called with: the result of what it takes back, both packed."""
    return ONE_ARGUMENT + result


def was_cut_off(error: bytes) -> bool:
    """Did an attempt that failed with that packed fault run out of time, or its process die?

    Whether it was done is not known then.
    """
    try:
        fault = decode(error)
    except NotDecodable:
        return False
    return not _CUT_OFF.isdisjoint([(fault.module, fault.qualname), *fault.bases])


_CUT_OFF = {(each.__module__, each.__qualname__) for each in (TimeoutError, ProcessDied)}


def undone_key(step: str, key: bytes, n: int) -> bytes:
    """What the undoings of a step's call go by: of calls that are alike, each has its own."""
    which = b"\0%d" % n if n else b""
    return codec.digest(f"{step}\0".encode() + key + which)


def salt(step: str, key: bytes, n: int, undone: Counter[bytes]) -> bytes:
    """What sets the idempotency key of a call apart from the same call before it was undone.

    Args:
        step: its name.
        key: what identifies it, with `n`.
        n: how many times both came before in the run.
        undone: how often which calls were undone, as in `History.undone`.
    """
    # Calls that are alike went by one key once, so that an undoing of a later one counts there.
    times = undone[undone_key(step, key, n)] or (undone[undone_key(step, key, 0)] > n)
    return b"undone %d" % times if times else b""
