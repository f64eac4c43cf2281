"""The calls of a run in whose middle a life of it has ended, and that were not made again: they may have been done."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apsw

from perdure.core.execution.crash_loop import fitted
from perdure.core.records import CLEAN_UPS, RESERVED, RunRecord
from perdure.core.timestamps import moment
from perdure.store import lives
from perdure.store.lives import CutLife
from perdure.store.rows import GONE_ON_WITH
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("lives.sql")
_KEPT = load("kept_runs.sql")

NAMED = 3


def unknown_calls(store: Store, run: RunRecord, status: str, *, children: bool = True) -> str | None:
    """That such calls may have been executed, and are not undone, in a line.

    A run that is gone on with makes them again. So this is about one that was cancelled, or has failed and undone what
    it had completed. A fork makes them under other idempotency keys: those of its source are named with it, however it
    stands.

    Args:
        store: the state file.
        run: which.
        status: how it stands, or ends now.
        children: look at its child runs too.

    Raises:
        StateError: the file cannot be read.
    """
    sources = _sources(store, run)
    own = []
    if status == "cancelled" or (status in GONE_ON_WITH and _has_undone(store, run)):
        own = store.family(run.rid) if children else [run]
    found = Counter(
        f"{one.name}{'' if each.rid == run.rid else f' of {each.id}'} ({how_cut(one)})"
        for each in [*own, *sources]
        for one in _of_run(store, each.rid, redriven=status == "cancelled" and each in own)
    )
    if not found:
        return None
    alike = [text if number == 1 else f"{number:,} calls of {text}" for text, number in found.items()]
    more = f", and {found.total() - sum(list(found.values())[:NAMED]):,} more" if len(found) > NAMED else ""
    return f"whether it was done is not known, and it is not undone: {', '.join(alike[:NAMED])}{more}"


def _has_undone(store: Store, run: RunRecord) -> bool:
    found: list[Any] = store.journal.read(lambda at: at.execute(_KEPT["undone"], (run.rid,)).fetchall())
    return found == [(1,)]


def _sources(store: Store, run: RunRecord) -> list[RunRecord]:
    """The runs that a fork goes on in the place of, the last one first: it makes what was under way in them again."""
    found: list[RunRecord] = []
    while run.forked_from is not None:
        source = store.run_by_number(run.forked_from)
        goes_on = source.superseded and source.superseded_by == run.rid
        if not (goes_on or source.status == "cancelled") or source.rid >= run.rid:  # a fork is newer
            break
        found.append(source)
        run = source
    return found


def how_cut(one: CutLife) -> str:
    """Which attempt it was, and how the process left it. When one died that nobody watched is not known."""
    at = moment(one.ended if one.cause else one.started)
    when = "" if at is None else f" at {at:%Y-%m-%d %H:%M:%S} UTC"
    if one.cause == lives.INTERRUPTED:
        return f"attempt {one.attempt} was left under way{when}"
    died = f"attempt {one.attempt} was under way when its process died"
    return f"{died}{when} ({one.cause})" if one.cause else f"{died}; it had begun{when}"


def _of_run(store: Store, rid: int, *, redriven: bool) -> list[CutLife]:
    """The last life in the middle of each such call, in the order of their ends; `redriven`: redrives too."""
    cut = {(one.name, one.key, one.n): one for one in lives.list_of(store, rid) if not one.name.startswith(RESERVED)}
    if not cut:
        return []
    from perdure.core.execution.cleanup_records import undone_key

    def question(connection: apsw.Connection) -> tuple[list[Any], list[Any]]:
        ended = connection.execute(_SQL["ended"], (rid,)).fetchall()
        return ended, connection.execute(_SQL["undone"], (rid,)).fetchall()

    ended, undone = store.journal.read(question)
    for name, key, n, kind, status, attempts in ended:
        call = fitted(name), key, n
        # The attempts behind the record of a letter are redrives of it. That of a clean-up is due however the run ends.
        left = redriven and status == "dead" and kind not in CLEAN_UPS
        if call in cut and not (left and cut[call].attempt > attempts):
            del cut[call]
    back = dict(undone)  # what was undone had been completed before, and has lost its record
    return [one for (name, key, n), one in cut.items() if back.get(undone_key(name, key, n), 0.0) < one.ended]
