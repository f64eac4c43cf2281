"""The runs that a run has called by an id, shares with others, or has enqueued: they are not undone with it."""

from __future__ import annotations

import shlex
from typing import Any

import apsw

from perdure.core.records import ENQUEUED, RunRecord
from perdure.errors import NotFound
from perdure.store.calls_by_id import begun_by
from perdure.store.code_versions import kind_of_call
from perdure.store.lineage import origin
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("kept_runs.sql")

MOST = 100
"""Such runs that are looked up, the newest."""

NAMED = 3


def kept_runs(store: Store, rid: int, status: str, option: str = "") -> str | None:
    """That such runs stay as they are, in a line: which are done, and which go on, with the command that ends one.

    Args:
        store: the state file.
        rid: the row number of a run that has ended.
        status: how. Of one that has failed, and has undone nothing, there is nothing to be said: it is gone on with.
        option: what commands need to find the state file.

    Raises:
        StateError: the file cannot be read.
    """

    def question(connection: apsw.Connection) -> tuple[list[int], list[Any]]:
        undone: list[Any] = connection.execute(_SQL["undone"], (rid,)).fetchall()
        if status == "done" or (status != "cancelled" and undone != [(1,)]):
            return [], []
        begun: list[Any] = connection.execute(_SQL["begun"], (rid, MOST + 1)).fetchall()
        shared: list[Any] = connection.execute(_SQL["shared"], (rid, MOST + 1)).fetchall()
        return [seq for (seq,) in begun], shared

    seqs, shared = store.journal.read(question)
    # A step of the same name and inputs, with the same result, has a record that looks like the run's.
    steps = {name for name in {name for _, name in shared} if kind_of_call(store, rid, name) == "step"}
    ids = [id for id, name in shared if name not in steps]
    for seq in seqs:
        id = begun_by(store, rid, seq)
        if id is not None and id not in ids:
            ids.append(id)
    return _line(store, "runs that it has called or enqueued are not undone with it", ids, option)


def enqueued_again(store: Store, source: RunRecord, point: int, option: str = "") -> str | None:
    """That runs which an unfinished run has enqueued behind a point stay, though its fork enqueues them: in a line.

    A run by an id, and one with `once=True`, is the same for both, and not meant.

    Args:
        store: the state file.
        source: the run that was forked.
        point: from which of its records on the fork makes them again.
        option: what commands need to find the state file.

    Raises:
        StateError: the file cannot be read.
    """
    if source.status in ("done", "cancelled"):
        return None
    begun: list[Any] = store.journal.read(
        lambda connection: connection.execute(_SQL["begun"], (source.rid, MOST + 1)).fetchall()
    )
    ids = []
    for (seq,) in begun:
        if seq < point or not store.record(source.rid, seq).name.startswith(ENQUEUED):
            continue
        id = begun_by(store, source.rid, seq)
        own = f"{origin(store, source, seq).id}."  # with which the ids that perdure makes for its runs begin
        if id is not None and id.startswith(own):
            ids.append(id)
    what = f"runs that {source.id} has enqueued after that point stay, and are enqueued again"
    return _line(store, what, [id for id in ids if _named(store, id)], option)


def _named(store: Store, id: str) -> bool:
    try:
        return store.run(id).named
    except NotFound:
        return False


def _line(store: Store, what: str, ids: list[str], option: str) -> str | None:
    found = [line for id in ids[:MOST] if (line := _stands(store, id, option)) is not None]
    if not found:
        return None
    more = f"; and {'' if len(ids) <= MOST else 'at least '}{len(found) - NAMED:,} more" if len(found) > NAMED else ""
    return f"{what}: {', '.join(found[:NAMED])}{more}"


def _stands(store: Store, id: str, option: str) -> str | None:
    try:
        run = store.newest(store.run(id))
    except NotFound:
        return None
    if run.status == "done":
        return f"{run.id} is done"
    if run.status in ("failed", "parked", "cancelled"):
        return None  # it has undone itself, as far as that goes
    return f"{run.id} has not ended (`perdure cancel {shlex.quote(run.id)}{option}` ends it)"
