"""The idempotency keys that the attempts of a recorded call had, and would have: a service is asked by them."""

from __future__ import annotations

from perdure.core.execution.cleanup_records import salt
from perdure.core.execution.edited_calls import edited_salt
from perdure.core.execution.history import History
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.letter_record import LetterRecord
from perdure.core.records import SET_ASIDE
from perdure.store.runs import Store


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
    undone = History(run.rid, run.id, store.index(run.rid)).undone
    again = salt(record.name, record.key, record.n, undone)
    salts = [b"", *([edited_salt(letter.input)] if letter.input is not None else [])]
    return [idempotency_key(run.id, record.name, record.key + one + again, record.n) for one in salts]
