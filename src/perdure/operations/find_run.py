"""Finds a run by a reference as it was typed: its id, the beginning of it, or "last"."""

from __future__ import annotations

import difflib

from perdure.core.records import RunRecord
from perdure.errors import NotFound
from perdure.store import listing, run_pages
from perdure.store.runs import Store

LAST = "last"
SHOWN = 5
CLOSE = 100


def find_run(store: Store, reference: str) -> RunRecord:
    """The run that is meant.

    Raises:
        NotFound: none is, or several are.
        StateCorrupt: what the state file says of it is not as it was written.
    """
    return store.run(find_id(store, reference))


def find_id(store: Store, reference: str) -> str:
    """The id of the run that is meant, also if that is damaged.

    Raises:
        NotFound: none is, or several are.
    """
    if listing.has(store, reference):
        return reference
    if reference == LAST:
        newest = listing.newest(store)
        if newest is None:
            raise NotFound(f"no run has been started yet {store.place}", "start one: perdure run FILE")
        return newest
    found = listing.ids_like(store, reference, SHOWN + 1)
    # A child's id begins with its parent's, who is meant then.
    ids = [id for id, child in found if not child] or [id for id, _ in found]
    if len(ids) == 1:
        return ids[0]
    if ids:
        some = ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")
        raise NotFound(f"several runs begin with {reference!r}: {some}", "type more of the id")
    close = difflib.get_close_matches(reference, [run.id for run in run_pages.newest(store, CLOSE)[0]], n=1)
    meant = f"did you mean {close[0]!r}? Otherwise " if close else ""
    raise NotFound(f"there is no run {reference!r} {store.place}", f"{meant}list the runs with `perdure ps`")
