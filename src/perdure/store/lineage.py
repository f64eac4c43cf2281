"""Which run a fork was made of, and which of them has made a record: the runs that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from perdure.core.records import RunRecord
from perdure.store.runs import Store


def origin(store: Store, run: RunRecord, seq: int) -> RunRecord:
    """The run that made the record of that number, which its forks have copied."""
    while run.forked_from is not None and run.forked_last is not None and seq <= run.forked_last:
        run = store.run_by_number(run.forked_from)
    return run


def behind(store: Store, run: RunRecord) -> Callable[[int], bool]:
    """Is the record of a number of what a run did behind the point from which it was forked, and which the fork makes
    again? The runs that it was forked from are looked up once."""
    lineage = [run, *sources(store, run)]

    def is_behind(seq: int) -> bool:
        made = next((one for one in lineage if one.forked_at is None or seq >= one.forked_at), lineage[-1])
        return made.forked_at is not None and made.forked_last is not None and made.forked_at <= seq <= made.forked_last

    return is_behind


def sources(store: Store, run: RunRecord) -> Iterator[RunRecord]:
    """The run that it was forked from, the one that this was forked from, and so on."""
    while run.forked_from is not None:
        run = store.run_by_number(run.forked_from)
        yield run
