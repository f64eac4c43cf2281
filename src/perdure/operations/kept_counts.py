"""What was counted of a long run that has ended: who looks again is answered without counting again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from perdure.core.records import RunRecord
from perdure.store import step_pages, timeline
from perdure.store.runs import Store

LONG = 2_000
"""Records of a run from which on its counts are kept."""

MOST = 64
"""Counts that are kept, those that were asked for last."""

T = TypeVar("T")

_kept: OrderedDict[Hashable, Any] = OrderedDict()
_guard = threading.Lock()


def counted(store: Store, run: RunRecord, what: Hashable, count: Callable[[], T]) -> T:
    """What was counted of a run; counted now if it goes on, is short, or its records say something else than then.

    Args:
        store: the state file.
        run: which.
        what: tells this count from others of the run.
        count: counts; nobody may change what it returns.

    Raises:
        StateError: the file cannot be read.
    """
    last = step_pages.last_number(store, run.rid)
    if run.ended is None or last < LONG:
        return count()
    # A redrive changes what became of a call after the end; no other row of a run that has ended changes.
    key = (str(store.path), run.rid, run.id, run.ended, last, timeline.not_done(store, run.rid), what)
    with _guard:
        if key in _kept:
            _kept.move_to_end(key)
            found: T = _kept[key]
            return found
    made = count()
    with _guard:
        _kept[key] = made
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    return made
