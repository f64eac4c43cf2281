"""What the journal notes of calls that can be undone, and of those that were."""

from __future__ import annotations

from perdure.core import records
from perdure.core.execution.history import History
from perdure.core.execution.spec import Call
from perdure.core.records import DEFER_NOTE, UNDO_NOTE, Row
from perdure.core.values import codec


def called(kind: str, name: str, given: bytes) -> tuple[str, bytes]:
    """Name and packed inputs of a call as people see them: of what is deferred, rather than of the deferring."""
    if kind != "defer":
        return name, given
    (_, step, deferred), _ = codec.unpack_inputs(given, (), owner=DEFER_NOTE)
    return f"defer {step}", deferred


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


def undone_key(step: str, key: bytes, n: int) -> bytes:
    """What the undoings of a step's call go by: of calls that are alike, each has its own."""
    which = b"\0%d" % n if n else b""
    return codec.digest(f"{step}\0".encode() + key + which)


def salt(call: Call, history: History) -> bytes:
    """What sets the idempotency key of a call apart from the same call before it was undone."""
    step, key, n = call.spec.name, call.key, call.n
    # Calls that are alike went by one key once, so that an undoing of a later one counts there.
    times = history.undone[undone_key(step, key, n)] or (history.undone[undone_key(step, key, 0)] > n)
    return b"undone %d" % times if times else b""
