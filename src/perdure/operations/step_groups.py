"""How many calls a run has made of each step, and what became of them: a map of thousands of items is one line."""

from __future__ import annotations

from datetime import datetime

import msgspec

from perdure.core.records import RunRecord
from perdure.core.timestamps import moment
from perdure.operations.kept_counts import counted
from perdure.store import step_pages
from perdure.store.runs import Store


class StepGroup(msgspec.Struct, frozen=True):
    """The calls of a step in a run.

    Attributes:
        step: its name.
        kind: of the records: "step", "defer" and so on.
        calls: how many have a record.
        done: how many of them succeeded.
        failed: how many failed, which the workflow handled.
        dead: how many are dead letters.
        abandoned: how many the workflow gave up.
        again: how many were tried more than once.
        first: the number of the first record.
        last: and of the last one.
        started: when the first of them was executed.
        ended: when the last one was.
        seconds: how long the last attempts of all of them took together.
        waited: how many waited before an attempt, for a service or a lock, say.
        cut: how many were broken off by the death of a process, and executed again.
    """

    step: str
    kind: str
    calls: int
    done: int
    failed: int
    dead: int
    abandoned: int
    again: int
    first: int
    last: int
    started: datetime | None
    ended: datetime | None
    seconds: float
    waited: int = 0
    cut: int = 0


def groups_of(store: Store, run: RunRecord) -> list[StepGroup]:
    """The steps of a run, in the order of their first calls.

    Raises:
        StateError: the file cannot be read.
    """
    parts: dict[tuple[str, str], list[step_pages.Group]] = {}
    for part in counted(store, run, "groups", lambda: step_pages.groups(store, run.rid)):
        parts.setdefault((part.name, part.kind), []).append(part)
    return [_together(name, kind, found) for (name, kind), found in parts.items()]


def _together(name: str, kind: str, parts: list[step_pages.Group]) -> StepGroup:
    def of(status: str) -> int:
        return sum(part.calls for part in parts if part.status == status)

    return StepGroup(
        step=name,
        kind=kind,
        calls=sum(part.calls for part in parts),
        done=of("done"),
        failed=of("failed"),
        dead=of("dead"),
        abandoned=of("abandoned"),
        again=sum(part.again for part in parts),
        first=min(part.first for part in parts),
        last=max(part.last for part in parts),
        started=moment(min((part.began for part in parts if part.began), default=None)),
        ended=moment(max(part.ended for part in parts) or None),
        seconds=sum(part.ms for part in parts) / 1000,
        waited=sum(part.waited for part in parts),
        cut=sum(part.cut for part in parts),
    )
