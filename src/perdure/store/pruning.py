"""Runs that have ended long ago, removed with all that is kept of them: steps, attempts, letters, signals, sessions.

A run goes together with its child runs, its forks and what it was forked from, or not at all: a fork answers for what
its source has done, and asks for its rows. What is still needed stays, with all that it is related to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import apsw
import msgspec

from perdure.store import pieces, stop_notes
from perdure.store.named_runs import NamedRuns
from perdure.store.runs import Store
from perdure.store.statements import load

_SQL = load("pruning.sql")
_DROPS = [statement for name, statement in _SQL.items() if name.startswith("drop_")]

TOGETHER = 50
"""Runs that are removed in one transaction, with their relatives."""

Needed = Literal[
    "unfinished",
    "recent",
    "letters",
    "newest",
    "lock",
    "wait",
    "named",
    "export",
    "redrive",
    "schedule",
    "related",
]
"""Why a run stays: it or a relative is unfinished or ended not long enough ago; has parked letters; is the newest run
of the file, whose number would be given again; is named by a lock, by a wait or a record of an unfinished run, or by
the newest tick of a schedule; a letter of it is to be exported, or is re-driven; or one of these holds for a relative.
"""


class Removed(msgspec.Struct):
    """What was removed, or would be.

    Attributes:
        runs: the ids of the runs that stand for themselves.
        children: how many child runs.
        steps: how many records.
        letters: how many dead letters.
        artifacts: the names of the files of large data that no other run uses; they are still there.
        kept: how many runs that have ended long enough ago stay, by why.
        later: how many of the artifacts are too young to be removed, and go with a later prune.
    """

    runs: list[str]
    children: int
    steps: int
    letters: int
    artifacts: list[str]
    kept: dict[Needed, int]
    later: int = 0


class _Member(NamedTuple):
    rid: int
    id: str
    parent: int | None
    status: str
    holder: int | None
    ended: float
    superseded_by: int | None

    @property
    def is_over(self) -> bool:
        """Nobody goes on with it: it has ended, or its fork stands for it."""
        over = self.status in ("done", "cancelled") or self.superseded_by is not None or self.parent is not None
        return over and self.holder is None


def prune(store: Store, before: float, *, workflow: str | None, letters: bool, dry: bool) -> Removed:
    """Remove the runs that have ended before a time.

    Args:
        store: opened for writing, unless it is a dry run.
        before: seconds since the epoch.
        workflow: those of this workflow only.
        letters: those with parked letters too.
        dry: only say which.

    Raises:
        StateError: the file cannot be read or written; what was removed before that is gone.
    """
    found = Removed([], 0, 0, 0, [], {})
    kept: Counter[Needed] = Counter()
    seen: set[int] = set()
    rids_gone: set[int] = set()
    named = NamedRuns(store.path)
    store.journal.read(named.look)
    after = 0
    while rids := _candidates(store, after, before, workflow):
        after = rids[-1]

        def operation(connection: apsw.Connection, rids: list[int] = rids) -> list[_Member]:
            links = _links(connection)
            named.look_again(connection)
            gone: list[_Member] = []
            for rid in rids:
                if rid in seen:
                    continue
                related = list(_related(connection, rid, links))
                seen.update(one.rid for one in related)
                needed = _needed(connection, related, before, letters, named.rids)
                if needed is not None:
                    kept.update(_stay(related, before, *needed))
                    continue
                gone += related
                for one in related:
                    _count(connection, one, found)
                    if not dry:
                        _drop(connection, one.rid)
            return gone

        gone: list[_Member] = store.journal.read(operation) if dry else store.journal.write((), operation)
        rids_gone |= {one.rid for one in gone}
        found.runs += [one.id for one in gone if one.parent is None]
        found.children += sum(one.parent is not None for one in gone)
        for one in gone if not dry else ():
            stop_notes.remove(store.path, one.id)
    found.kept = dict(kept)
    found.artifacts = _only_used_by(store, rids_gone, found.artifacts) if found.artifacts else []
    return found


def _only_used_by(store: Store, mine: set[int], digests: Iterable[str]) -> list[str]:
    """Those of the artifacts that no other runs use."""

    def question(connection: apsw.Connection) -> list[str]:
        return [
            digest
            for digest in sorted(set(digests))
            if {rid for (rid,) in connection.execute(_SQL["others_use"], (digest,))} <= mine
        ]

    found: list[str] = store.journal.read(question)
    return found


def _candidates(store: Store, after: int, before: float, workflow: str | None) -> list[int]:
    given = (after, before, workflow, TOGETHER)
    rows: list[Any] = store.journal.read(lambda connection: connection.execute(_SQL["candidates"], given).fetchall())
    return [rid for (rid,) in rows]


def _links(connection: apsw.Connection) -> dict[int, set[int]]:
    """Which runs are forks of which, both ways."""
    links: dict[int, set[int]] = {}
    rows: Any = connection.execute(_SQL["links"]).fetchall()
    for rid, *others in rows:
        for other in others:
            if other is not None:
                links.setdefault(rid, set()).add(other)
                links.setdefault(other, set()).add(rid)
    return links


def _related(connection: apsw.Connection, rid: int, links: dict[int, set[int]]) -> Iterator[_Member]:
    """A run, its child runs, its forks and its sources, and theirs."""
    known, rest = {rid}, [rid]
    while rest:
        rid = rest.pop()
        row: Any = connection.execute(_SQL["member"], (rid,)).fetchone()
        if row is None:
            continue
        member = _Member(*row)
        yield member
        children: Any = connection.execute(_SQL["children"], (rid,)).fetchall()
        near = {child for (child,) in children} | links.get(rid, set())
        near |= set() if member.parent is None else {member.parent}
        rest += near - known
        known |= near


def _needed(
    connection: apsw.Connection, related: list[_Member], before: float, letters: bool, named: Collection[int]
) -> tuple[Needed, _Member] | None:
    """Why they stay, and for which of them; None if they may go."""
    for one in related:
        if not one.is_over:
            return "unfinished", one
        if one.ended >= before:
            return "recent", one
        why: Any = connection.execute(_SQL["is_needed"], (one.rid,)).fetchone()
        if why[0] is not None:
            return why[0], one
        if one.rid in named:
            return "named", one
        parked: Any = connection.execute(_SQL["parked"], (one.rid,)).fetchone()
        if parked[0] and not letters:
            return "letters", one
    return None


def _stay(related: list[_Member], before: float, why: Needed, needed: _Member) -> Iterator[Needed]:
    """Why each of those stays that has ended long enough ago itself; a child run speaks for the run that it is of."""
    by_number = {one.rid: one for one in related}
    while needed.parent in by_number:
        needed = by_number.pop(needed.parent)  # each once, should they be a circle
    for one in related:
        if one.parent is None and one.status in ("done", "cancelled") and one.holder is None and one.ended < before:
            yield why if one is needed or why in ("unfinished", "recent") else "related"


def _count(connection: apsw.Connection, one: _Member, found: Removed) -> None:
    counted: Any = connection.execute(_SQL["counts"], (one.rid,)).fetchone()
    found.steps += counted[0]
    found.letters += counted[1]
    found.artifacts += [name for (name,) in connection.execute(_SQL["artifacts_of"], (one.rid,))]


def _drop(connection: apsw.Connection, rid: int) -> None:
    for statement in _DROPS:
        connection.execute(statement, (rid,))
    pieces.release(connection, rid)
