"""`perdure workers`: which workers of a state file live."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from perdure.core.timestamps import moment
from perdure.store import claims, workers
from perdure.store.runs import Store


class WorkerView(msgspec.Struct, frozen=True):
    """A worker that lives.

    Attributes:
        pid: of its supervisor.
        since: when it began.
        scripts: the paths of its scripts.
        workflows: the names of the workflows that it executes.
        queues: the only queues that it serves; empty: all.
        processes: how many processes of it execute runs.
        slots: how many runs they can execute at a time, together.
        busy: how many they execute.
        ready: it has loaded its scripts.
    """

    pid: int
    since: datetime | None
    scripts: list[str]
    workflows: list[str]
    queues: list[str]
    processes: int
    slots: int
    busy: int
    ready: bool


def list_workers(store: Store) -> list[WorkerView]:
    """The workers that live, the oldest first.

    Raises:
        StateError: the file cannot be read.
    """
    busy = Counter(each.token for each in claims.executed(store))
    return [
        WorkerView(
            pid=one.pid,
            since=moment(one.started),
            scripts=one.scripts,
            workflows=sorted({name for _, name in one.workflows}),
            queues=one.queues,
            processes=len(one.executors),
            slots=one.slots * len(one.executors),
            busy=sum(busy[token] for token in one.executors),
            ready=one.ready,
        )
        for one in workers.living(store.path)
    ]
