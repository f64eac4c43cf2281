"""The runs that a run has called by an id, or has enqueued: what its records say of them."""

from __future__ import annotations

from perdure.core.records import CALLED, ENDED, RunRecord
from perdure.core.values import codec
from perdure.store.runs import Store


def begun_by(store: Store, rid: int, seq: int) -> str | None:
    """The id of the run that a call or an enqueueing has begun, by its record; None if that says none."""
    id = codec.to_builtins(store.record(rid, seq).output or b"")
    return id if isinstance(id, str) else None


def calls_by_id(store: Store, run: RunRecord) -> dict[int, int | None]:
    """The records of the calls by an id that a run has made, and those of their ends; None of one without an end."""
    calls: dict[int, int | None] = {}
    open_calls: dict[tuple[str, bytes, int], int] = {}
    for seq, name, key, n, _, kind in store.index(run.rid):
        if kind != "builtin":
            continue
        if name.startswith(CALLED):
            open_calls[name.removeprefix(CALLED), key, n] = seq
            calls[seq] = None
        elif name.startswith(ENDED) and (begun := open_calls.pop((name.removeprefix(ENDED), key, n), None)) is not None:
            calls[begun] = seq
    return calls
