"""The idempotency keys that the attempts of a recorded call had, and would have: a service is asked by them."""

from __future__ import annotations

from perdure.core.execution.cleanup_records import salt
from perdure.core.execution.edited_calls import edited_salt
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.letter_record import LetterRecord
from perdure.core.records import SET_ASIDE, RunRecord, StepRecord
from perdure.store import set_aside
from perdure.store.lineage import origin
from perdure.store.runs import Store


def key_of(store: Store, run: RunRecord, record: StepRecord) -> str:
    """That of the last attempts of a recorded call, of the run that made it and as it was made then.

    Args:
        store: the state file.
        run: that has the record, which it may have taken over from the one that it was forked from.
        record: of the call.

    Raises:
        StateError: the file cannot be read.
    """
    makers = dict.fromkeys((run.rid, origin(store, run, record.seq).rid))
    letters = (set_aside.letter_of(store, rid, record.seq) for rid in makers)
    letter = next((letter for letter in letters if letter is not None), None)
    given = None
    if letter is not None and (letter.status == "resolved" or letter.redriven):
        given = letter.input
    elif letter is None:
        given = set_aside.edits(store, run.rid).get((record.name, record.key, record.n))
    return _key(store, run, record, given)


def keys_of(store: Store, letter: LetterRecord) -> list[str]:
    """That of a dead letter's call, and the other one that it has with the input that it was edited into.

    None of a run as a whole, and of a call that was taken back: made again, it has another one.

    Raises:
        StateError: the file cannot be read.
    """
    record = store.record(letter.run, letter.seq) if letter.seq else None
    if record is None or record.n >= SET_ASIDE:
        return []
    run = store.run_by_number(letter.run)
    return [_key(store, run, record, given) for given in dict.fromkeys([None, letter.input])]


def _key(store: Store, run: RunRecord, record: StepRecord, edited: bytes | None) -> str:
    n = record.n % SET_ASIDE
    salts = b"" if edited is None else edited_salt(edited)
    salts += salt(record.name, record.key, n, set_aside.undone_before(store, run.rid, record.seq))
    return idempotency_key(origin(store, run, record.seq).id, record.name, record.key + salts, n)
